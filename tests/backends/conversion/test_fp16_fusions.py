from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from builders_float16 import (
    FLOAT,
    HALF,
    LEVELS,
    assert_same_bits,
    float16_model,
    half,
    node,
    rounded,
    roundings,
    run,
    session,
    to_float16,
)
from onnx import NodeProto, TensorProto, numpy_helper


def layer_norm(x: str, y: str) -> list[NodeProto]:
    return [
        node("ReduceMean", [x], ["mean"], axes=[-1]),
        node("Sub", [x, "mean"], ["off"]),
        node("Pow", ["off", "two"], ["square"]),
        node("ReduceMean", ["square"], ["variance"], axes=[-1]),
        node("Add", ["variance", "epsilon"], ["positive"]),
        node("Sqrt", ["positive"], ["deviation"]),
        node("Div", ["off", "deviation"], ["normal"]),
        node("Mul", ["normal", "gamma"], ["scaled"]),
        node("Add", ["scaled", "beta"], [y]),
    ]


def gelu(x: str, y: str) -> list[NodeProto]:
    return [
        node("Div", [x, "root2"], ["g1"]),
        node("Erf", ["g1"], ["g2"]),
        node("Add", ["g2", "one"], ["g3"]),
        node("Mul", [x, "g3"], ["g4"]),
        node("Mul", ["g4", "half"], [y]),
    ]


# Sequences that ONNX Runtime turns into one operator where nothing stands between them.
FUSED = {
    "layer norm": layer_norm("x", "y"),
    "skip layer norm": [node("Add", ["x", "beta"], ["sum"]), *layer_norm("sum", "y")],
    "layer norm partly in float32": [
        node("Cast", ["x"], ["xf"], to=FLOAT),
        node("Pow", ["xf", "two_f"], ["square"]),
        node("ReduceMean", ["square"], ["variance"], axes=[-1]),
        node("Add", ["variance", "epsilon_f"], ["positive"]),
        node("Sqrt", ["positive"], ["deviation"]),
        node("Div", ["xf", "deviation"], ["normal"]),
        node("Cast", ["normal"], ["narrow"], to=HALF),
        node("Mul", ["narrow", "gamma"], ["y"]),
    ],
    "gelu": gelu("x", "y"),
    "bias gelu": [node("Add", ["x", "beta"], ["sum"]), *gelu("sum", "y")],
    "fast gelu": [
        node("Pow", ["x", "three"], ["cube"]),
        node("Mul", ["cube", "c1"], ["f1"]),
        node("Add", ["x", "f1"], ["f2"]),
        node("Mul", ["f2", "c2"], ["f3"]),
        node("Tanh", ["f3"], ["f4"]),
        node("Add", ["f4", "one"], ["f5"]),
        node("Mul", ["x", "half"], ["f6"]),
        node("Mul", ["f6", "f5"], ["y"]),
    ],
    "quick gelu": [
        node("Mul", ["x", "c3"], ["q1"]),
        node("Sigmoid", ["q1"], ["q2"]),
        node("Mul", ["x", "q2"], ["y"]),
    ],
    "matmul, add, relu": [
        node("MatMul", ["x", "weight"], ["m"]),
        node("Add", ["m", "beta"], ["s"]),
        node("Relu", ["s"], ["y"]),
    ],
    "scaled matmul": [
        node("Mul", ["x", "half"], ["s"]),
        node("MatMul", ["s", "weight"], ["m"]),
        node("Div", ["m", "half"], ["y"]),
    ],
    "bias softmax": [node("Add", ["x", "beta"], ["s"]), node("Softmax", ["s"], ["y"], axis=-1)],
    "conv, norm, add, relu": [
        node("Unsqueeze", ["x", "axes"], ["image"]),
        node("Conv", ["image", "kernel"], ["c"], pads=[1] * 4),
        node("BatchNormalization", ["c", "one1", "half1", "half1", "one1"], ["n"]),
        node("Add", ["n", "image"], ["s"]),
        node("Relu", ["s"], ["r"]),
        node("Squeeze", ["r", "axes"], ["y"]),
    ],
}


def fusion_constants() -> list[TensorProto]:
    rng = np.random.default_rng(0)
    scalars = {"two": 2, "three": 3, "one": 1, "half": 0.5, "epsilon": 1e-3, "root2": 1.4142}
    scalars |= {"c1": 0.044715, "c2": 0.79788, "c3": 1.702}
    shapes = {"gamma": (16,), "beta": (16,), "weight": (16, 16), "kernel": (1, 1, 3, 3)}
    return [
        *(half(name, number) for name, number in scalars.items()),
        *(half(name, rng.normal(size=shape)) for name, shape in shapes.items()),
        half("one1", [1]),
        half("half1", [0.5]),
        numpy_helper.from_array(np.float32(2).reshape(()), "two_f"),
        numpy_helper.from_array(np.float32(1e-3).reshape(()), "epsilon_f"),
        numpy_helper.from_array(np.array([0, 1], np.int64), "axes"),
    ]


@pytest.mark.parametrize("level", LEVELS[1:])
@pytest.mark.parametrize("pattern", FUSED)
def test_no_fusion_swallows_a_rounding(pattern: str, level: str, tmp_path: Path) -> None:
    read = {name for entry in FUSED[pattern] for name in entry.input}
    constants = [tensor for tensor in fusion_constants() if tensor.name in read]
    model = rounded(float16_model(FUSED[pattern], constants, shape=(16, 16)))
    x = np.random.default_rng(1).normal(size=(16, 16)).astype(np.float32)
    (plain,) = run(model, LEVELS[0], x_in=x)
    plan = tmp_path / "plan.onnx"
    session(model, level, save=plan)
    optimised = onnx.load(plan)
    assert roundings(optimised) == roundings(model)
    (y,) = run(optimised, "ENABLE_ALL", x_in=x)
    # Sums may run in another order: a rounding may fall to the other side, none may be missing.
    np.testing.assert_allclose(y, plain, rtol=2e-3, atol=2e-3)
    assert_same_bits(y, to_float16(y))
