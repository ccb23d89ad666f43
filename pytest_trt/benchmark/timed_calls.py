"""Consecutive calls, timed by the host's clock."""

from __future__ import annotations

import time
from collections.abc import Callable

import numpy as np

from pytest_trt.benchmark.rounds import Stretches, TimedCalls


def end_to_end(run: Callable[[], object]) -> Stretches:
    """Time every call of a function by the host's clock."""
    clock = time.perf_counter_ns

    def stretch(calls: int) -> TimedCalls:
        stamps = np.empty(calls + 1, np.int64)
        stamps[0] = clock()
        for call in range(1, calls + 1):
            run()
            stamps[call] = clock()
        return TimedCalls(np.diff(stamps) / 1e6, (stamps[-1] - stamps[0]) / 1e9)

    return stretch
