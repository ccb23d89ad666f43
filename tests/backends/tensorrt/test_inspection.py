from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from builders import save_linear
from hypothesis import given
from hypothesis import strategies as st

from pytest_trt.backends.tensorrt.inspection import (
    inspected_layers,
    parse_tolerant,
    take_inspection,
)
from pytest_trt.engine.facts import CONVERSION, INTEGER, EngineFacts, Layer
from pytest_trt.engine.shortfall import precision_shortfall
from pytest_trt.engine.spec import EngineSpec
from pytest_trt.onnx.file import OnnxModel, load_model

INSPECTIONS = Path(__file__).parent / "inspections"

PLAN = Path("engine.plan")


def layers(name: str) -> tuple[Layer, ...]:
    found = inspected_layers(json.loads((INSPECTIONS / f"{name}.json").read_text()))
    assert found is not None
    return found


def precisions(name: str) -> list[str | None]:
    return [layer.precision for layer in layers(name)]


@pytest.fixture
def model(tmp_path: Path) -> OnnxModel:
    """A model whose only weights are the 36 of a linear layer."""
    return load_model(save_linear(tmp_path / "linear.onnx", batch=4))


def facts(tmp_path: Path, model: OnnxModel, name: str, *, weights: int) -> EngineFacts:
    """Return the facts of an engine that was inspected so, of a model with so many weights."""
    engine = json.loads((INSPECTIONS / f"{name}.json").read_text())
    inspection = {"device_memory_bytes": 1 << 20, "engine": engine}
    (tmp_path / "inspector.json").write_text(json.dumps(inspection))
    reported = take_inspection(tmp_path, replace(model, elements={"float32": weights, "int64": 99}))
    assert reported.device_memory_bytes == 1 << 20
    return EngineFacts(
        size_bytes=1, build_s=1.0, layers=reported.layers, hidden_weights=reported.hidden_weights
    )


def test_precision_with_fixed_shapes_of_8_6_is_known_of_every_layer(tmp_path, model) -> None:
    name = "tensorrt_8.6_static_fp16"
    assert precisions(name) == [CONVERSION, "half", "half", "half"]
    engine = facts(tmp_path, model, name, weights=864 + 4 * 32 + 330)
    assert engine.weight_counts == {"half": 864 + 32 + 330}
    assert engine.half_weights_pct == engine.half_layers_pct == 100.0
    assert 0.0 < engine.unknown_weights_pct < 10.0  # the batch normalisation that was folded
    assert precision_shortfall(EngineSpec("fp16"), model, engine, PLAN) is None


def test_precision_with_dynamic_shapes_of_8_6_is_known_from_weights_alone(tmp_path, model) -> None:
    name = "tensorrt_8.6_dynamic_fp32"
    assert precisions(name) == [CONVERSION, "float", None, None]
    engine = facts(tmp_path, model, name, weights=864 + 32)
    assert engine.float_weights_pct == 100.0
    assert engine.layers_pct is None


def test_silent_fp32_is_found_by_its_weights(tmp_path, model) -> None:
    engine = facts(tmp_path, model, "tensorrt_8.6_dynamic_fp32", weights=864 + 32)
    error = precision_shortfall(EngineSpec("fp16"), model, engine, PLAN)
    assert error is not None
    assert "1 of its 3 layers that compute and 896 of its 896 weights are FP32" in error.message


def test_transformer_of_8_6_is_one_opaque_layer_and_nothing_is_claimed(tmp_path, model) -> None:
    name = "tensorrt_8.6_transformer"
    assert precisions(name) == [CONVERSION, None]
    engine = facts(tmp_path, model, name, weights=110_000_000)
    assert engine.unknown_weights_pct == engine.unknown_layers_pct == 100.0
    assert engine.weights_pct is None
    assert engine.layers_pct is None
    assert precision_shortfall(EngineSpec("fp16"), model, engine, PLAN) is None


def test_precision_of_layers_of_10_is_read_from_weights_then_kernels_then_tensors() -> None:
    assert precisions("tensorrt_10_mixed") == [
        "int8",  # by its weights, though it gives FP32
        "half",
        "half",  # by its kernel, though it gives FP32
        CONVERSION,
        "bfloat16",
        "float",
        CONVERSION,
        "float",
        INTEGER,
    ]


