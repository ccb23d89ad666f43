"""Runs of ONNX Runtime with tensors of bfloat16, which its numpy interface does not take.

ONNX Runtime 1.23 and 1.32 answer such an array with "Numpy_type 256 can't be converted" and such an
output with "No corresponding Numpy type"; its own values hold both.
"""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from pytest_trt.diagnostics import ConfigurationError
from pytest_trt.tensors.spec import Tensors, bfloat16_dtype

#: bfloat16's number in TensorProto.DataType (onnx.proto).
_BFLOAT16 = 16

#: What ONNX Runtime calls such a tensor.
_TYPE = "tensor(bfloat16)"


def has_bfloat16(session: Any) -> bool:
    """Whether any input or output of an `onnxruntime.InferenceSession` is of bfloat16."""
    return any(tensor.type == _TYPE for tensor in (*session.get_inputs(), *session.get_outputs()))


def run_values(
    session: Any, output_names: Sequence[str], inputs: Tensors
) -> list[npt.NDArray[np.generic]]:
    """Run a session on tensors, some of which are of bfloat16; return its outputs in order.

    Raises:
        ConfigurationError: ml_dtypes, which has the type, is absent, or this ONNX Runtime is old.
    """
    values = {name: _value(array) for name, array in inputs.items()}
    return [_array(value) for value in session.run_with_ort_values(list(output_names), values)]


def _value(array: npt.NDArray[np.generic]) -> Any:
    import onnxruntime

    # Not ascontiguousarray, which makes a scalar a vector.
    array = np.asarray(array, order="C")
    if array.dtype.name != "bfloat16":
        return onnxruntime.OrtValue.ortvalue_from_numpy(array)
    typed = getattr(onnxruntime.OrtValue, "ortvalue_from_numpy_with_onnx_type", None)
    if typed is None:  # 1.18 has none
        raise ConfigurationError(
            f"ONNX Runtime {onnxruntime.__version__} cannot be fed bfloat16 from Python.",
            fix="pip install --upgrade onnxruntime",
        )
    return typed(array.view(np.uint16), _BFLOAT16)


def _array(value: Any) -> npt.NDArray[np.generic]:
    if value.data_type() != _TYPE:
        array: npt.NDArray[np.generic] = value.numpy()
        return array
    shape = tuple(value.shape())
    bits = np.empty(shape, np.uint16)
    ctypes.memmove(bits.ctypes.data, value.data_ptr(), bits.nbytes)
    return bits.view(bfloat16_dtype())
