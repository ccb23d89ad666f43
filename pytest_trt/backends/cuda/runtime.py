"""The few functions of the CUDA runtime that sessions need, and the memory that they allocate."""

from __future__ import annotations

import ctypes
import importlib
import math
from typing import Any

import numpy as np
import numpy.typing as npt

from pytest_trt.backends.devices.driver import INSUFFICIENT_DRIVER, cuda_version, start_error
from pytest_trt.diagnostics import BackendUnavailableError, DeviceLostError, EngineRunError


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
            status, *_ = self._runtime.cudaGetDeviceCount()
            if status == self._runtime.cudaError_t.cudaSuccess:
                (status,) = self._runtime.cudaSetDevice(device)
        except RuntimeError as exc:  # the bindings find no driver
            raise BackendUnavailableError(
                f"GPU {device} cannot be used: {exc}.", fix="run `nvidia-smi`."
            ) from exc
        if status != self._runtime.cudaError_t.cudaSuccess:
            raise self._unusable(status)

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
            DeviceLostError: The status is not success, and CUDA can be used no more.
            EngineRunError: The status is not success.
        """
        status, *results = getattr(self._runtime, name)(*arguments)
        if status != self._runtime.cudaError_t.cudaSuccess:
            raise self.error(
                f"{name} failed: {status.name} ({int(status)}).",
                fix="feed smaller shapes or free device memory (nvidia-smi)."
                if status == self._runtime.cudaError_t.cudaErrorMemoryAllocation
                else "run the test alone, under compute-sanitizer if it repeats.",
            )
        return results[0] if len(results) == 1 else tuple(results)

    def error(self, message: str, *, fix: str) -> EngineRunError:
        """Return the error for work that failed: another one if CUDA is lost by it.

        A lost context fails again after its error was cleared; a call that was merely refused does
        not. Source: CUDA Runtime API, cudaErrorIllegalAddress and its like: "the process must be
        terminated and relaunched".
        """
        self._runtime.cudaGetLastError()
        (status,) = self._runtime.cudaDeviceSynchronize()
        # Waiting is refused while a stream is captured, and that is no loss.
        capturing = status.name.startswith("cudaErrorStreamCapture")
        if status == self._runtime.cudaError_t.cudaSuccess or capturing:
            return EngineRunError(message, fix=fix)
        return DeviceLostError(
            f"{message} The GPU is lost to this process ({status.name}): every later CUDA call "
            "fails.",
            fix="run this test alone under compute-sanitizer, which names the kernel and its "
            "address; a plugin of your own is the first to suspect.",
            status=status.name,
        )

    def _unusable(self, status: Any) -> BackendUnavailableError:
        """Return the error for a device that cannot be started, before anything relied on it."""
        what, fix = start_error(int(status))
        driver = self._runtime.cudaDriverGetVersion()[1]
        if int(status) == INSUFFICIENT_DRIVER and driver:
            libraries = self._runtime.cudaRuntimeGetVersion()[1]
            what = (
                f"the NVIDIA driver serves CUDA {cuda_version(driver)}, and the installed "
                f"libraries are of CUDA {cuda_version(libraries)}"
            )
            fix = "update the driver, or install the extra for its version ([tensorrt-cu12])"
        return BackendUnavailableError(
            f"GPU {self._device} cannot be used: {what} ({status.name}, {int(status)}).",
            fix=f"{fix}.",
        )

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


class DeviceBuffer:
    """Device memory that grows when more is asked for, and is kept between runs.

    Attributes:
        address: Where it lies on the device; 0 while there is none.
    """

    def __init__(self, cuda: Cuda) -> None:
        self._cuda = cuda
        self._size_bytes = 0
        self.address = 0

    def at_least(self, size_bytes: int) -> int:
        """Return the address of that much memory; at least one byte, as no tensor may be null."""
        wanted = max(size_bytes, 1)
        if wanted > self._size_bytes:
            self.free()
            self.address = int(self._cuda.call("cudaMalloc", wanted))
            self._size_bytes = wanted
        return self.address

    def free(self) -> None:
        """Give the memory back."""
        if self._size_bytes:
            address, self.address, self._size_bytes = self.address, 0, 0
            self._cuda.call("cudaFree", address)


class PinnedBuffer:
    """Page-locked host memory that grows when more is asked for.

    Copies between it and the device need no second copy in the driver, and run beside the host.
    """

    def __init__(self, cuda: Cuda) -> None:
        self._cuda = cuda
        self._size_bytes = 0
        self._address = 0

    def array(self, shape: tuple[int, ...], dtype: npt.DTypeLike) -> npt.NDArray[np.generic]:
        """Return an array in this memory; it ends what was returned before."""
        element = np.dtype(dtype)
        size_bytes = math.prod(shape) * element.itemsize
        if size_bytes == 0:
            return np.empty(shape, element)
        if size_bytes > self._size_bytes:
            self.free()
            # 0: cudaHostAllocDefault.
            self._address = int(self._cuda.call("cudaHostAlloc", size_bytes, 0))
            self._size_bytes = size_bytes
        memory = (ctypes.c_ubyte * size_bytes).from_address(self._address)
        return np.ctypeslib.as_array(memory).view(element).reshape(shape)

    def free(self) -> None:
        """Give the memory back; arrays in it must not be touched any more."""
        if self._size_bytes:
            address, self._address, self._size_bytes = self._address, 0, 0
            self._cuda.call("cudaFreeHost", address)
