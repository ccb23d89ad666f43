from __future__ import annotations

import numpy as np
import pytest
from builders_float16 import (
    FLOAT,
    HALF,
    VALUES,
    assert_same_bits,
    float16_model,
    half,
    node,
    rounded,
    roundings,
    run,
    to_float16,
)
from builders_networks import value
from onnx import NodeProto, TensorProto, helper, numpy_helper

from pytest_trt.backends.conversion.rounding import round_model
from pytest_trt.backends.conversion.tensor_types import tensor_types


@pytest.mark.parametrize(
    ("nodes", "expected"),
    [
        ([node("Cast", ["x"], ["wide"], to=FLOAT), node("Cast", ["wide"], ["y"], to=HALF)], VALUES),
        ([node("CastLike", ["x_in", "like"], ["y"])], VALUES),
        ([node("Cast", ["count"], ["y"], to=HALF)], [2049, 4099, 70000, -70000]),
        (
            [
                node("Shape", ["x"], ["shape"]),
                node("ConstantOfShape", ["shape"], ["y"], value=half("", [0.1])),
            ],
            [0.1] * 4,
        ),
        ([node("Constant", [], ["y"], value=half("", [0.1, 0.2]))], [0.1, 0.2]),
        ([node("EyeLike", ["square"], ["y"], dtype=HALF)], np.eye(2)),
        ([node("Clip", ["x", "", "like"], ["y"])], np.minimum(VALUES, to_float16(0.1))),
    ],
    ids=[
        "cast there and back",
        "CastLike",
        "Cast of int64",
        "ConstantOfShape",
        "Constant",
        "EyeLike",
        "Clip",
    ],
)
def test_types_that_attributes_and_casts_name(nodes, expected) -> None:
    initialisers = [
        half("like", 0.1),
        numpy_helper.from_array(np.array([2049, 4099, 70000, -70000], np.int64), "count"),
        numpy_helper.from_array(np.zeros((2, 2), np.int64), "square"),
    ]
    (y,) = run(rounded(float16_model(nodes, initialisers)), x_in=VALUES)
    assert_same_bits(y, to_float16(expected))


@pytest.mark.parametrize(
    "source",
    [
        node("RandomNormal", [], ["y"], dtype=HALF, shape=[64]),
        node("RandomNormalLike", ["x"], ["y"]),
        node("RandomUniformLike", ["x_in"], ["y"], dtype=HALF),
    ],
    ids=lambda source: source.op_type,
)
def test_random_numbers_are_rounded(source: NodeProto) -> None:
    (y,) = run(rounded(float16_model([source])), x_in=np.zeros(64, np.float32))
    assert_same_bits(y, to_float16(y))
    assert len(np.unique(y)) > 10


def test_dequantised_tensors_are_rounded() -> None:
    nodes = [
        node("QuantizeLinear", ["x", "scale", "zero"], ["q"]),
        node("DequantizeLinear", ["q", "scale", "zero"], ["y"]),
    ]
    zero = numpy_helper.from_array(np.array(0, np.int8), "zero")
    model = rounded(float16_model(nodes, [half("scale", 0.0123), zero], opset=19))
    (y,) = run(model, x_in=np.float32([1.0, 0.77, -0.3]))
    scale = to_float16(0.0123)
    assert_same_bits(y, to_float16(np.rint(to_float16([1.0, 0.77, -0.3]) / scale) * scale))


def test_float32_parts_of_a_mixed_model_stay_unrounded() -> None:
    nodes = [
        node("Mul", ["x", "x"], ["a"]),
        node("Cast", ["a"], ["wide"], to=FLOAT),
        node("Mul", ["wide", "third"], ["thirds"]),
        node("Mul", ["thirds", "third"], ["ninths"]),
        node("Cast", ["ninths"], ["y"], to=HALF),
    ]
    third = np.float32(1 / 3)
    model = rounded(float16_model(nodes, [numpy_helper.from_array(np.array(third), "third")]))
    x = np.float32([3.0, 300.0])
    (y,) = run(model, x_in=x)
    assert_same_bits(y, to_float16(to_float16(x * x) * third * third))
    assert roundings(model) == 3


def test_operators_of_onnx_runtime_are_rounded() -> None:
    nodes = [node("Gelu", ["x"], ["y"], domain="com.microsoft")]
    model = float16_model(nodes, domains=["com.microsoft"])
    assert round_model(model) == ()
    x = np.linspace(-3, 3, 32, dtype=np.float32)
    (y,) = run(model, x_in=x)
    assert_same_bits(y, to_float16(y))


def test_unknown_operator_is_reported_and_not_guessed() -> None:
    nodes = [node("Swirl", ["x"], ["a"], domain="mine"), node("Mul", ["a", "half"], ["y"])]
    model = float16_model(nodes, [half("half", 0.5)], domains=["mine"])
    (note,) = round_model(model)
    assert note == "the type of 1 output of Swirl is not known; not rounded"
    assert roundings(model) == 2


def test_unknown_operator_whose_type_the_model_declares_is_rounded() -> None:
    nodes = [node("Swirl", ["x"], ["a"], domain="mine"), node("Mul", ["a", "half"], ["y"])]
    model = float16_model(nodes, [half("half", 0.5)], domains=["mine"])
    model.graph.value_info.append(value("a", ["n"], HALF))
    assert round_model(model) == ()
    assert roundings(model) == 3
    assert model.graph.value_info[0].type.tensor_type.elem_type == FLOAT


def test_local_functions_are_rounded_inside() -> None:
    model = float16_model([node("Cube", ["x"], ["y"], domain="mine")], domains=["mine"])
    body = [node("Mul", ["v", "v"], ["vv"]), node("Mul", ["vv", "v"], ["vvv"])]
    opset = helper.make_opsetid("", 17)
    model.functions.append(helper.make_function("mine", "Cube", ["v"], ["vvv"], body, [opset]))
    model = rounded(model)
    x = np.float32([1.1, 39.0, 41.0])
    (y,) = run(model, x_in=x)
    h = to_float16(x)
    assert_same_bits(y, to_float16(to_float16(h * h) * h))


def test_types_other_than_float16_are_reported_too() -> None:
    nodes = [
        node("Shape", ["x"], ["shape"]),
        node("Constant", [], ["count"], value_ints=[1, 2]),
        node("Constant", [], ["number"], value_float=0.5),
        node("Cast", ["x"], ["small"], to=TensorProto.INT8),
        node("DequantizeLinear", ["small", "scale"], ["y"]),
    ]
    scale = numpy_helper.from_array(np.float32(0.1), "scale")
    known = tensor_types(float16_model(nodes, [scale])).known
    expected = {
        "shape": "INT64",
        "count": "INT64",
        "number": "FLOAT",
        "small": "INT8",
        "y": "FLOAT",
    }
    assert {name: TensorProto.DataType.Name(known[name]) for name in expected} == expected
