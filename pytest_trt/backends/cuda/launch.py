"""Work on a CUDA stream: captured once and replayed as a graph, and timed by events.

An engine of a hundred kernels costs the host a hundred launches per run, which small engines wait
for. As a graph it costs one.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable
from typing import Any

import numpy as np

from pytest_trt.backends.cuda.runtime import Cuda
from pytest_trt.diagnostics import DeviceLostError, EngineRunError
from pytest_trt.engine.protocols import Samples


class CaptureError(Exception):
    """The work cannot be captured; the text says why."""


class CudaGraph:
    """The work that a function puts on a stream, captured.

    It holds the addresses and shapes of its time: whoever changes either has to capture anew.

    Args:
        cuda: The CUDA runtime.
        stream: The stream that the function works on; not the default one.
        enqueue: Puts the work on the stream, and returns whether it could.

    Raises:
        CaptureError: Part of the work waits for the host, or cannot be captured for another reason.
    """

    def __init__(self, cuda: Cuda, stream: Any, enqueue: Callable[[], bool]) -> None:
        self._cuda, self._stream = cuda, stream
        runtime = cuda.runtime
        # Thread-local: what another thread does meanwhile is its own.
        mode = runtime.cudaStreamCaptureMode.cudaStreamCaptureModeThreadLocal
        cuda.call("cudaStreamBeginCapture", stream, mode)
        done, graph = False, None
        try:
            done = enqueue()
        finally:
            # Capturing ends whatever happened, or the stream would stay unusable.
            status, graph = runtime.cudaStreamEndCapture(stream)
            # What a refused capture leaves behind would be taken for the next call's error.
            runtime.cudaGetLastError()
        if status != runtime.cudaError_t.cudaSuccess:
            raise CaptureError(f"capturing ended with {status.name}")
        try:
            if not done:
                raise CaptureError("TensorRT refused to enqueue while capturing")
            self._executable = cuda.call("cudaGraphInstantiate", graph, 0)
        except DeviceLostError:
            raise
        except EngineRunError as error:
            raise CaptureError(error.message) from error
        finally:
            cuda.call("cudaGraphDestroy", graph)

    def launch(self) -> None:
        """Replay the work, in stream order."""
        self._cuda.call("cudaGraphLaunch", self._executable, self._stream)

    @property
    def bare_launch(self) -> Callable[[], bool]:
        """The same without an error's text, for loops in which every microsecond counts."""
        runtime = self._cuda.runtime
        launch, success = runtime.cudaGraphLaunch, runtime.cudaError_t.cudaSuccess
        executable, stream = self._executable, self._stream
        return lambda: launch(executable, stream)[0] == success

    def close(self) -> None:
        """Release the graph."""
        with contextlib.suppress(EngineRunError):
            self._cuda.call("cudaGraphExecDestroy", self._executable)


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
