"""Work on a CUDA stream: captured once and replayed as a graph, and timed by events.

An engine of a hundred kernels costs the host a hundred launches per run, which dominate the time of
small engines. A graph costs one launch.
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
    """The work cannot be captured; the message is the reason."""


class CudaGraph:
    """The captured work of a function on a stream.

    It holds the addresses and shapes of the capture: changing either requires a new capture.

    Args:
        cuda: The CUDA runtime.
        stream: The stream of the work; not the default stream.
        enqueue: Enqueues the work on the stream, and returns whether that succeeded.

    Raises:
        CaptureError: Part of the work waits for the host, or cannot be captured for another reason.
    """

    def __init__(self, cuda: Cuda, stream: Any, enqueue: Callable[[], bool]) -> None:
        self._cuda, self._stream = cuda, stream
        runtime = cuda.runtime
        # Thread-local: calls of other threads are allowed meanwhile.
        mode = runtime.cudaStreamCaptureMode.cudaStreamCaptureModeThreadLocal
        cuda.call("cudaStreamBeginCapture", stream, mode)
        done, graph = False, None
        try:
            done = enqueue()
        finally:
            # Always end the capture, or the stream would stay unusable.
            status, graph = runtime.cudaStreamEndCapture(stream)
            # Otherwise the error of a refused capture would be that of the next call.
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
        """Like `launch`, but returns whether it succeeded, for the timed loop."""
        runtime = self._cuda.runtime
        launch, success = runtime.cudaGraphLaunch, runtime.cudaError_t.cudaSuccess
        executable, stream = self._executable, self._stream
        return lambda: launch(executable, stream)[0] == success

    def close(self) -> None:
        """Destroy the graph."""
        with contextlib.suppress(EngineRunError):
            self._cuda.call("cudaGraphExecDestroy", self._executable)


def sample_events(cuda: Cuda, stream: Any, launch: Callable[[], bool], calls: int) -> Samples:
    """Time consecutive calls, each by two events, and all of them by the host's clock.

    Every call is an event, the work, an event, and a wait for that: sequential requests. The
    resolution of events is about half a microsecond.
    Source: CUDA Runtime API, cudaEventElapsedTime.

    Args:
        cuda: The CUDA runtime.
        stream: The stream of the work.
        launch: Enqueues the work, and returns whether that succeeded.
        calls: How many calls to time.

    Raises:
        EngineRunError: A call failed.
    """
    # Bound once, and unchecked in the loop: the host's time between the first event and the launch
    # is part of the measured time of a small engine.
    runtime = cuda.runtime
    record, wait, elapsed = (
        runtime.cudaEventRecord,
        runtime.cudaEventSynchronize,
        runtime.cudaEventElapsedTime,
    )
    before, after = cuda.call("cudaEventCreate"), cuda.call("cudaEventCreate")
    # Earlier work on the stream is not part of these calls.
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
                    f"call {call} of {calls} failed while it was timed ({status.name})",
                    fix="run the engine without timing it, to see the error itself.",
                    code="TRT341",
                    facts={"status": status.name, "call": call},
                )
            samples_ms[call] = time_ms
        wall_s = time.perf_counter() - started_s
    finally:
        cuda.call("cudaEventDestroy", before)
        cuda.call("cudaEventDestroy", after)
    return Samples(samples_ms, wall_s)
