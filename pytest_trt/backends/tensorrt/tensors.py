"""Tensors between numpy's types and TensorRT's."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from pytest_trt.diagnostics import EngineLoadError, InputError

#: numpy's name of an element type by member of `DataType`. TensorRT's own `nptype` fails with
#: some numpy versions, and for the types that numpy itself lacks.
_DTYPES = {
    "FLOAT": "float32",
    "HALF": "float16",
    "INT8": "int8",
    "INT32": "int32",
    "INT64": "int64",
    "UINT8": "uint8",
    "BOOL": "bool",
}


def numpy_dtype(member: str, *, tensor: str, model: str) -> np.dtype[Any]:
    """Return numpy's type for a member of TensorRT's `DataType`.

    Args:
        member: "FLOAT", "HALF", "BF16", ...
        tensor: The tensor that has it, for the message.
        model: The model's file name, for the message.

    Raises:
        EngineLoadError: Neither numpy nor ml_dtypes has such a type.
    """
    if member in _DTYPES:
        return np.dtype(_DTYPES[member])
    if member == "BF16":
        import ml_dtypes

        bfloat16: np.dtype[Any] = np.dtype(ml_dtypes.bfloat16)
        return bfloat16
    raise EngineLoadError(
        f"tensor {tensor!r} of {model} is {member}, which numpy cannot hold.",
        fix="export the model with float32 or float16 inputs and outputs.",
    )


def fits(name: str, array: npt.NDArray[Any], dtype: np.dtype[Any]) -> None:
    """Check that an engine's integer type holds what it is fed.

    Raises:
        InputError: TensorRT 8.6 computes INT64 in INT32, and a value is beyond that.
    """
    if array.dtype == dtype or dtype.kind not in "iu" or not array.size:
        return
    limits = np.iinfo(dtype)
    low, high = array.min(), array.max()
    if low < limits.min or high > limits.max:
        raise InputError(
            f"input {name!r} has values from {low} to {high}; the engine computes it in "
            f"{dtype}, which ends at {limits.max}.",
            fix="feed smaller values, or use a TensorRT version with 64-bit integers (10.0).",
        )
