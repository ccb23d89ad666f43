"""Memory of a GPU, and page-locked memory of the host that a GPU copies from at full speed."""

from __future__ import annotations

import ctypes
import math

import numpy as np
import numpy.typing as npt

from pytest_trt.backends.cuda.runtime import Cuda


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
