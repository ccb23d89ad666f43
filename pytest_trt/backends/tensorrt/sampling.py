"""Timing consecutive calls on a GPU by CUDA events."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import numpy as np

from pytest_trt.backends.cuda.runtime import Cuda
from pytest_trt.engine.protocols import Samples


def sample_events(cuda: Cuda, stream: Any, launch: Callable[[], bool], calls: int) -> Samples:
    """Time consecutive calls, those of each by two events and all of them by the host's clock.

    Every call is an event, the work, another event, and waiting for it: what one request after
    another costs. Events resolve about half a microsecond.
    Source: CUDA Runtime API, cudaEventElapsedTime.

    Args:
        cuda: The CUDA runtime.
        stream: The stream that the work is put on.
        launch: Puts the work on the stream; false when it could not.
        calls: How many calls to time.

    Raises:
        EngineRunError: A call failed.
    """
    # Bound once, and unchecked in the loop: what the host does between the first event and the
    # launch is in the time of an engine that the GPU finishes before the host comes back.
    runtime = cuda.runtime
    record, wait, elapsed = (
        runtime.cudaEventRecord,
        runtime.cudaEventSynchronize,
        runtime.cudaEventElapsedTime,
    )
    before, after = cuda.call("cudaEventCreate"), cuda.call("cudaEventCreate")
    # What was put on the stream before is not of these calls.
    cuda.call("cudaStreamSynchronize", stream)
    success = runtime.cudaError_t.cudaSuccess
    samples_ms = np.empty(calls, np.float64)
    launched = True
    try:
        started_s = time.perf_counter()
        for call in range(calls):
            record(before, stream)
            launched &= launch()
            record(after, stream)
            wait(after)
            status, time_ms = elapsed(before, after)
            if status != success or not launched:
                raise cuda.error(
                    f"call {call} of {calls} failed while it was timed ({status.name}).",
                    fix="run the engine without timing it first: that tells what is wrong.",
                )
            samples_ms[call] = time_ms
        wall_s = time.perf_counter() - started_s
    finally:
        cuda.call("cudaEventDestroy", before)
        cuda.call("cudaEventDestroy", after)
    return Samples(samples_ms, wall_s)