def test_tensors_of_11_have_their_type_in_a_separate_field(tmp_path, model) -> None:
    assert precisions("tensorrt_11_fp16") == [CONVERSION, "half", "float"]
    engine = facts(tmp_path, model, "tensorrt_11_fp16", weights=896)
    assert engine.weights_pct is None
    assert engine.half_layers_pct == 50.0


def test_silent_fp32_is_found_where_kernels_hide_their_weights(tmp_path, model) -> None:
    engine = facts(tmp_path, model, "tensorrt_11_fp16", weights=896)
    single = replace(engine, layers=(replace(engine.layers[1], precision="float"),))
    assert precision_shortfall(EngineSpec("fp16"), model, engine, PLAN) is None
    assert precision_shortfall(EngineSpec("fp16"), model, single, PLAN) is not None


@pytest.mark.parametrize(
    ("name", "origins"),
    [
        (
            "tensorrt_8.6_static_fp16",
            [(), ("/conv1/Conv", "/relu1/Relu"), ("/pool/GlobalAveragePool",), ("/linear/Gemm",)],
        ),
        (
            "tensorrt_8.6_dynamic_fp32",
            [(), ("node_of_c1", "node_of_r1"), ("node_of_s1", "node_of_m1"), ("node_of_p1",)],
        ),
        (
            "tensorrt_8.6_transformer",
            [(), ("/embeddings/word/Gather", "/layer.0/query/MatMul", "/pooler/Tanh")],
        ),
        (
            "tensorrt_10_mixed",
            [
                ("/conv1/weight_quantizer/QuantizeLinear", "/conv1/Conv"),
                ("/attn/Split", "/attn/Transpose"),
                ("/attn/MatMul",),
                (),
                ("/act/Sigmoid", "/act/Mul"),
                ("/m.0/cv2/Conv", "/m.0/cv1/Conv"),
                (),
                ("/ArgMax",),
                ("/Shape",),
            ],
        ),
    ],
)
def test_layers_name_the_nodes_that_were_fused_into_them(name, origins) -> None:
    assert [layer.origins for layer in layers(name)] == origins


@pytest.mark.parametrize(
    ("name", "origins"),
    [
        ("{ForeignNode[/Split_2.../Concat_1]}", ("/Split_2.../Concat_1",)),
        (
            "PWN((Unnamed Layer* 9) [ElementWise], PWN((Unnamed Layer* 8) [Constant] + /a/Mul))",
            ("/a/Mul",),
        ),
        ("call(x) + PWN(sin(y))", ("call(x)", "sin(y)")),
        ("/Split_output_0 copy", ()),
        ("/model/MatMul_myl3_7", ()),
        ("a + a", ("a",)),
    ],
)
def test_nodes_are_known_from_names_without_metadata(name, origins) -> None:
    (layer,) = inspected_layers({"Layers": [{"Name": name, "LayerType": "x"}]}) or ()
    assert layer.origins == origins


@pytest.mark.parametrize(
    ("tactic", "precision"),
    [
        ("ampere_h16816gemm_128x64_ldg8_stages_32x6_tn", "half"),
        ("turing_fp16_s1688cudnn_fp16_128x128_ldg8_relu_f2f_exp_small_nhwc_tn_v1", "half"),
        ("volta_h884cudnn_256x64_ldg8_relu_exp_interior_nhwc_tn_v1", "half"),
        ("ampere_int8x4_icudnn_int8x4_128x32_relu_interior_c32_nn_v1", "int8"),
        ("sm80_xmma_gemm_f32f32_tf32f32_f32_tn_n_tilesize32x32x64", "float"),
        ("ampere_scudnn_128x32_relu_small_nn_v1", "float"),
        ("ampere_sgemm_32x32_sliced1x4_tn", "float"),
        ("sm90_xmma_gemm_bf16bf16_bf16f32_f32_tn_n_tilesize64x64x64", None),
        ("__myl_MulAdd_0xe9d1f9a1", None),
        ("generatedNativePointwise", None),
    ],
)
def test_only_names_of_kernels_that_report_their_operands_are_trusted(tactic, precision) -> None:
    entry = {"Name": "x", "LayerType": "gemm", "TacticName": tactic}
    (layer,) = inspected_layers({"Layers": [entry]}) or ()
    assert layer.precision == precision


