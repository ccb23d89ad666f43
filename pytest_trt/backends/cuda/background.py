"""Slow driver calls that need no Python, made in a thread while modules are imported."""

from __future__ import annotations

import ctypes
import threading
from collections.abc import Callable
from contextlib import suppress
from typing import Generic, TypeVar

_T = TypeVar("_T")


class Background(Generic[_T]):
    """A call that runs in its own thread.

    Args:
        call: The function to call.
    """

    def __init__(self, call: Callable[[], _T]) -> None:
        self._call = call
        self._error: Exception | None = None
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        try:
            self._result = self._call()
        except Exception as error:
            self._error = error

    def result(self) -> _T:
        """Wait for the call; return its result, or raise its exception."""
        self._thread.join()
        if self._error is not None:
            raise self._error
        return self._result


def begin_context(device: int) -> Background[None]:
    """Start creating a device's primary CUDA context, which sessions use.

    It takes 0.15 s on an H200, as long as importing TensorRT and verifying a plan together. It uses
    the driver library only: importing cuda-bindings would block other imports. Errors are ignored
    here; `Cuda` meets them again and reports them.

    Args:
        device: CUDA's number of the device.
    """

    def retain() -> None:
        with suppress(OSError, AttributeError):
            cuda = ctypes.CDLL("libcuda.so.1")
            number, context = ctypes.c_int(), ctypes.c_void_p()
            if cuda.cuInit(0) == 0 and cuda.cuDeviceGet(ctypes.byref(number), device) == 0:
                # Never released: like the runtime's own, it lives as long as the process.
                cuda.cuDevicePrimaryCtxRetain(ctypes.byref(context), number)

    return Background(retain)
