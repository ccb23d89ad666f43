"""Small models, one property each: element types, ranks, empty tensors, and what is refused."""

from __future__ import annotations

import numpy as np
from onnx import ModelProto, TensorProto, helper

from networks.graph import FLOAT, Graph, value

#: Domain of an operator that nobody has.
FOREIGN_DOMAIN = "com.example.unheard"


def integers(dtype: str) -> ModelProto:
    """Return numbers [n, 4] -> doubled [n, 4] and first [4], all of one integer type."""
    net = Graph("integers")
    net.add("Add", ["numbers", "numbers"], "doubled")
    net.add("Gather", ["numbers", net.constant(0, "int64")], "first", axis=0)
    kind = helper.np_dtype_to_tensor_dtype(np.dtype(dtype))
    return net.model(
        [value("numbers", ["n", 4], kind)],
        [value("doubled", ["n", 4], kind), value("first", [4], kind)],
    )


def pixels() -> ModelProto:
    """Return pixels uint8 [n, 4] -> dimmed uint8 [n, 4], computed in float32 between.

    TensorRT 8.6 takes bytes at the edge of a network only, and INT8 not without scales.
    """
    net = Graph("pixels")
    wide = net.add("Cast", ["pixels"], to=FLOAT)
    half = net.add("Mul", [wide, net.constant(0.5)])
    net.add("Cast", [net.add("Floor", [half])], "dimmed", to=TensorProto.UINT8)
    shape = ["n", 4]
    return net.model(
        [value("pixels", shape, TensorProto.UINT8)],
        [value("dimmed", shape, TensorProto.UINT8)],
    )


def flags() -> ModelProto:
    """Return left, right bool [n, 4] -> either, differ bool [n, 4]."""
    net = Graph("flags")
    net.add("Or", ["left", "right"], "either")
    net.add("Xor", ["left", "right"], "differ")
    names = (("left", "right"), ("either", "differ"))
    inputs, outputs = ([value(n, ["n", 4], TensorProto.BOOL) for n in some] for some in names)
    return net.model(inputs, outputs)


def halves() -> ModelProto:
    """Return x float16 [n, 16] -> y float16 [n, 8], float32 nowhere."""
    net = Graph("halves")
    weight = net.random.standard_normal((16, 8)) / 4
    net.add("MatMul", ["x", net.constant(weight, "float16")], "y")
    return net.model(
        [value("x", ["n", 16], TensorProto.FLOAT16)],
        [value("y", ["n", 8], TensorProto.FLOAT16)],
    )


def scalars() -> ModelProto:
    """Return x [n, 4] and a scalar factor -> scaled [n, 4] and the scalar total."""
    net = Graph("scalars")
    net.add("Mul", ["x", "factor"], "scaled")
    net.add("ReduceSum", ["scaled"], "total", keepdims=0)
    return net.model(
        [value("x", ["n", 4]), value("factor", [])],
        [value("scaled", ["n", 4]), value("total", [])],
    )


def emptiable() -> ModelProto:
    """Return rows [n, 4] -> product [n, 3], and padded [n + 1, 4] with a row of ones first."""
    net = Graph("emptiable")
    net.add("MatMul", ["rows", net.normal(4, 3)], "product")
    net.add("Concat", [net.constant(np.ones((1, 4))), "rows"], "padded", axis=0)
    return net.model(
        [value("rows", ["n", 4])],
        [value("product", ["n", 3]), value("padded", ["more", 4])],
    )


def foreign() -> ModelProto:
    """Return a model whose only operator belongs to a domain that no builder knows."""
    net = Graph("foreign")
    net.add("Frobnicate", ["x"], "y", domain=FOREIGN_DOMAIN)
    return net.model([value("x", [1, 4])], [value("y", [1, 4])], domains=[FOREIGN_DOMAIN])
