"""The few calls of the CUDA runtime that sessions need, through cuda-bindings 12 or 13."""

from __future__ import annotations

import importlib
from typing import Any

from pytest_trt.errors import BackendUnavailableError, EngineRunError


class Cuda:
    """The CUDA runtime on one device.

    Args:
        device: CUDA's number of the device.

    Raises:
        BackendUnavailableError: cuda-bindings is not installed, or the device cannot be used.
    """

    def __init__(self, device: int) -> None:
        try:
            self._runtime: Any = importlib.import_module("cuda.bindings.runtime")
        except ImportError as exc:
            raise BackendUnavailableError(
                f"running engines needs cuda-bindings, which cannot be imported: {exc}.",
                fix="pip install 'pytest-trt[tensorrt-cu12]' (or tensorrt-cu13); the number must "
                "not be above the driver's CUDA version.",
            ) from exc
        self._device = device
        try:
            self.use()
        except (EngineRunError, RuntimeError) as exc:
            reason = exc.message if isinstance(exc, EngineRunError) else str(exc)
            raise BackendUnavailableError(
                f"GPU {device} cannot be used: {reason}",
                fix="run `nvidia-smi`; the driver must be at least as new as the CUDA libraries.",
            ) from exc

    @property
    def runtime(self) -> Any:
        """The module `cuda.bindings.runtime`, for loops in which every microsecond counts."""
        return self._runtime

    def use(self) -> None:
        """Make the device current in the calling thread."""
        self.call("cudaSetDevice", self._device)

    def call(self, name: str, *arguments: Any) -> Any:
        """Call a runtime function and return its results without the status.

        Raises:
            EngineRunError: The status is not success.
        """
        status, *results = getattr(self._runtime, name)(*arguments)
        if status != self._runtime.cudaError_t.cudaSuccess:
            raise EngineRunError(
                f"{name} failed: {status.name} ({int(status)}).",
                fix="feed smaller shapes or free device memory (nvidia-smi)."
                if status == self._runtime.cudaError_t.cudaErrorMemoryAllocation
                else "after such an error the process's GPU state is lost; run the test alone, "
                "under compute-sanitizer if it repeats.",
            )
        return results[0] if len(results) == 1 else tuple(results)

    def stream(self) -> Any:
        """Return a new stream that does not wait for the default one."""
        return self.call("cudaStreamCreateWithFlags", self._runtime.cudaStreamNonBlocking)

    def upload(self, device: int, host: int, size_bytes: int, stream: Any) -> None:
        """Copy host memory to device memory, in stream order."""
        self._copy("cudaMemcpyHostToDevice", device, host, size_bytes, stream)

    def download(self, host: int, device: int, size_bytes: int, stream: Any) -> None:
        """Copy device memory to host memory, in stream order."""
        self._copy("cudaMemcpyDeviceToHost", host, device, size_bytes, stream)

    def _copy(self, kind: str, target: int, source: int, size_bytes: int, stream: Any) -> None:
        if size_bytes:
            direction = getattr(self._runtime.cudaMemcpyKind, kind)
            self.call("cudaMemcpyAsync", target, source, size_bytes, direction, stream)
