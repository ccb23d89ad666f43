"""FP8 and mixed precision: the Q/DQ nodes of INT8 with other types."""

from __future__ import annotations

from pathlib import Path

import builders_networks as networks
import numpy as np
import onnx
import pytest
from onnx import TensorProto

from pytest_trt.backends.conversion.convert import converted
from pytest_trt.backends.conversion.converting import unoptimised
from pytest_trt.onnx.file import OnnxModel, load_model

IMAGES = {"image": np.random.default_rng(0).standard_normal((8, 3, 16, 16)).astype(np.float32)}


@pytest.fixture
def model(tmp_path: Path) -> OnnxModel:
    return networks.saved(networks.conv_net(), tmp_path / "m.onnx")


def convert(model: OnnxModel, precision: str, *kept: str, **given: bool) -> onnx.ModelProto:
    output = model.path.with_name(f"{precision}.onnx")
    converted(model, precision, output, calibration=[IMAGES], keep_fp32=kept, **given)
    return onnx.load(output)


def error(model: OnnxModel, precision: str) -> float:
    """Return the largest error of the logits, as a share of the largest logit."""
    (expected,) = unoptimised(model.path).run(None, IMAGES)
    path = model.path.with_name(f"{precision}.onnx")
    (found,) = unoptimised(path).run(None, IMAGES)
    return float(np.abs(found - expected).max() / np.abs(expected).max())


def test_fp8_has_the_pairs_of_int8_and_float8_in_them(model: OnnxModel) -> None:
    int8, fp8 = convert(model, "int8"), convert(model, "fp8")
    count = [
        sum(node.op_type == "DequantizeLinear" for node in one.graph.node) for one in (int8, fp8)
    ]
    assert count[0] == count[1] > 3
    types = [one.data_type for one in fp8.graph.initializer]
    assert TensorProto.INT8 not in types
    weights = [
        t for t in fp8.graph.initializer if t.data_type == TensorProto.FLOAT8E4M3FN and t.dims
    ]
    assert sum(len(one.dims) == 4 for one in weights) == 2
    assert 0.001 < error(model, "int8") < 0.05
    assert error(model, "int8") < error(model, "fp8") < 0.2


def test_what_is_kept_has_no_pairs(model: OnnxModel) -> None:
    for precision in ("fp8", "mixed"):
        full, part = convert(model, precision), convert(model, precision, "Conv")
        pairs = [
            sum(node.op_type == "DequantizeLinear" for node in one.graph.node)
            for one in (full, part)
        ]
        assert pairs[0] > pairs[1] > 0


@pytest.mark.parametrize("qdq_weights", [True, False])
def test_mixed_is_int8_and_float16(model: OnnxModel, qdq_weights: bool) -> None:
    mixed = convert(model, "mixed", qdq_weights=qdq_weights)
    types = {one.name: one.data_type for one in mixed.graph.initializer}
    assert {TensorProto.INT8, TensorProto.FLOAT16} <= {*types.values()}
    assert TensorProto.FLOAT not in types.values()
    for one in (*mixed.graph.input, *mixed.graph.output):
        assert one.type.tensor_type.elem_type == TensorProto.FLOAT
    assert error(model, "mixed") < 0.05


def test_a_kept_node_of_mixed_computes_in_float32(model: OnnxModel) -> None:
    mixed = convert(model, "mixed", "linear")
    types = {one.name: one.data_type for one in mixed.graph.initializer}
    (linear,) = [node for node in mixed.graph.node if node.op_type == "Gemm"]
    assert types[linear.input[1]] == TensorProto.FLOAT
    (conv, *_) = [node for node in mixed.graph.node if node.op_type == "Conv"]
    makers = {name: node for node in mixed.graph.node for name in node.output}
    assert makers[conv.input[0]].op_type == "DequantizeLinear"


def test_mixed_uses_the_pairs_that_a_model_brings(model: OnnxModel, tmp_path: Path) -> None:
    int8 = convert(model, "int8")
    own = load_model(tmp_path / "int8.onnx")
    done = converted(own, "mixed", tmp_path / "own.onnx")
    assert "brings its own Q/DQ nodes" in done.notes[0]
    mixed = onnx.load(tmp_path / "own.onnx")
    for kind in ("QuantizeLinear", "DequantizeLinear"):
        pairs = [sum(n.op_type == kind for n in one.graph.node) for one in (int8, mixed)]
        assert pairs[0] == pairs[1]
    assert TensorProto.FLOAT16 in {one.data_type for one in mixed.graph.initializer}


@pytest.mark.parametrize("precision", ["int8", "fp8", "int4", "mixed"])
def test_weights_that_a_branch_or_an_output_reads_too_stay(precision: str, tmp_path: Path) -> None:
    node, value = onnx.helper.make_node, networks.value
    branches = {
        "then_branch": networks.subgraph(
            [node("MatMul", ["x", "w"], ["a"])], [], [value("a", None)]
        ),
        "else_branch": networks.subgraph([node("Relu", ["x"], ["b"])], [], [value("b", None)]),
    }
    proto = networks.model(
        [
            node("If", ["go"], ["h"], **branches),
            node("MatMul", ["h", "w"], ["y"]),
            node("MatMul", ["x", "v"], ["z"]),
        ],
        [value("x", [4, 128]), value("go", [], TensorProto.BOOL)],
        [value("y", None), value("z", None), value("v", [128, 128])],
        [networks.weights("w", 128, 128, scale=0.02), networks.weights("v", 128, 128)],
    )
    model = networks.saved(proto, tmp_path / "m.onnx")
    inputs = {"x": IMAGES["image"].reshape(-1, 128)[:4], "go": np.array(True)}
    converted(model, precision, tmp_path / "o.onnx", calibration=[inputs])
    for path in (model.path, tmp_path / "o.onnx"):
        y, z, v = unoptimised(path).run(None, inputs)
        if path == model.path:
            expected = y, z
        np.testing.assert_array_equal(v, onnx.numpy_helper.to_array(proto.graph.initializer[1]))
    for one, wanted in zip((y, z), expected, strict=True):
        assert np.abs(one - wanted).max() < 0.3 * np.abs(wanted).max()
