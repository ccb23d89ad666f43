"""CUDA graphs: work recorded once, replayed with one call.

An engine of a hundred kernels costs the host a hundred launches per run, which small engines wait
for. As a graph it costs one.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from typing import Any

from pytest_trt.backends.cuda.runtime import Cuda
from pytest_trt.diagnostics import DeviceLostError, EngineRunError


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
