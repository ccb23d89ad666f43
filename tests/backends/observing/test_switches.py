from __future__ import annotations

from pathlib import Path

import builders_networks as networks
import numpy as np
import pytest
from builders import images, save_overflowing
from builders_model import model_proto, save, value
from builders_planted import network
from builders_sensitive import save_large_constant, save_outlier_channel
from onnx import helper, numpy_helper

from pytest_trt.backends.observing.switched import switched
from pytest_trt.backends.onnxruntime.backend import OnnxRuntimeBackend
from pytest_trt.engine.protocols import BuildRequest
from pytest_trt.engine.spec import EngineSpec, Target
from pytest_trt.onnx.file import load_model
from pytest_trt.precision.error import output_errors
from pytest_trt.precision.observe import run_once


class Scene:
    """A model, switched, and what its engine and FP32 return."""

    def __init__(self, path: Path, spec: EngineSpec, inputs) -> None:
        self.model, self.inputs, self.spec, self.folder = (
            load_model(path),
            inputs,
            spec,
            path.parent,
        )
        self.backend = OnnxRuntimeBackend()
        place = self.folder / "switched"
        place.mkdir()
        self.switched = switched(self._request(spec, place), place)
        self.fp32 = self.backend.reference(self.model).run(inputs)

    def _request(self, spec: EngineSpec, place: Path) -> BuildRequest:
        samples = [self.inputs] if spec.precision in ("int8", "mixed", "fp8") else ()
        return BuildRequest(self.model, spec, Target("cpu"), place, samples)

    def engine(self, *kept: str):
        place = self.folder / f"engine{len(kept)}"
        place.mkdir()
        spec = EngineSpec(self.spec.precision, keep_fp32=(*self.spec.keep_fp32, *kept))
        return run_once(self.backend, self._request(spec, place), self.inputs)

    def error(self, actual, reference) -> float:
        return max(one.relative_l2 for one in output_errors(actual, reference, self.model.outputs))

    @property
    def entries(self) -> list[str]:
        return [one.entry for one in self.switched.units]


def save_residual(path: Path) -> Path:
    return save(network(), path)


def save_quantised_outputs(path: Path) -> Path:
    """Write two convolutions whose results are outputs of the model and are read by others."""
    proto = networks.model(
        [
            helper.make_node("Conv", ["x", "w1"], ["c"], "first", pads=[1] * 4),
            helper.make_node("Conv", ["c", "w2"], ["d"], "second", pads=[1] * 4),
            helper.make_node("MaxPool", ["d"], ["y"], "pool", kernel_shape=[2, 2]),
        ],
        [value("x", (2, 3, 8, 8))],
        [networks.value(name, None) for name in "cyd"],
        [networks.weights(name, 3, 3, 3, 3) for name in ("w1", "w2")],
    )
    return save(proto, path)


def save_wide(path: Path) -> Path:
    """Write products of 128 columns: INT4 stores whole blocks alone."""
    rng = np.random.default_rng(0)
    shapes = {"w0": (8, 128), "w1": (128, 128), "w2": (4, 128)}
    stored = [
        numpy_helper.from_array(rng.normal(size=shape).astype(np.float32) / 8, name)
        for name, shape in shapes.items()
    ]
    nodes = [
        helper.make_node("MatMul", ["image", "w0"], ["a"], name="widen"),
        helper.make_node("MatMul", ["a", "w1"], ["b"], name="narrow"),
        helper.make_node("Gemm", ["b", "w2"], ["y"], name="end", transB=1),
    ]
    inputs, outputs = [value("image", ("batch", 8))], [value("y")]
    proto = model_proto(nodes, inputs=inputs, outputs=outputs, initializers=stored)
    return save(proto, path)


