from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest
from builders import save_linear
from builders_facts import made_of

from pytest_trt.engine.facts import CONVERSION, INTEGER, EngineFacts
from pytest_trt.engine.shortfall import narrower_precision, precision_shortfall, precision_uncertain
from pytest_trt.engine.spec import EngineSpec
from pytest_trt.onnx.file import OnnxModel, load_model
from pytest_trt.tensors.spec import TensorSpec

FP16, INT8, MB = EngineSpec("fp16"), EngineSpec("int8"), 10**6


@pytest.fixture(scope="module")
def model(tmp_path_factory) -> OnnxModel:
    return load_model(save_linear(tmp_path_factory.mktemp("model") / "linear.onnx"))


PLAN = Path("/my cache/engine.plan")

SILENT_FP32 = made_of(("float", {"float": 864}), ("float", {"float": 4608}), ("float", {}))
HIDDEN_WEIGHTS = made_of(("float", {}), ("float", {}), hidden_weights=10**6)
UNTOLD_SHAPES = made_of(("float", {"float": 864}), (None, {}), (None, {}))


@pytest.mark.parametrize(
    ("spec", "facts", "said"),
    [
        (FP16, SILENT_FP32, "is half: 3 of its 3 layers that compute and 5,472 of its 5,472"),
        (INT8, SILENT_FP32, "is int8: 3 of its 3 layers that compute and 5,472 of its 5,472"),
        (FP16, UNTOLD_SHAPES, "1 of its 3 layers that compute and 864 of its 864 weights are FP32"),
        (FP16, HIDDEN_WEIGHTS, "is half: 2 of its 2 layers that compute are FP32"),
        (FP16, made_of(("float", {}), (INTEGER, {}), (CONVERSION, {})), "1 of its 1 layers that"),
        (INT8, made_of(("half", {"half": 8}), ("float", {})), "1 of its 2 layers that compute and"),
    ],
)
def test_engine_without_anything_of_the_precision_is_an_error(model, spec, facts, said) -> None:
    error = precision_shortfall(spec, model, facts, PLAN)
    assert error is not None
    assert f"linear.onnx was requested in {spec.precision}, but" in error.message
    assert said in error.message
    remedy = error.diagnostic.remedy
    assert remedy.commands == ("pytest-trt inspect --layers '/my cache/engine.plan'",)
    assert 'precision="fp32"' in remedy.alternatives[-1]


def test_engine_of_another_quantised_precision_is_an_error(model) -> None:
    facts = made_of(("int8", {"int8": 256}), ("int8", {}))
    error = precision_shortfall(EngineSpec("int4"), model, facts, PLAN)
    assert error is not None
    assert "is int4: 2 of its 2 layers that compute and 256 of its 256 weights are int8" in str(
        error
    )
    assert 'precision="int8"' in error.diagnostic.remedy.alternatives[-1]
    assert precision_shortfall(INT8, model, facts, PLAN) is None


@pytest.mark.parametrize(
    ("spec", "facts"),
    [
        (FP16, made_of(("half", {"half": 864}), ("float", {"float": 4608}))),
        (FP16, made_of(("int8", {"int8": 864}))),
        (FP16, made_of(("half", {}), ("float", {"float": 4608}))),
        (INT8, made_of(("float", {"float": 90}), ("int8", {"int8": 10}))),
        (INT8, made_of(("float", {"int8": 10}))),
    ],
)
def test_partly_converted_engine_is_what_was_requested(model, spec, facts) -> None:
    assert precision_shortfall(spec, model, facts, PLAN) is None


@pytest.mark.parametrize(
    ("precision", "facts", "found"),
    [
        ("fp32", SILENT_FP32, None),
        ("fp32", made_of(("float", {}), (INTEGER, {}), (CONVERSION, {}), (None, {})), None),
        ("fp32", made_of((CONVERSION, {"half": 1}), ("float", {})), "half"),
        ("fp32", made_of(("half", {}), ("float", {}), ("half", {})), "half"),
        ("tf32", made_of(("bfloat16", {}), ("float", {})), "bfloat16"),
        ("fp16", made_of(("half", {}), ("float", {})), None),
        ("fp16", made_of(("half", {}), ("int8", {})), "int8"),
        ("bf16", made_of(("half", {}), ("bfloat16", {})), None),
        ("int8", made_of(("fp8", {}), ("half", {}), ("int8", {})), None),
    ],
)
def test_a_precision_below_the_requested_one_is_named(model, precision: str, facts, found) -> None:
    assert narrower_precision(EngineSpec(precision), model, facts) == found


