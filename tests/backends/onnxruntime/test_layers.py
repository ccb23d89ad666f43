from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from builders import save_linear
from builders_float16 import HALF
from builders_networks import (
    FLOAT,
    INT64,
    constant,
    conv_net,
    encoder,
    model,
    saved,
    subgraph,
    value,
    weights,
)
from onnx import helper

from pytest_trt.backends.onnxruntime.backend import OnnxRuntimeBackend
from pytest_trt.backends.onnxruntime.layers import onnx_layers
from pytest_trt.engine.facts import CONVERSION, EngineFacts, Layer
from pytest_trt.engine.protocols import BuildRequest
from pytest_trt.engine.shortfall import precision_shortfall
from pytest_trt.engine.spec import EngineSpec
from pytest_trt.onnx.file import OnnxModel, load_model


def facts(network: OnnxModel, folder: Path, precision: str, *keep_fp32: str) -> EngineFacts:
    """Build an engine with the embedded backend and return its facts."""
    samples = [{"image": np.zeros((2, 3, 16, 16), np.float32)}]
    if network.inputs[0].name == "ids":
        ids = np.ones((2, 5), np.int64)
        samples = [{"ids": ids, "mask": ids}]
    backend = OnnxRuntimeBackend()
    folder.mkdir()
    spec = EngineSpec(precision, keep_fp32=keep_fp32)
    request = BuildRequest(network, spec, backend.target("cpu"), folder, calibration=samples)
    return EngineFacts(size_bytes=0, build_s=0.0, layers=backend.build(request).layers)


def by_kind(engine: EngineFacts) -> dict[str, Layer]:
    return {layer.kind: layer for layer in engine.layers or ()}


@pytest.fixture(scope="module")
def network(tmp_path_factory) -> OnnxModel:
    return saved(conv_net(), tmp_path_factory.mktemp("network") / "conv.onnx")


def test_fp32_engine_is_float_throughout(network, tmp_path) -> None:
    engine = facts(network, tmp_path / "engine", "fp32")
    assert engine.layers_pct == {"float": 100.0}
    assert engine.weights_pct == {"float": 100.0}
    assert engine.weight_counts.total() == network.elements["float32"]


def test_fp16_engine_is_half_though_its_plan_computes_in_fp32(network, tmp_path) -> None:
    engine = facts(network, tmp_path / "engine", "fp16")
    assert engine.half_weights_pct == 100.0
    assert engine.half_layers_pct > 70.0
    assert {kind for kind, layer in by_kind(engine).items() if layer.precision != "half"} == {
        "Cast"
    }


def test_int8_engine_reports_what_is_computed_in_int8(network, tmp_path) -> None:
    engine = facts(network, tmp_path / "engine", "int8")
    layers = by_kind(engine)
    assert layers["QLinearConv"].precision == "int8"
    assert layers["DequantizeLinear"].precision == CONVERSION
    assert engine.int8_weights_pct > 90.0
    assert 0.0 < engine.int8_layers_pct < 100.0


@pytest.mark.parametrize("precision", ["fp32", "fp16", "int8"])
def test_precision_of_every_layer_of_a_transformer_is_reported(tmp_path, precision: str) -> None:
    network = saved(encoder(), tmp_path / "encoder.onnx")
    engine = facts(network, tmp_path / "engine", precision)
    assert (engine.unknown_layers_pct, engine.unknown_weights_pct) == (0.0, 0.0)
    assert precision_shortfall(EngineSpec(precision), network, engine, Path("engine.plan")) is None


def test_operators_kept_in_fp32_are_counted_as_fp32(network, tmp_path) -> None:
    engine = facts(network, tmp_path / "engine", "fp16", "Conv")
    layers = by_kind(engine)
    assert (layers["Conv"].precision, layers["Gemm"].precision) == ("float", "half")
    assert 0.0 < engine.half_weights_pct < 100.0
    assert engine.half_weights_pct + engine.float_weights_pct == 100.0


