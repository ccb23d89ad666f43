"""Precisions of TensorRT beyond fp16 and int8: built, or refused by name."""

from __future__ import annotations

import importlib

import builders_networks as networks
import numpy as np
import pytest
from onnx import ModelProto, helper

from pytest_trt.backends.onnxruntime.backend import OnnxRuntimeBackend
from pytest_trt.backends.tensorrt.product import precision_flags
from pytest_trt.diagnostics import UnsupportedError
from pytest_trt.engine.facts import CONVERSION
from pytest_trt.engine.protocols import Backend, Plan

pytestmark = pytest.mark.gpu


def products() -> ModelProto:
    """Two products of matrices: x [256, 1024] -> y [256, 1024]."""
    return networks.model(
        [
            helper.make_node("MatMul", ["x", "w0"], ["h"], name="first"),
            helper.make_node("MatMul", ["h", "w1"], ["y"], name="second"),
        ],
        [networks.value("x", [256, 1024])],
        [networks.value("y", [256, 1024])],
        [networks.weights(f"w{at}", 1024, 1024, scale=0.03, seed=at) for at in range(2)],
    )


@pytest.mark.parametrize(
    ("precision", "flag", "kind", "tolerance"),
    [
        ("bf16", "BF16", "bfloat16", 0.05),
        ("fp8", "BF16", "fp8", 0.2),
        ("int4", "INT4", "int4", 0.4),
        ("mixed", "INT8", "int8", 0.05),
    ],
)
def test_a_precision_is_built_and_right_or_refused_by_name(
    engine_of, backend: Backend, precision: str, flag: str, kind: str, tolerance: float
) -> None:
    flags = precision_flags(importlib.import_module("tensorrt"))
    if flags and flag not in flags:
        with pytest.raises(UnsupportedError, match=f"has no {precision}") as caught:
            engine_of(products(), precision)
        assert caught.value.diagnostic.facts["precision"] == precision
        return
    engine = engine_of(products(), precision)
    inputs = networks.sample(engine.model)
    session = backend.open(Plan(engine.plan), engine.model, engine.spec, engine.target)
    found = session.run(inputs)["y"]
    session.close()
    expected = OnnxRuntimeBackend(threads=0).reference(engine.model).run(inputs)["y"]
    assert np.abs(found - expected).max() < tolerance * np.abs(expected).max()
    facts = engine.facts
    assert kind in {*facts.layer_counts, *facts.weight_counts}


def test_what_is_kept_in_mixed_is_neither_int8_nor_half(engine_of) -> None:
    engine = engine_of(networks.conv_chain(3), "mixed", "conv1")
    found = {
        name: one.precision
        for one in engine.facts.layers
        if one.precision != CONVERSION
        for name in one.origins
    }
    assert [found[f"conv{index}"] for index in range(3)] == ["int8", "float", "int8"]