@pytest.mark.parametrize(
    "changes",
    [
        {"is_quantized": True},
        {"elements": {"float32": 9, "float16": 1}},
        {"inputs": (TensorSpec("x", "float16", (1,)),)},
        {"op_types": {"Cast": 1}},
        {"op_types": {"mine::Swirl": 1}},
    ],
    ids=lambda changes: next(iter(changes)),
)
def test_one_that_the_model_may_require_is_not(model, changes) -> None:
    own, facts = dataclasses.replace(model, **changes), made_of(("half", {"half": 8}))
    assert narrower_precision(EngineSpec("fp32"), model, facts) == "half"
    assert narrower_precision(EngineSpec("fp32"), own, facts) is None


@pytest.mark.parametrize("precision", ["fp32", "tf32"])
def test_full_precision_has_no_shortfall(model, precision: str) -> None:
    for facts in (SILENT_FP32, made_of(("half", {"half": 8}))):
        assert precision_shortfall(EngineSpec(precision), model, facts, PLAN) is None


@pytest.mark.parametrize(
    "facts",
    [
        EngineFacts(size_bytes=1, build_s=1.0),
        made_of((INTEGER, {INTEGER: 9})),
        made_of((CONVERSION, {"float": 1}), (None, {})),
        made_of((None, {}), ("float", {})),
        made_of((None, {}), ("float", {"float": 64}), hidden_weights=10**8),
        made_of(),
    ],
    ids=[
        "nothing told",
        "integers",
        "a constant",
        "half untold",
        "opaque",
        "no layers",
    ],
)
def test_nothing_is_claimed_where_facts_do_not_reach(model, facts) -> None:
    assert precision_shortfall(FP16, model, facts, PLAN) is None
    assert precision_shortfall(INT8, model, facts, PLAN) is None


def test_a_list_that_keeps_everything_in_fp32_is_named(model) -> None:
    spec = EngineSpec("fp16", keep_fp32=("MatMul", "Add"))
    error = precision_shortfall(spec, model, SILENT_FP32, PLAN, builder_chooses=False)
    assert error is not None
    remedy = error.diagnostic.remedy
    assert remedy.text == "keep_fp32 names everything that could be converted."
    assert remedy.alternatives[0] == "Shorten keep_fp32=['Add', 'MatMul']"
    assert not remedy.commands


def test_a_builder_may_have_kept_what_the_list_does_not_name(model) -> None:
    spec = EngineSpec("fp16", keep_fp32=("Add",))
    error = precision_shortfall(spec, model, SILENT_FP32, PLAN, builder_chooses=True)
    assert error is not None
    remedy = error.diagnostic.remedy
    assert remedy.text.startswith("Either keep_fp32 names everything that could be converted, or")
    assert remedy.alternatives[0] == "If all of them are of keep_fp32, shorten keep_fp32=['Add']"
    assert remedy.commands == ("pytest-trt inspect --layers '/my cache/engine.plan'",)


def opaque(size_mb: int, weights_mb: int = 440) -> EngineFacts:
    """Return facts of a transformer that TensorRT made one layer of."""
    return EngineFacts(
        size_bytes=size_mb * MB,
        build_s=1.0,
        layers=made_of((None, {})).layers,
        hidden_weights=weights_mb * MB // 4,
        fp32_weights_bytes=weights_mb * MB,
    )


def test_opaque_engine_as_large_as_its_weights_in_fp32_is_uncertain(model) -> None:
    said = precision_uncertain(FP16, model, opaque(445))
    assert said is not None
    assert (said.code, said.severity) == ("TRT306", "warning")
    assert (
        "its plan is 101% as large as the model's weights in FP32, and the engine" in said.message
    )


@pytest.mark.parametrize(
    ("spec", "facts"),
    [
        (FP16, opaque(223)),
        (FP16, opaque(9, weights_mb=4)),
        (EngineSpec("fp32"), opaque(445)),
        (FP16, EngineFacts(size_bytes=445 * MB, build_s=1.0, fp32_weights_bytes=440 * MB)),
        (FP16, made_of(("half", {"half": 9}), fp32_weights_bytes=36)),
    ],
    ids=["half the size", "small", "fp32", "cross-built", "reported"],
)
def test_other_engines_are_not_uncertain(model, spec, facts) -> None:
    assert precision_uncertain(spec, model, facts) is None
