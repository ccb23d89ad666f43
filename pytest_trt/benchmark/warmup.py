"""Calls before the first one that counts: clocks rise, caches fill, kernels are loaded."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from pytest_trt.benchmark.rounds import CallTimer


@dataclass(frozen=True, slots=True)
class WarmUp:
    """When an engine is warm.

    Attributes:
        least_s: Seconds that it takes at least.
        least_calls: Calls that it takes at least.
        window_s: Seconds of one window; two consecutive ones must agree.
        within: By this share of their median latency.
        most_s: Seconds after which it is taken to be warm.
    """

    least_s: float = 0.2
    least_calls: int = 20
    window_s: float = 0.1
    within: float = 0.01
    most_s: float = 5.0

    def soon_after(self, idle_s: float) -> WarmUp:
        """Return when an engine is warm on a device that has been idle for so many seconds."""
        if idle_s > _CLOCKS_HELD_S:
            return self
        return replace(self, least_s=min(self.least_s, _LEAST_BUSY_S))


#: Seconds for which a device keeps the clocks of load when it becomes idle.
#: Source: GPUs keep them for seconds; an H200 with a context kept them for as long as one was seen.
_CLOCKS_HELD_S = 0.5

#: What is left to warm up then is the engine: trtexec takes so many seconds for it.
_LEAST_BUSY_S = 0.2

#: GPUs take about a second to leave their idle clocks.
#: Source: trtexec warms up 200 ms; an H200 was seen to take longer after a pause.
ON_GPU = WarmUp(least_s=1.0, window_s=0.2)

ON_CPU = WarmUp(least_s=0.2, window_s=0.1, within=0.02, most_s=2.0)


def warm_up(
    timer: CallTimer, how: WarmUp, *, clock: Callable[[], float] = time.perf_counter
) -> float:
    """Make calls until the engine is warm; return the seconds of one call, by the host's clock."""
    started = clock()
    calls = 0
    before = np.inf
    step = 1
    while True:
        began = clock()
        latencies = []
        windowed = 0
        while not windowed or clock() - began < how.window_s:
            one = timer(step)
            latencies.append(one.latencies_ms)
            windowed += step
            # So many calls at once that the clock is read ten times in a window.
            step = max(1, round(how.window_s / 10 / max(one.wall_s / step, 1e-9)))
        calls += windowed
        ended = clock()
        median = float(np.median(np.concatenate(latencies)))
        warm = calls >= how.least_calls and ended - started >= how.least_s
        if (warm and abs(median / before - 1) <= how.within) or ended - started >= how.most_s:
            return (ended - began) / windowed
        before = median