def test_engine_with_every_operator_in_fp32_lacks_its_precision(tmp_path) -> None:
    network = load_model(save_linear(tmp_path / "linear.onnx"))
    kept = ("MatMul", "Add", "Softmax")
    engine = facts(network, tmp_path / "engine", "fp16", *kept)
    spec = EngineSpec("fp16", keep_fp32=kept)
    error = precision_shortfall(spec, network, engine, Path("engine.plan"))
    assert error is not None
    assert "3 of its 3 layers that compute and 36 of its 36 weights are FP32" in error.message


def test_fused_layer_names_the_node_that_it_is_named_after(network, tmp_path) -> None:
    layers = by_kind(facts(network, tmp_path / "engine", "fp32"))
    assert layers["FusedConv"].origins[0].startswith("conv")
    assert layers["Gemm"].origins == ("linear",)


def test_layer_that_is_not_from_the_model_has_no_origins(network, tmp_path) -> None:
    layers = by_kind(facts(network, tmp_path / "engine", "fp16"))
    assert layers["Cast"].origins == ()


def read(tmp_path: Path, *args: object, origins: frozenset[str] = frozenset()) -> list[Layer]:
    onnx.save(model(*args), tmp_path / "engine.onnx")
    return list(onnx_layers(tmp_path / "engine.onnx", origins))


def test_constant_that_two_layers_read_is_counted_once(tmp_path) -> None:
    nodes = [
        helper.make_node("MatMul", ["x", "w"], ["a"]),
        helper.make_node("MatMul", ["a", "w"], ["y"]),
    ]
    layers = read(tmp_path, nodes, [value("x", [2, 4])], [value("y", [2, 4])], [weights("w", 4, 4)])
    assert [layer.weights for layer in layers] == [{"float": 16}, {}]


def test_constants_in_nodes_are_weights_and_no_layers(tmp_path) -> None:
    nodes = [
        helper.make_node("Constant", [], ["w"], value=weights("", 4, 4)),
        helper.make_node("MatMul", ["x", "w"], ["y"], name="product"),
    ]
    (layer,) = read(tmp_path, nodes, [value("x", [2, 4])], [value("y", [2, 4])])
    assert (layer.name, layer.weights) == ("product", {"float": 16})


def test_arithmetic_of_shapes_has_no_precision(tmp_path) -> None:
    nodes = [
        helper.make_node("Shape", ["x"], ["shape"]),
        helper.make_node("Gather", ["shape", "index"], ["size"]),
    ]
    outputs = [value("size", [1], INT64)]
    layers = read(tmp_path, nodes, [value("x", [2])], outputs, [constant("index", [0], "int64")])
    assert [layer.precision for layer in layers] == ["integer", "integer"]


def test_layers_of_branches_count(tmp_path) -> None:
    branches = [
        subgraph([helper.make_node(op, ["x"], [op])], [], [value(op, [2], HALF)])
        for op in ("Neg", "Abs")
    ]
    nodes = [
        helper.make_node("If", ["flag"], ["y"], then_branch=branches[0], else_branch=branches[1])
    ]
    inputs = [value("x", [2], HALF), value("flag", [], onnx.TensorProto.BOOL)]
    layers = read(tmp_path, nodes, inputs, [value("y", [2], HALF)])
    assert [(layer.kind, layer.precision) for layer in layers] == [
        ("If", "half"),
        ("Abs", "half"),
        ("Neg", "half"),
    ]


def test_undeclared_operator_has_an_unknown_precision(tmp_path) -> None:
    nodes = [helper.make_node("Mystery", ["x"], ["y"], domain="com.example")]
    graph = model(nodes, [value("x", [2])], [value("y", [2], FLOAT)])
    graph.graph.output[0].type.Clear()
    onnx.save(graph, tmp_path / "engine.onnx")
    (layer,) = onnx_layers(tmp_path / "engine.onnx", frozenset())
    assert (layer.name, layer.precision) == ("y", None)
