"""Models whose operators share weights: quantised, they run."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from pytest_trt.backends.conversion.shared_weights import unshare_weights
from pytest_trt.backends.onnxruntime.backend import OnnxRuntimeBackend
from pytest_trt.engine.protocols import BuildRequest
from pytest_trt.engine.spec import EngineSpec
from pytest_trt.onnx.file import load_model

SHAPE = [2, 4, 8, 8]


def shared(path: Path) -> Path:
    """Write a model in which three convolutions share one kernel, and save it."""
    rng = np.random.default_rng(0)
    kernel = numpy_helper.from_array(rng.normal(size=(4, 4, 3, 3)).astype(np.float32) / 6, "w")
    other = numpy_helper.from_array(np.ones((4, 4, 1, 1), np.float32), "w_2")
    nodes = [
        helper.make_node("Conv", [f"x{n}", "w"], [f"x{n + 1}"], f"conv{n}", pads=[1] * 4)
        for n in range(3)
    ]
    nodes.append(helper.make_node("Conv", ["x3", "w_2"], ["y"], "last"))
    values = [helper.make_tensor_value_info(n, TensorProto.FLOAT, SHAPE) for n in ("x0", "y")]
    graph = helper.make_graph(nodes, "shared", values[:1], values[1:], [kernel, other])
    proto = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.save(proto, path)
    return path


def test_every_operator_gets_weights_of_its_own(tmp_path: Path) -> None:
    graph = onnx.load(shared(tmp_path / "m.onnx")).graph
    unshare_weights(graph)
    assert [node.input[1] for node in graph.node] == ["w", "w_3", "w_4", "w_2"]
    values = {one.name: numpy_helper.to_array(one) for one in graph.initializer}
    assert np.array_equal(values["w"], values["w_3"])
    before = [list(node.input) for node in graph.node]
    unshare_weights(graph)
    assert [list(node.input) for node in graph.node] == before


def test_shared_weights_run_in_int8(tmp_path: Path) -> None:
    model = load_model(shared(tmp_path / "m.onnx"))
    inputs = {"x0": np.random.default_rng(1).random(SHAPE, np.float32)}
    backend = OnnxRuntimeBackend(threads=1)
    outputs = []
    for precision in ("int8", "fp32"):
        folder = tmp_path / precision
        folder.mkdir()
        spec, target = EngineSpec(precision), backend.target("cpu")
        request = BuildRequest(model, spec, target, folder, calibration=[inputs])
        plan = folder / backend.build(request).plan_name
        outputs.append(backend.open(plan, model, spec, target).run(inputs)["y"])
    found, expected = outputs
    assert 0 < np.abs(found - expected).max() < 0.05 * np.abs(expected).max()
