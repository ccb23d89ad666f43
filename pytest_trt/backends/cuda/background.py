"""What a driver takes long for and Python has no part in, done beside the loading of modules."""

from __future__ import annotations

import ctypes
import threading
from collections.abc import Callable
from contextlib import suppress
from typing import Generic, TypeVar

_T = TypeVar("_T")


class Background(Generic[_T]):
    """A call that runs in a thread of its own until its result is asked for.

    Args:
        call: What to call.
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
        """Wait for the call, and return what it returned, or raise what it raised."""
        self._thread.join()
        if self._error is not None:
            raise self._error
        return self._result


def begin_context(device: int) -> Background[None]:
    """Begin to create a device's primary CUDA context, the one that sessions use.

    It takes 0.15 s on an H200, as long as TensorRT's import and the check of a plan together. Only
    the driver library is asked: importing cuda-bindings would hold up other imports. Whatever goes
    wrong is left to `Cuda`, which meets it again and says what to do.

    Args:
        device: CUDA's number of the device.
    """

    def retain() -> None:
        with suppress(OSError, AttributeError):
            cuda = ctypes.CDLL("libcuda.so.1")
            number, context = ctypes.c_int(), ctypes.c_void_p()
            if cuda.cuInit(0) == 0 and cuda.cuDeviceGet(ctypes.byref(number), device) == 0:
                # Never released: it lasts as long as the process, as the runtime's own does.
                cuda.cuDevicePrimaryCtxRetain(ctypes.byref(context), number)

    return Background(retain)
