"""Results of linear layers stay float32 in INT8 models; those of convolutions do not."""

from __future__ import annotations

import tempfile
from pathlib import Path

import builders_networks as networks
import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import helper

from pytest_trt.backends.conversion.int8 import to_int8
from pytest_trt.onnx.file import load_model

#: The first column of the layer's result is this many times as large as the others.
OUTLIER = 1000.0


def unequal_columns() -> onnx.ModelProto:
    """x [batch, 16] times a matrix with one large column, which is scaled back to the others."""
    columns = np.ones(8, np.float32)
    columns[0] = OUTLIER
    matrix = np.random.default_rng(0).standard_normal((16, 8)).astype(np.float32) * columns
    return networks.model(
        [
            helper.make_node("MatMul", ["x", "w"], ["wide"], name="linear"),
            helper.make_node("Div", ["wide", "columns"], ["y"], name="even"),
        ],
        [networks.value("x", ["batch", 16])],
        [networks.value("y", ["batch", 8])],
        [networks.constant("w", matrix), networks.constant("columns", columns)],
    )


def quantised(model: onnx.ModelProto, name: str, samples: np.ndarray, folder: Path) -> Path:
    onnx.save(model, folder / "model.onnx")
    to_int8(load_model(folder / "model.onnx"), [{name: samples}], folder / "int8.onnx")
    return folder / "int8.onnx"


def run(path: Path, samples: np.ndarray) -> np.ndarray:
    """Run as written: INT8 kernels of CPUs without VNNI saturate."""
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    return onnxruntime.InferenceSession(str(path), options).run(None, {"x": samples})[0]


def consumers(path: Path, op_type: str) -> set[str]:
    nodes = onnx.load(path).graph.node
    results = {node.output[0] for node in nodes if node.op_type == op_type}
    return {node.op_type for node in nodes if results & set(node.input)}


def test_a_large_column_leaves_the_others_their_digits(tmp_path: Path) -> None:
    samples = np.random.default_rng(1).standard_normal((64, 16)).astype(np.float32)
    path = quantised(unequal_columns(), "x", samples, tmp_path)
    expected = run(tmp_path / "model.onnx", samples)
    assert consumers(path, "MatMul") == {"Div"}
    # One range for all columns has steps of about 100, and most of the other columns become 0.
    np.testing.assert_allclose(run(path, samples), expected, atol=0.3)


def test_results_of_convolutions_are_quantised(tmp_path: Path) -> None:
    images = np.random.default_rng(1).standard_normal((4, 3, 16, 16)).astype(np.float32)
    path = quantised(networks.conv_net(), "image", images, tmp_path)
    assert consumers(path, "Conv") == {"QuantizeLinear"}


def test_the_quantiser_stores_nothing_outside_the_folder_of_the_build(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "missing"))
    samples = np.random.default_rng(1).standard_normal((4, 16)).astype(np.float32)
    quantised(unequal_columns(), "x", samples, tmp_path)
    assert tempfile.tempdir == str(tmp_path / "missing")
    assert {one.name for one in tmp_path.iterdir()} == {"model.onnx", "int8.onnx"}
