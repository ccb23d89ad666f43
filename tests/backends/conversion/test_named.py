"""Operators and nodes that builder options name must be there, on every kind of backend."""

from __future__ import annotations

from pathlib import Path

import builders_networks as networks
import numpy as np
import pytest
from builders_model import remedy
from onnx import TensorProto, helper

from pytest_trt.backends.conversion.int8 import to_int8
from pytest_trt.backends.conversion.narrow import to_narrow
from pytest_trt.backends.conversion.narrow_types import FLOAT16
from pytest_trt.backends.devices.gpu import DeviceProbe
from pytest_trt.backends.onnxruntime.backend import OnnxRuntimeBackend
from pytest_trt.backends.tensorrt.backend import TensorRtRtxBackend
from pytest_trt.diagnostics import ConfigurationError, EngineBuildError
from pytest_trt.engine.protocols import Backend
from pytest_trt.engine.spec import EngineSpec
from pytest_trt.onnx.file import OnnxModel, load_model

node = helper.make_node
value = networks.value
BACKENDS = (OnnxRuntimeBackend(threads=1), TensorRtRtxBackend(DeviceProbe((), "none")))
SAMPLE = {"x": np.ones((2, 8), np.float32), "flag": np.array(True)}


@pytest.fixture
def model(tmp_path: Path) -> OnnxModel:
    """Two linear layers, of which the first is fused; a branch holds a third MatMul."""
    branch = networks.subgraph(
        [node("MatMul", ["r", "w3"], ["inner"], name="in_branch")], [], [value("inner", [2, 5])]
    )
    proto = networks.model(
        [
            node("MatMul", ["x", "w1"], ["p"], name="proj"),
            node("Add", ["p", "b1"], ["q"], name="bias"),
            node("Relu", ["q"], ["r"]),
            node("MatMul", ["r", "w2"], ["s"], name="out"),
            node("If", ["flag"], ["t"], then_branch=branch, else_branch=branch),
            node("Add", ["s", "t"], ["y"]),
        ],
        [value("x", [2, 8]), value("flag", [], TensorProto.BOOL)],
        [value("y", [2, 5])],
        [
            networks.weights("w1", 8, 5),
            networks.weights("b1", 5),
            networks.weights("w2", 5, 5),
            networks.weights("w3", 5, 5),
        ],
    )
    return networks.saved(proto, tmp_path / "m.onnx")


@pytest.mark.parametrize("backend", BACKENDS, ids=lambda backend: backend.name)
def test_an_operator_that_the_model_lacks_is_refused_before_anything_is_built(
    backend: Backend, model: OnnxModel
) -> None:
    backend.route(model, EngineSpec("int8", builder_options={"op_types": "MatMul, Add"}))

    asked = EngineSpec("int8", builder_options={"op_types": "Matmull,Add,Swirl"})
    with pytest.raises(ConfigurationError) as caught:
        backend.route(model, asked)
    assert caught.value.message == (
        "op_types names 'Matmull', 'Swirl', but m.onnx has no such operator"
    )
    assert remedy(caught.value) == ("Did you mean 'MatMul'?")


@pytest.mark.parametrize("precision", ["fp16", "int8"])
@pytest.mark.parametrize(("good", "bad"), [(("Add",), "Ad"), (("out", "in_branch", "b*"), "ouT_")])
def test_the_conversions_know_operators_and_nodes(
    precision: str, good: tuple[str, ...], bad: str, model: OnnxModel, tmp_path: Path
) -> None:
    def convert(*kept: str) -> None:
        output = tmp_path / "converted.onnx"
        if precision == "fp16":
            to_narrow(model, output, FLOAT16, keep_fp32=kept)
        else:
            to_int8(model, [SAMPLE], output, keep_fp32=kept)

    convert(*good)
    with pytest.raises(ConfigurationError, match=f"names '{bad}', but m.onnx has no such"):
        convert(*good, bad)


