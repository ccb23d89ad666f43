"""Tensors inside an engine, read while it runs: TensorRT 10.12 and later, and TensorRT-RTX.

Tensors that are marked all at once do not prevent fusion, and those that fusion removes are not
emitted. Earlier versions can only make single tensors outputs, which changes what is fused.
Source: TensorRT, NvInfer.h, INetworkDefinition::markUnfusedTensorsAsDebugTensors.
"""

from __future__ import annotations

import ctypes
from collections.abc import Collection
from typing import Any

import numpy as np
import numpy.typing as npt

from pytest_trt.backends.cuda.runtime import Cuda
from pytest_trt.backends.tensorrt.binding import numpy_dtype

#: What marks them.
MARK = "mark_unfused_tensors_as_debug_tensors"


def can_mark(trt: Any) -> bool:
    """Whether this version marks tensors without changing what is fused."""
    return hasattr(trt.INetworkDefinition, MARK)


class DebugTensors:
    """Copies tensors of an execution context to the host while it runs.

    Args:
        trt: The vendor module.
        cuda: The device.
        wanted: Names of the tensors to copy; others are left out.
        model: The model's file name, for messages.

    Attributes:
        values: The tensors that were emitted, by name.
        listener: The listener for the context; it must outlive the run.
    """

    def __init__(self, trt: Any, cuda: Cuda, wanted: Collection[str], model: str) -> None:
        self._cuda, self._wanted, self._model = cuda, frozenset(wanted), model
        self._on_host = trt.TensorLocation.HOST
        self._raised: BaseException | None = None
        self.values: dict[str, npt.NDArray[np.generic]] = {}
        outer = self

        class Listener(trt.IDebugListener):  # type: ignore[misc]
            def __init__(self) -> None:
                trt.IDebugListener.__init__(self)

            def process_debug_tensor(
                self, addr: Any, location: Any, type: Any, shape: Any, name: str, stream: Any
            ) -> bool:
                # TensorRT prints and swallows exceptions raised here.
                try:
                    outer._take(addr, location, type, shape, name, stream)
                except BaseException as error:
                    outer._raised = error
                    return False
                return True

        self.listener = Listener()

    def listen(self, context: Any) -> None:
        """Let a context emit its tensors in the runs that follow."""
        context.set_debug_listener(self.listener)
        context.unfused_tensors_debug_state = True

    def raise_pending(self) -> None:
        """Raise what went wrong while tensors were copied."""
        if self._raised is not None:
            raise self._raised

    def _take(
        self, address: Any, location: Any, dtype: Any, shape: Any, name: str, stream: Any
    ) -> None:
        if name not in self._wanted:
            return
        array = np.empty(tuple(shape), numpy_dtype(dtype.name, tensor=name, model=self._model))
        source = address_of(address)
        if location == self._on_host:
            ctypes.memmove(array.ctypes.data, source, array.nbytes)
        else:
            self._cuda.download(array.ctypes.data, source, array.nbytes, int(stream))
            self._cuda.call("cudaStreamSynchronize", int(stream))
        self.values[name] = array


def address_of(pointer: Any) -> int:
    """Return the address that the bindings give: a number, or a capsule around it."""
    if isinstance(pointer, int):
        return pointer
    unpack = ctypes.pythonapi.PyCapsule_GetPointer
    unpack.restype, unpack.argtypes = ctypes.c_void_p, (ctypes.py_object, ctypes.c_char_p)
    address: int = unpack(pointer, None)
    return address
