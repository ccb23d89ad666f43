"""Networks of one element type at their borders, whatever they compute in between."""

from __future__ import annotations

from collections.abc import Sequence

import ml_dtypes
import numpy as np
from builders_networks import FLOAT, constant, model, value
from onnx import ModelProto, TensorProto, helper

#: Types that may go in and come out of a model, on every backend.
TYPES = ("bool", "uint8", "int8", "int32", "int64", "float16", "float32", "bfloat16")


def element(dtype: str) -> int:
    """Return the number of a type in TensorProto.DataType."""
    if dtype == "bfloat16":
        return TensorProto.BFLOAT16
    return helper.np_dtype_to_tensor_dtype(np.dtype(dtype))


def numpy_type(dtype: str) -> np.dtype:
    """Return numpy's dtype of a type."""
    return np.dtype(ml_dtypes.bfloat16 if dtype == "bfloat16" else dtype)


def same(dtype: str, shape: Sequence[int | str]) -> ModelProto:
    """Return what goes in: x -> y."""
    x, y = (value(name, shape, element(dtype)) for name in "xy")
    return model([helper.make_node("Identity", ["x"], ["y"], name="same")], [x], [y])


def complement(dtype: str, shape: Sequence[int | str]) -> ModelProto:
    """Return 1 - x, computed in float32: another value for all that seeded inputs hold."""
    x, y = (value(name, shape, element(dtype)) for name in "xy")
    return model(
        [
            helper.make_node("Cast", ["x"], ["wide"], name="widen", to=FLOAT),
            helper.make_node("Sub", ["one", "wide"], ["rest"], name="subtract"),
            helper.make_node("Cast", ["rest"], ["y"], name="narrow", to=element(dtype)),
        ],
        [x],
        [y],
        [constant("one", 1.0)],
    )


def joined(dtype: str) -> ModelProto:
    """Join two tables, either of which may be empty: a [n, 3], b [m, 3] -> y [k, 3], and a, b."""
    rows = {
        name: value(name, [size, 3], element(dtype))
        for name, size in zip("aby", "nmk", strict=True)
    }
    copies = [value(f"{name}_again", [name, 3], element(dtype)) for name in "ab"]
    nodes = [helper.make_node("Identity", [name], [f"{name}_again"], name=name) for name in "ab"]
    return model(
        [helper.make_node("Concat", ["a", "b"], ["y"], name="join", axis=0), *nodes],
        [rows["a"], rows["b"]],
        [rows["y"], *copies],
    )