def test_operators_of_other_domains_are_known_by_their_bare_name(tmp_path: Path) -> None:
    distance = node("CDist", ["x", "x"], ["y"], domain="com.microsoft", metric="euclidean")
    proto = networks.model([distance], [value("x", [2, 2])], [value("y", [2, 2])])
    proto.opset_import.append(helper.make_opsetid("com.microsoft", 1))
    model = networks.saved(proto, tmp_path / "m.onnx")
    to_narrow(model, tmp_path / "h.onnx", FLOAT16, keep_fp32=["CDist"])
    for backend in BACKENDS:
        backend.route(model, EngineSpec("int8", builder_options={"op_types": "CDist"}))


def test_operators_inside_functions_are_known_and_the_functions_are_not(tmp_path: Path) -> None:
    body = [node("Relu", ["a"], ["b"])]
    function = helper.make_function(
        "mine", "Block", ["a"], ["b"], body, [helper.make_opsetid("", 17)]
    )
    proto = networks.model(
        [node("Block", ["x"], ["y"], domain="mine")], [value("x", [4])], [value("y", [4])]
    )
    proto.functions.append(function)
    proto.opset_import.append(helper.make_opsetid("mine", 1))
    model = networks.saved(proto, tmp_path / "m.onnx")

    to_narrow(model, tmp_path / "h.onnx", FLOAT16, keep_fp32=["Relu"])
    with pytest.raises(ConfigurationError, match="names 'Block'"):
        to_narrow(model, tmp_path / "h.onnx", FLOAT16, keep_fp32=["Block"])


def test_options_without_effect_on_a_quantised_model_are_refused(
    model: OnnxModel, tmp_path: Path
) -> None:
    to_int8(model, [SAMPLE], tmp_path / "q.onnx")
    quantised = load_model(tmp_path / "q.onnx")
    for backend in BACKENDS:
        backend.route(quantised, EngineSpec("int8"))
        with pytest.raises(ConfigurationError, match="op_types"):
            backend.route(quantised, EngineSpec("int8", builder_options={"op_types": "Add"}))
        with pytest.raises(ConfigurationError, match="its own Q/DQ nodes") as caught:
            backend.route(quantised, EngineSpec("int8", keep_fp32=("Add",)))
        assert caught.value.diagnostic.code == "TRT361"


def pairs(model: OnnxModel, *kept: str, **options: str) -> int:
    """Return how many MatMul and Gemm multiply INT8 weights after the conversion."""
    output = model.path.with_name("q.onnx")
    sample = {spec.name: SAMPLE[spec.name] for spec in model.inputs}
    to_int8(model, [sample], output, options=options, keep_fp32=kept)
    return load_model(output).op_types["QuantizeLinear"] // 2


@pytest.mark.parametrize(
    ("kept", "options", "quantised"),
    [
        ((), {}, 2),
        (("proj",), {}, 1),
        (("out",), {}, 1),
        ((), {"op_types": "MatMul"}, 2),
        (("proj",), {"op_types": "MatMul"}, 1),
    ],
)
def test_a_fused_node_counts_as_the_one_that_the_model_has(
    kept: tuple[str, ...], options: dict[str, str], quantised: int, model: OnnxModel
) -> None:
    assert pairs(model, *kept, **options) == quantised


def test_to_keep_every_operator_leaves_nothing_to_quantise(model: OnnxModel) -> None:
    with pytest.raises(EngineBuildError, match=r"nothing in m\.onnx could be quantised"):
        pairs(model, "MatMul")


def test_nodes_without_names_are_kept_by_operator(tmp_path: Path) -> None:
    proto = networks.model(
        [node("MatMul", ["x", "w1"], ["h"]), node("Gemm", ["h", "w2"], ["y"])],
        [value("x", [2, 8], TensorProto.FLOAT)],
        [value("y", [2, 5])],
        [networks.weights("w1", 8, 5), networks.weights("w2", 5, 5)],
    )
    model = networks.saved(proto, tmp_path / "m.onnx")
    assert pairs(model) == 2
    assert pairs(model, "Gemm") == pairs(model, op_types="Gemm") == 1
