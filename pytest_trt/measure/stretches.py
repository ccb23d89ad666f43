"""Consecutive calls, timed by the host's clock or by the device's events."""

from __future__ import annotations

import time
from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from pytest_trt.measure.rounds import Stretch, Stretches


def end_to_end(run: Callable[[], object]) -> Stretches:
    """Time every call of a function by the host's clock."""
    clock = time.perf_counter_ns

    def stretch(calls: int) -> Stretch:
        stamps = np.empty(calls + 1, np.int64)
        stamps[0] = clock()
        for call in range(1, calls + 1):
            run()
            stamps[call] = clock()
        return Stretch(np.diff(stamps) / 1e6, (stamps[-1] - stamps[0]) / 1e9)

    return stretch


def by_events(sample: Callable[[int], npt.NDArray[np.float64]]) -> Stretches:
    """Take latencies from a function that times calls on the device, and the wall time around it.

    Args:
        sample: Makes so many calls and returns their latencies in milliseconds.
    """

    def stretch(calls: int) -> Stretch:
        started = time.perf_counter()
        latencies_ms = sample(calls)
        return Stretch(latencies_ms, time.perf_counter() - started)

    return stretch