@pytest.mark.parametrize(
    ("inputs", "outputs", "precision"),
    [
        (["Row major linear FP32"], ["Row major linear FP32"], None),
        (["Row major linear FP32"], ["Channel major FP16 format"], "half"),
        (["Row major linear Int32"], ["Row major linear Int32", "Row major linear BOOL"], INTEGER),
        ([], [], None),
    ],
)
def test_border_of_an_opaque_layer_shows_what_is_narrower_than_fp32(
    inputs, outputs, precision
) -> None:
    entry = {
        "Name": "{ForeignNode[a...b]}",
        "LayerType": "Myelin",
        "Inputs": [{"Format/Datatype": text} for text in inputs],
        "Outputs": [{"Format/Datatype": text} for text in outputs],
    }
    (layer,) = inspected_layers({"Layers": [entry]}) or ()
    assert layer.precision == precision


def test_engine_that_reports_names_alone_has_layers_of_unknown_precision() -> None:
    found = inspected_layers({"Layers": ["/conv1/Conv + /relu1/Relu", "[trainStation1]"]})
    assert found == (
        Layer("/conv1/Conv + /relu1/Relu", "", None, ("/conv1/Conv", "/relu1/Relu")),
        Layer("[trainStation1]", "", CONVERSION),
    )


def test_shift_and_scale_are_weights() -> None:
    entry = {
        "Name": "bn",
        "LayerType": "Scale",
        "Shift": {"Type": "Float", "Count": 64},
        "Scale": {"Type": "Float", "Count": 64},
        "Power": {"Type": "Float", "Count": 0},
    }
    (layer,) = inspected_layers({"Layers": [entry]}) or ()
    assert (layer.weights, layer.precision) == ({"float": 128}, "float")


@pytest.mark.parametrize("engine", [None, [], {}, "text", {"Layers": None}, {"Layers": []}])
def test_answer_without_layers_is_unknown(engine) -> None:
    assert inspected_layers(engine) is None


FIELDS = ["Name", "LayerType", "Inputs", "Outputs", "Weights", "Bias", "Type", "Count"]
MORE_FIELDS = ["Format/Datatype", "DataType", "TacticName", "Metadata"]

json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=9),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from([*FIELDS, *MORE_FIELDS]), inner, max_size=4)
    ),
    max_leaves=12,
)


@pytest.mark.exhaustive
@given(st.lists(json_values, max_size=4))
def test_no_answer_is_so_odd_that_a_build_fails_of_it(entries) -> None:
    found = inspected_layers({"Layers": entries})
    assert len(found or ()) == len(entries)


def test_plan_that_was_not_inspected_has_no_layers(tmp_path, model) -> None:
    reported = take_inspection(tmp_path, model)
    assert (reported.layers, reported.hidden_weights, reported.device_memory_bytes) == (
        None,
        0,
        None,
    )


SCALARS = st.none() | st.booleans() | st.integers() | st.floats() | st.text()
VALUES = st.recursive(
    SCALARS, lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner), max_leaves=20
)


def without_non_numbers(value: Any) -> Any:
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if isinstance(value, list):
        return [without_non_numbers(item) for item in value]
    if isinstance(value, dict):
        return {key: without_non_numbers(item) for key, item in value.items()}
    return value


@given(VALUES)
def test_everything_but_non_numbers_stays(value: Any) -> None:
    for escaped in (True, False):
        text = json.dumps(value, ensure_ascii=escaped)
        assert parse_tolerant(text) == without_non_numbers(value)


@pytest.mark.parametrize(
    "number",
    ["nan", "-nan", "NaN", "inf", "-inf", "Infinity", "-Infinity", "nan(ind)", "-nan(0x1)"],
)
def test_non_numbers_are_null_however_they_are_written(number: str) -> None:
    text = f'{{"Scale": [{number}, 1.5], "nan": "-inf, nan"}}'
    assert parse_tolerant(text) == {"Scale": [None, 1.5], "nan": "-inf, nan"}


def test_names_may_hold_newlines() -> None:
    assert parse_tolerant('{"Name": "a\nb"}') == {"Name": "a\nb"}


@pytest.mark.parametrize("text", ["", "{", '{"Layers": [}', "nano"])
def test_invalid_json_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"\d"):
        parse_tolerant(text)
