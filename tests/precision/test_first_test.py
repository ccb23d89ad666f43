from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from pytest_trt.accuracy.tolerance import DEFAULT_TOLERANCES
from pytest_trt.diagnostics import PytestTrtError
from pytest_trt.plugin.options.settings import default_settings
from pytest_trt.plugin.run import TrtRun
from pytest_trt.precision.first_test import FirstTest, first_test
from pytest_trt.tensors.profiles import ShapeRange

Measure = Callable[[Path], FirstTest]


@pytest.fixture
def measure(tmp_path: Path) -> Iterator[Measure]:
    settings = default_settings(
        arch=("cpu",), backend="onnxruntime", threads=1, cache_dir=tmp_path / "cache"
    )
    run = TrtRun(settings)

    def measured(path: Path) -> FirstTest:
        model = run.model(path, lambda text: None)
        return first_test(run, model, "cpu", (), say=lambda text: None)

    yield measured
    run.close()


def save(path: Path, shape: list[object], *nodes: onnx.NodeProto, **weights: np.ndarray) -> Path:
    """Write a model with an input x and an output y."""
    x = helper.make_tensor_value_info("x", TensorProto.FLOAT, shape)
    y = helper.make_tensor_value_info("y", TensorProto.FLOAT, None)
    constants = [numpy_helper.from_array(value, name) for name, value in weights.items()]
    graph = helper.make_graph(list(nodes), "g", [x], [y], constants)
    opsets = [helper.make_opsetid("", 17)]
    onnx.save(helper.make_model(graph, opset_imports=opsets, ir_version=8), path)
    return path


def test_profile_is_one_that_the_model_runs_with(tmp_path: Path, measure: Measure) -> None:
    weight = np.random.default_rng(0).standard_normal((512, 4)).astype(np.float32)
    matmul = helper.make_node("MatMul", ["x", "w"], ["y"])
    found = measure(save(tmp_path / "window.onnx", ["batch", "samples"], matmul, w=weight))
    assert found.profile == {"x": ShapeRange((1, 512), (4, 512), (8, 512))}
    relu = helper.make_node("Relu", ["x"], ["y"])
    found = measure(save(tmp_path / "relu.onnx", [1, 3, "height", "width"], relu))
    assert found.profile == {"x": ShapeRange((1, 3, 32, 32), (1, 3, 128, 128), (1, 3, 256, 256))}
    assert measure(save(tmp_path / "fixed.onnx", [2, 3], relu)).profile == {}


def test_tolerances_are_no_stricter_than_other_machines_allow(
    tmp_path: Path, measure: Measure
) -> None:
    double = helper.make_node("Add", ["x", "x"], ["y"])  # exact in every precision of the sum
    found = measure(save(tmp_path / "double.onnx", [4, 8], double))
    for precision, outputs in found.tolerances.items():
        default = DEFAULT_TOLERANCES[precision]
        assert outputs["y"]["rtol"] >= default.rtol / 10
        assert outputs["y"]["atol"] >= default.atol / 10
        assert outputs["y"]["cosine"] <= 0.9999
    assert set(found.tolerances) == {"fp32", "fp16"}


def test_precision_whose_outputs_overflow_is_left_out(tmp_path: Path, measure: Measure) -> None:
    scale = helper.make_node("Mul", ["x", "w"], ["y"])
    path = save(tmp_path / "large.onnx", [4, 8], scale, w=np.full(1, 1e6, np.float32))
    found = measure(path)
    assert set(found.tolerances) == {"fp32"}
    assert found.left_out["fp16"].code == "TRT461"


def test_model_that_runs_with_no_shape_is_an_error(tmp_path: Path, measure: Measure) -> None:
    weight = np.ones((777, 4), np.float32)
    matmul = helper.make_node("MatMul", ["x", "w"], ["y"])
    path = save(tmp_path / "window.onnx", ["batch", "samples"], matmul, w=weight)
    with pytest.raises(PytestTrtError) as raised:
        measure(path)
    assert raised.value.diagnostic.code == "TRT229"
