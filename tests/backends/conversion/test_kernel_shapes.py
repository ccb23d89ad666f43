"""Convolutions of INT8 models say the shape of their kernels, which TensorRT cannot infer."""

from __future__ import annotations

from pathlib import Path

import builders_networks as networks
import numpy as np
import onnx
import pytest
from onnx import AttributeProto, helper

from pytest_trt.backends.conversion.int8 import to_int8
from pytest_trt.onnx.file import load_model

IMAGES = {"image": np.zeros((2, 3, 16, 16), np.float32)}


def kernel_shapes(path: Path) -> dict[str, list[int]]:
    return {
        node.name: list(attribute.ints)
        for node in onnx.load(path).graph.node
        for attribute in node.attribute
        if attribute.name == "kernel_shape" and attribute.type == AttributeProto.INTS
    }


@pytest.mark.parametrize("qdq_weights", [True, False])
def test_kernel_shapes_that_a_model_leaves_out_are_stated(
    qdq_weights: bool, tmp_path: Path
) -> None:
    model = networks.saved(networks.conv_net(), tmp_path / "model.onnx")
    assert kernel_shapes(model.path) == {}
    to_int8(model, [IMAGES], tmp_path / "q.onnx", qdq_weights=qdq_weights)
    assert kernel_shapes(tmp_path / "q.onnx") == {"conv1": [3, 3], "conv2": [3, 3]}


def test_kernel_shapes_that_a_model_states_stay(tmp_path: Path) -> None:
    proto = networks.conv_net()
    proto.graph.node[0].attribute.append(helper.make_attribute("kernel_shape", [3, 3]))
    to_int8(networks.saved(proto, tmp_path / "model.onnx"), [IMAGES], tmp_path / "q.onnx")
    assert kernel_shapes(tmp_path / "q.onnx")["conv1"] == [3, 3]


def test_a_model_that_is_quantised_already_gets_them_too(tmp_path: Path) -> None:
    model = networks.saved(networks.conv_net(), tmp_path / "model.onnx")
    to_int8(model, [IMAGES], tmp_path / "q.onnx")
    proto = onnx.load(tmp_path / "q.onnx")
    for node in proto.graph.node:
        for attribute in [a for a in node.attribute if a.name == "kernel_shape"]:
            node.attribute.remove(attribute)
    onnx.save(proto, tmp_path / "bare.onnx")
    to_int8(load_model(tmp_path / "bare.onnx"), [], tmp_path / "again.onnx")
    assert kernel_shapes(tmp_path / "again.onnx") == {"conv1": [3, 3], "conv2": [3, 3]}