@pytest.mark.parametrize(
    ("save_model", "precision"),
    [
        (save_large_constant, "fp16"),
        (save_overflowing, "fp16"),
        (save_outlier_channel, "int8"),
        (save_residual, "int8"),
        (save_residual, "bf16"),
        (save_residual, "mixed"),
        (save_residual, "fp8"),
        (save_quantised_outputs, "int8"),
        (save_wide, "int4"),
    ],
)
def test_switched_model_does_what_the_engine_does(save_model, precision, tmp_path) -> None:
    name, shape = (
        ("x", (2, 3, 8, 8))
        if save_model in (save_residual, save_quantised_outputs)
        else ("image", (4, 8))
    )
    inputs = {name: np.random.default_rng(1).normal(size=shape).astype(np.float32)}
    scene = Scene(save_model(tmp_path / "m.onnx"), EngineSpec(precision), inputs)
    assert scene.error(scene.switched.run(scene.entries, inputs), scene.fp32) < 1e-6
    reduced, engine = scene.switched.run((), inputs), scene.engine()
    lost = scene.error(engine, scene.fp32)
    assert lost > 1e-4
    if np.isfinite(lost):
        assert scene.error(reduced, engine) < lost
    kept = scene.entries[:1]
    one, engine = scene.switched.run(kept, inputs), scene.engine(*kept)
    assert scene.error(one, scene.fp32) == pytest.approx(scene.error(engine, scene.fp32), rel=0.5)


def test_units_are_what_keep_fp32_can_name(tmp_path) -> None:
    nodes = [
        helper.make_node("Relu", ["x"], ["a"], name="named"),
        helper.make_node("MatMul", ["a", "w"], ["b"]),
        helper.make_node("MatMul", ["b", "w"], ["c"], name="named_too"),
        helper.make_node("Tanh", ["c"], ["d"], name="/end/*"),
        helper.make_node("Relu", ["d"], ["y"], name="kept"),
    ]
    path = save(model_proto(nodes, outputs=[value("y")]), tmp_path / "m.onnx")
    inputs = {"x": images(4, 4)}
    scene = Scene(path, EngineSpec("fp16", keep_fp32=("kept",)), inputs)
    found = {one.entry: (one.operator, one.nodes) for one in scene.switched.units}
    # A node without a name can be named by its operator alone.
    assert found == {"named": ("Relu", 1), "MatMul": ("MatMul", 2), "/end/*": ("Tanh", 1)}


def test_nodes_of_an_operator_that_is_also_a_name_are_one_unit(tmp_path) -> None:
    nodes = [
        helper.make_node("Exp", ["x"], ["a"], name="Exp"),
        helper.make_node("Exp", ["a"], ["b"], name="Exp_1"),
        helper.make_node("Sin", ["b"], ["y"], name="Sin_1"),
    ]
    path = save(model_proto(nodes, outputs=[value("y")]), tmp_path / "m.onnx")
    scene = Scene(path, EngineSpec("fp16"), {"x": images(4, 4) / 10})
    assert {one.entry: one.nodes for one in scene.switched.units} == {"Exp": 2, "Sin_1": 1}


def test_nodes_of_branches_stay_as_they_are(tmp_path) -> None:
    branch = helper.make_graph(
        [helper.make_node("Exp", ["a"], ["inner"], name="inside")], "b", [], [value("inner", None)]
    )
    other = helper.make_graph(
        [helper.make_node("Identity", ["a"], ["out"], name="other")], "o", [], [value("out", None)]
    )
    nodes = [
        helper.make_node("MatMul", ["x", "w"], ["a"], name="product"),
        helper.make_node("ReduceSum", ["a"], ["sum"], name="sum", keepdims=0),
        helper.make_node("Cast", ["sum"], ["chosen"], name="choose", to=9),
        helper.make_node("If", ["chosen"], ["y"], name="if", then_branch=branch, else_branch=other),
    ]
    path = save(model_proto(nodes, outputs=[value("y", None)]), tmp_path / "m.onnx")
    scene = Scene(path, EngineSpec("fp16"), {"x": images(4, 4)})
    assert "product" in scene.entries
    assert not {"inside", "if"} & {*scene.entries}
    assert scene.error(scene.switched.run(scene.entries, scene.inputs), scene.fp32) == 0.0
