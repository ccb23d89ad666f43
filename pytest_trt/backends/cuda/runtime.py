"""The functions of the CUDA runtime that sessions need, through cuda-bindings 12 or 13; memory."""

from __future__ import annotations

import ctypes
import importlib
import math
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

import numpy as np
import numpy.typing as npt

from pytest_trt.backends.devices.driver import INSUFFICIENT_DRIVER, cuda_version, start_error
from pytest_trt.diagnostics import (
    BackendUnavailableError,
    DeviceLostError,
    EngineRunError,
    Fact,
    Remedy,
)
from pytest_trt.extras import INSTALL_TENSORRT


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
                f"running engines needs cuda-bindings, which cannot be imported: {exc}",
                fix=Remedy(
                    "install the packages for the driver's CUDA version, or an older one:",
                    commands=INSTALL_TENSORRT,
                ),
                code="TRT714",
                facts={"module": "cuda.bindings.runtime", "reason": str(exc)},
            ) from exc
        self._device = device
        try:
            status, *_ = self._runtime.cudaGetDeviceCount()
            if status == self._runtime.cudaError_t.cudaSuccess:
                (status,) = self._runtime.cudaSetDevice(device)
        except RuntimeError as exc:  # raised by the bindings without a driver
            raise BackendUnavailableError(
                f"GPU {device} cannot be used: {exc}",
                fix=Remedy("check the driver:", commands=("nvidia-smi",)),
                code="TRT712",
                facts={"device": device, "reason": str(exc)},
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

    def require_alive(self) -> None:
        """Wait for the device, so that a failure of earlier work is known.

        TensorRT 8.6.0 aborts the process where it loads a plan on a device that is lost.

        Raises:
            DeviceLostError: It is lost.
        """
        self.use()
        try:
            self.call("cudaDeviceSynchronize")
        except DeviceLostError:
            raise
        except EngineRunError:  # refused, as while another thread captures a graph
            return

    def call(self, name: str, *arguments: Any) -> Any:
        """Call a runtime function and return its results without the status.

        Raises:
            DeviceLostError: The call failed, and this process can no longer use CUDA.
            EngineRunError: The call failed.
        """
        status, *results = getattr(self._runtime, name)(*arguments)
        if status != self._runtime.cudaError_t.cudaSuccess:
            out_of_memory = status == self._runtime.cudaError_t.cudaErrorMemoryAllocation
            raise self.error(
                f"{name} failed: {status.name} ({int(status)})",
                fix="feed smaller shapes, or free device memory (nvidia-smi)."
                if out_of_memory
                else "run the test alone, under compute-sanitizer if it repeats.",
                code="TRT342" if out_of_memory else "TRT341",
                facts={"function": name, "status": status.name},
            )
        return results[0] if len(results) == 1 else tuple(results)

    def error(
        self,
        message: str,
        *,
        fix: str,
        code: str = "TRT340",
        facts: Mapping[str, Fact] = MappingProxyType({}),
    ) -> EngineRunError:
        """Return the error for failed work: a `DeviceLostError` if CUDA is lost to this process.

        A lost context fails again after its error was cleared; after a refused call it does not.
        Source: CUDA Runtime API, cudaErrorIllegalAddress and similar: "the process must be
        terminated and relaunched".
        """
        self._runtime.cudaGetLastError()
        (status,) = self._runtime.cudaDeviceSynchronize()
        # Waiting is refused while a stream is captured, which is not a loss.
        capturing = status.name.startswith("cudaErrorStreamCapture")
        if status == self._runtime.cudaError_t.cudaSuccess or capturing:
            return EngineRunError(message, fix=fix, code=code, facts=facts)
        return DeviceLostError(
            f"{message}; the GPU is lost to this process ({status.name}), and every later CUDA "
            "call fails",
            fix="run this test alone under compute-sanitizer, which names the kernel and its "
            "address. Suspect your own plugins first.",
            status=status.name,
        )

    def _unusable(self, status: Any) -> BackendUnavailableError:
        """Return the error for a device that cannot be started."""
        what, remedy = start_error(int(status))
        driver = self._runtime.cudaDriverGetVersion()[1]
        if int(status) == INSUFFICIENT_DRIVER and driver:
            libraries = self._runtime.cudaRuntimeGetVersion()[1]
            what = (
                f"the NVIDIA driver supports CUDA {cuda_version(driver)}, and the installed "
                f"libraries need CUDA {cuda_version(libraries)}"
            )
            remedy = Remedy(
                "update the driver, or install the extra for its version: [tensorrt-cu12]."
            )
        return BackendUnavailableError(
            f"GPU {self._device} cannot be used: {what} ({status.name}, {int(status)})",
            fix=remedy,
            code="TRT712",
            facts={"device": self._device, "status": status.name},
        )

    def stream(self) -> Any:
        """Return a new stream that does not synchronise with the default stream."""
        return self.call("cudaStreamCreateWithFlags", self._runtime.cudaStreamNonBlocking)

    def upload(self, device: int, host: int, size_bytes: int, stream: Any) -> None:
        """Copy host memory to device memory, in stream order."""
        self._copy("cudaMemcpyHostToDevice", device, host, size_bytes, stream)

    def download(self, host: int, device: int, size_bytes: int, stream: Any) -> None:
        """Copy device memory to host memory, in stream order."""
        self._copy("cudaMemcpyDeviceToHost", host, device, size_bytes, stream)

    def spoil(self, device: int, size_bytes: int, stream: Any) -> None:
        """Fill device memory with ones, in stream order: NaN in every floating-point type."""
        if size_bytes:
            self.call("cudaMemsetAsync", device, 0xFF, size_bytes, stream)

    def _copy(self, kind: str, target: int, source: int, size_bytes: int, stream: Any) -> None:
        if size_bytes:
            direction = getattr(self._runtime.cudaMemcpyKind, kind)
            self.call("cudaMemcpyAsync", target, source, size_bytes, direction, stream)


class DeviceBuffer:
    """Device memory that grows on demand and is reused between runs.

    Attributes:
        address: The device address; 0 while nothing is allocated.
    """

    def __init__(self, cuda: Cuda) -> None:
        self._cuda = cuda
        self._size_bytes = 0
        self.address = 0

    def at_least(self, size_bytes: int) -> int:
        """Return the address of that much memory, at least one byte: no tensor may be null."""
        wanted = max(size_bytes, 1)
        if wanted > self._size_bytes:
            self.free()
            self.address = int(self._cuda.call("cudaMalloc", wanted))
            self._size_bytes = wanted
        return self.address

    def free(self) -> None:
        """Free the memory."""
        if self._size_bytes:
            address, self.address, self._size_bytes = self.address, 0, 0
            self._cuda.call("cudaFree", address)


class PinnedBuffer:
    """Page-locked host memory that grows on demand.

    Copies between it and the device need no second copy in the driver, and run asynchronously.
    """

    def __init__(self, cuda: Cuda) -> None:
        self._cuda = cuda
        self._size_bytes = 0
        self._address = 0

    def array(self, shape: tuple[int, ...], dtype: npt.DTypeLike) -> npt.NDArray[np.generic]:
        """Return an array in this memory; it invalidates earlier ones."""
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
        """Free the memory; arrays in it must not be used afterwards."""
        if self._size_bytes:
            address, self._address, self._size_bytes = self._address, 0, 0
            self._cuda.call("cudaFreeHost", address)
