"""Networks of one element type at their borders, whatever they compute in between."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from builders_networks import FLOAT, constant, model, value
from onnx import ModelProto, TensorProto, helper

from pytest_trt.tensors import elements

#: Types that may go in and come out of a model, on every backend.
TYPES = ("bool", "uint8", "int8", "int32", "int64", "float16", "float32", "bfloat16")

#: Types that numpy lacks, of which ONNX Runtime makes tensors, where onnx has them.
SMALL = tuple(
    name
    for name in (
        *("float8e4m3fn", "float8e4m3fnuz", "float8e5m2", "float8e5m2fnuz"),
        *("int4", "uint4", "int2", "uint2"),
    )
    if hasattr(TensorProto, name.upper())
)


def element(dtype: str) -> int:
    """Return the number of a type in TensorProto.DataType."""
    return elements.element_number(dtype)


def numpy_type(dtype: str) -> np.dtype:
    """Return the dtype of a type."""
    return elements.numpy_dtype(dtype)


def opset(dtype: str) -> dict[str, int]:
    """Return the oldest opset and IR version with a type."""
    if dtype.startswith("float8"):
        return {"opset": 19, "ir_version": 9}
    if dtype in ("int4", "uint4"):
        return {"opset": 21, "ir_version": 10}
    return {"opset": 25, "ir_version": 13} if dtype in SMALL else {}


def same(dtype: str, shape: Sequence[int | str]) -> ModelProto:
    """Return what goes in: x -> y."""
    x, y = (value(name, shape, element(dtype)) for name in "xy")
    return model([helper.make_node("Identity", ["x"], ["y"], name="same")], [x], [y])


def complement(dtype: str, shape: Sequence[int | str], one: float = 1.0) -> ModelProto:
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
        [constant("one", one)],
        **opset(dtype),
    )


def stored(dtype: str, values: Sequence[float]) -> ModelProto:
    """Return values of a type that operators do not compute with, as a second output: x -> y, c."""
    x, y = (value(name, [1]) for name in "xy")
    table = helper.make_tensor("c", element(dtype), [len(values)], values)
    return model(
        [helper.make_node("Identity", ["x"], ["y"], name="same")],
        [x],
        [y, value("c", [len(values)], element(dtype))],
        [table],
        opset=25,
        ir_version=13,
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


def block_quantised() -> ModelProto:
    """Return x @ W, with W in int4 blocks of 16 rows: x [2, 64] -> y [2, 32]."""
    rng = np.random.default_rng(0)
    weights = helper.make_tensor(
        "w", TensorProto.INT4, (64, 32), rng.integers(-7, 8, 64 * 32).tolist()
    )
    scales = constant("s", np.full((4, 32), 0.1))
    return model(
        [
            helper.make_node("DequantizeLinear", ["w", "s"], ["d"], axis=0, block_size=16),
            helper.make_node("MatMul", ["x", "d"], ["y"]),
        ],
        [value("x", [2, 64])],
        [value("y", [2, 32])],
        [weights, scales],
        opset=21,
        ir_version=10,
    )
