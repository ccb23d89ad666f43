"""`keep_fp32` with builder flags: which layers become FP32. Real engines: tests/gpu."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import builders_networks as networks
import pytest
from onnx import TensorProto, helper

from pytest_trt.backends.tensorrt.build_job import BuildPlan
from pytest_trt.backends.tensorrt.layer_precision import keep_layers, layers_of
from pytest_trt.backends.tensorrt.log import process_logger
from pytest_trt.diagnostics import ConfigurationError
from pytest_trt.onnx.file import OnnxModel

node, value = helper.make_node, networks.value


@pytest.fixture
def model(tmp_path: Path) -> OnnxModel:
    """Two products, one of them without a name, and an index of integers."""
    proto = networks.model(
        [
            node("MatMul", ["x", "w"], ["h"], name="/body/fc"),
            node("Relu", ["h"], ["r"], name="/body/relu"),
            node("MatMul", ["r", "w"], ["y"]),
            node("ArgMax", ["y"], ["at"], axis=1, name="/head/index"),
        ],
        [value("x", [2, 8])],
        [value("y", [2, 8]), value("at", [2, 1], TensorProto.INT64)],
        [networks.weights("w", 8, 8)],
    )
    return networks.saved(proto, tmp_path / "m.onnx")


class Layer:
    """A layer as TensorRT's parser makes it, which remembers what it was told."""

    def __init__(self, name: str, *outputs: tuple[str, str], metadata: str = "") -> None:
        self.name, self.metadata, self.num_outputs = name, metadata, len(outputs)
        self._outputs = [SimpleNamespace(name=one, dtype=dtype) for one, dtype in outputs]
        self.precision, self.types = "", {}

    def get_output(self, index: int) -> Any:
        return self._outputs[index]

    def set_output_type(self, index: int, dtype: str) -> None:
        self.types[index] = dtype


def kept(model: OnnxModel, *keep: str, binding: bool = True) -> tuple[list[Layer], list[str]]:
    """Return the layers, and the flags that were set."""
    layers = [
        Layer("weights", ("(Unnamed) 0", "float")),
        Layer("/body/fc", ("h", "float"), metadata="[ONNX Layer: /body/fc]"),
        Layer("ONNXTRT_1", ("(Unnamed) 1", "float"), metadata="[ONNX Layer: /body/fc]"),
        Layer("/body/relu", ("r", "float")),
        Layer("node_of_y", ("y", "float")),
        Layer("/head/index", ("values", "float"), ("at", "int64")),
        Layer("/head/cast", ("at", "int64"), metadata="[ONNX Layer: /head/index]"),
    ]
    names = [*["OBEY_PRECISION_CONSTRAINTS"] * binding, "PREFER_PRECISION_CONSTRAINTS"]
    trt = SimpleNamespace(
        DataType=SimpleNamespace(FLOAT="float"),
        BuilderFlag=SimpleNamespace(**{name: name for name in names}),
    )
    network = SimpleNamespace(num_layers=len(layers), get_layer=layers.__getitem__)
    flags: list[str] = []
    plan = BuildPlan(
        "TensorRT 8.6.0", "m.onnx", "", model.path, model.path, keep_fp32=keep, flags=("FP16",)
    )
    keep_layers(trt, network, SimpleNamespace(set_flag=flags.append), plan)
    return [layer for layer in layers if layer.precision], flags


@pytest.mark.parametrize(
    ("keep", "names"),
    [
        ((), []),
        (("/body/fc",), ["/body/fc", "ONNXTRT_1"]),
        (("MatMul",), ["/body/fc", "ONNXTRT_1", "node_of_y"]),
        (("/body/*",), ["/body/fc", "ONNXTRT_1", "/body/relu"]),
        (("ArgMax", "Relu"), ["/body/relu", "/head/index"]),
    ],
)
def test_the_layers_of_a_node_compute_and_return_fp32(model, keep, names: list[str]) -> None:
    layers, flags = kept(model, *keep)
    assert [layer.name for layer in layers] == names
    assert all(layer.precision == "float" and layer.types == {0: "float"} for layer in layers)
    assert flags == ["OBEY_PRECISION_CONSTRAINTS"] * bool(names)


def test_without_a_binding_flag_the_weaker_one_is_set(model) -> None:
    assert kept(model, "Relu", binding=False)[1] == ["PREFER_PRECISION_CONSTRAINTS"]


def test_nodes_that_are_not_there_or_make_no_layer_are_an_error(model, tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="names 'Softmax'") as caught:
        kept(model, "Softmax")
    assert caught.value.diagnostic.code == "TRT358"
    proto = networks.model(
        [node("Shape", ["x"], ["s"], name="s")], [value("x", [2])], [value("s", [1], 7)]
    )
    with pytest.raises(ConfigurationError, match="no floating-point layer of the nodes") as caught:
        kept(networks.saved(proto, tmp_path / "shape.onnx"), "Shape")
    assert caught.value.diagnostic.code == "TRT361"


def test_the_parser_names_layers_as_they_are_looked_for(model) -> None:
    trt: Any = pytest.importorskip("tensorrt_rtx")
    network = trt.Builder(process_logger(trt)).create_network(0)
    parser = trt.OnnxParser(network, process_logger(trt))
    assert parser.parse_from_file(str(model.path))
    for name, output in (("/body/fc", "h"), ("/body/relu", "r"), ("node_of_y", "y")):
        found = {layer.name for layer in layers_of(network, {name}, ())}
        assert found & {layer.name for layer in layers_of(network, (), {output})}
