"""Plans belong to themselves, have the model's interface, and run wherever the model does."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from pathlib import Path

import builders_networks as networks
import numpy as np
import onnx
import onnx.parser
import onnxruntime
import pytest
from builders import save_linear
from builders_networks import value
from onnx import helper, numpy_helper

from pytest_trt.backends.onnxruntime import building, retained
from pytest_trt.backends.onnxruntime import plan as plans
from pytest_trt.backends.onnxruntime.backend import OnnxRuntimeBackend
from pytest_trt.backends.onnxruntime.options import OPTIMIZATION_LEVELS
from pytest_trt.diagnostics import ModelError
from pytest_trt.engine.build import build_or_load
from pytest_trt.engine.cache import EngineCache
from pytest_trt.engine.protocols import BuildRequest, BuildResult, Plan
from pytest_trt.engine.spec import EngineSpec, Target
from pytest_trt.onnx.file import OnnxModel, load_model
from pytest_trt.private import PrivateFolder
from pytest_trt.tensors.spec import Tensors

CPU = Target("cpu")
BACKEND = OnnxRuntimeBackend(threads=1)
node = helper.make_node


def build(
    model: OnnxModel, folder: Path, precision: str = "fp32", calibration: tuple[Tensors, ...] = ()
) -> BuildResult:
    folder.mkdir()
    request = BuildRequest(model, EngineSpec(precision), CPU, folder, calibration)
    return building.build(request)  # in this process, for its parts to be replaced


def run(model: OnnxModel, plan: Path, inputs: Tensors) -> Mapping[str, np.ndarray]:
    return BACKEND.open(Plan(plan), model, EngineSpec(), CPU).run(inputs)


def with_data_file(folder: Path, location: str = "w.data") -> Path:
    """Write x [2, 64] -> y [2, 64] with its weights in a file of their own."""
    proto = networks.model(
        [node("MatMul", ["x", "w"], ["y"])],
        [value("x", [2, 64])],
        [value("y", [2, 64])],
        [networks.weights("w", 64, 64)],
    )
    path = folder / "m.onnx"
    (folder / location).parent.mkdir(parents=True, exist_ok=True)
    onnx.save(proto, path, save_as_external_data=True, location=location, size_threshold=0)
    return path


X = {"x": np.random.default_rng(0).standard_normal((2, 64)).astype(np.float32)}


@pytest.mark.parametrize("precision", ["fp32", "fp16", "int8"])
@pytest.mark.parametrize("location", ["w.data", "weights/w.bin"])
def test_a_plan_outlives_the_data_files_of_its_model(
    location: str, precision: str, tmp_path: Path
) -> None:
    (tmp_path / "source").mkdir()
    model = load_model(with_data_file(tmp_path / "source", location))
    result = build(model, tmp_path / "plan", precision, (X,))
    expected = BACKEND.reference(model).run(X)["y"]
    shutil.rmtree(tmp_path / "source")
    assert [path.name for path in (tmp_path / "plan").iterdir()] == ["engine.onnx"]
    y = run(model, tmp_path / "plan" / result.plan_name, X)["y"]
    np.testing.assert_allclose(y, expected, atol=0.1)


def test_weights_of_a_large_model_lie_beside_its_plan(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(plans, "_EXTERNAL_WEIGHTS_ABOVE_BYTES", 1000)
    (tmp_path / "source").mkdir()
    model = load_model(with_data_file(tmp_path / "source"))
    result = build(model, tmp_path / "plan")
    expected = BACKEND.reference(model).run(X)["y"]
    shutil.rmtree(tmp_path / "source")
    names = {path.name for path in (tmp_path / "plan").iterdir()}
    assert names == {"engine.onnx", "engine.onnx.data"}
    with PrivateFolder.at(tmp_path / "plan") as folder:
        # Both files are those of the open folder, whatever has its name by now.
        (tmp_path / "plan").rename(tmp_path / "moved")
        path = tmp_path / "plan" / result.plan_name
        plan = Plan(path, stable_path=folder.stable_path / path.name)
        y = BACKEND.open(plan, model, EngineSpec(), CPU).run(X)["y"]
    np.testing.assert_allclose(y, expected, atol=1e-5)


#: Models of IR version 3, in which every initialiser is an input. Their optimised forms have
#: constants that are none.
IR3 = {
    "folded": [
        node("ConstantOfShape", ["s1"], ["w1"], value=numpy_helper.from_array(np.float32([0.5]))),
        node("ConstantOfShape", ["s2"], ["w2"], value=numpy_helper.from_array(np.float32([0.25]))),
        node("Mul", ["x", "w1"], ["m"]),
        node("Add", ["m", "w2"], ["y"]),
    ],
    "merged": [
        node("Mul", ["x", "one"], ["m"]),
        node("Add", ["m", "same"], ["y"]),
    ],
}
IR3_CONSTANTS = {
    "folded": {"s1": np.array([3]), "s2": np.array([3])},
    "merged": {"one": np.float32(2.0), "same": np.float32(2.0)},
}


@pytest.mark.parametrize("listed", [True, False])
@pytest.mark.parametrize("name", IR3)
def test_a_plan_has_no_inputs_of_its_own(name: str, listed: bool, tmp_path: Path) -> None:
    constants = [numpy_helper.from_array(v, key) for key, v in IR3_CONSTANTS[name].items()]
    nodes = list(IR3[name])
    if not listed:
        nodes = [node("Constant", [], [one.name], value=one) for one in constants] + nodes
    proto = networks.model(
        nodes,
        [
            value("x", [2, 3]),
            *(value(one.name, one.dims, one.data_type) for one in constants if listed),
        ],
        [value("y", [2, 3])],
        constants if listed else [],
        opset=9,
        ir_version=3,
    )
    model = networks.saved(proto, tmp_path / "m.onnx")
    inputs = {"x": np.ones((2, 3), np.float32)}
    result = build(model, tmp_path / "plan")
    y = run(model, tmp_path / "plan" / result.plan_name, inputs)["y"]
    np.testing.assert_array_equal(y, BACKEND.reference(model).run(inputs)["y"])


SHARED_PADDING = """
    <ir_version: 10, opset_import: ["" : 21]>
    g (float[1, 4, 2] past, float[1, 4, 8] x) => (float[1, 4, 8] y, float[1, 4, 2] state)
    <int64[1] a = {8}, int64[1] b = {10}, int64[1] axis = {2}>
    {
        p = Concat <axis = 2> (past, x)
        y = Conv (p, w)
        state = Slice (p, a, b, axis)
    }"""


def streaming(path: Path) -> OnnxModel:
    proto = onnx.parser.parse_model(SHARED_PADDING)
    proto.graph.initializer.append(networks.weights("w", 4, 4, 3))
    return networks.saved(proto, path)


STATE = {
    "past": np.ones((1, 4, 2), np.float32),
    "x": np.random.default_rng(0).standard_normal((1, 4, 8)).astype(np.float32),
}


def test_int8_of_a_padded_input_that_is_also_a_state(tmp_path: Path) -> None:
    # ONNX Runtime 1.32 breaks this model at the level "extended".
    model = streaming(tmp_path / "m.onnx")
    result = build(model, tmp_path / "plan", "int8", (STATE,))
    y = run(model, tmp_path / "plan" / result.plan_name, STATE)["y"]
    np.testing.assert_allclose(y, BACKEND.reference(model).run(STATE)["y"], atol=0.3)


class Breaking:
    """ONNX Runtime whose optimiser breaks models above a level: it writes another graph."""

    def __init__(self, above: str) -> None:
        self._allowed = list(OPTIMIZATION_LEVELS).index(above)

    def __getattr__(self, name: str) -> object:
        return getattr(onnxruntime, name)

    def InferenceSession(self, path: str, options: object, **kwargs: object) -> object:
        session = onnxruntime.InferenceSession(path, options, **kwargs)
        written = Path(options.optimized_model_filepath)
        level = options.graph_optimization_level
        if str(written) != "." and self._rank(level) > self._allowed:
            proto = onnx.load(written)
            proto.graph.input.append(value("gained", [1]))
            onnx.save(proto, written)
        return session

    def _rank(self, level: object) -> int:
        return list(OPTIMIZATION_LEVELS.values()).index(level.name)


@pytest.mark.parametrize("above", ["basic", "disabled"])
def test_a_level_that_breaks_a_valid_model_is_lowered_and_reported(
    above: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(plans, "load_onnxruntime", lambda: Breaking(above))
    model = networks.saved(networks.conv_net(), tmp_path / "m.onnx")
    result = build(model, tmp_path / "plan")
    assert result.plan_name == f"engine.{above}.onnx"
    assert [path.name for path in (tmp_path / "plan").iterdir()] == [result.plan_name]
    headline, cause = result.log_tail
    assert headline.endswith("breaks the fp32 engine of m.onnx at the level 'extended'")
    assert "gained" in cause


@pytest.mark.parametrize("precision", ["fp32", "fp16"])
def test_damage_is_an_error_of_the_model_in_every_precision(precision: str, tmp_path: Path) -> None:
    proto = networks.conv_net()
    proto.graph.initializer[0].raw_data = b"\0" * 8
    model = networks.saved(proto, tmp_path / "m.onnx")
    with pytest.raises(ModelError, match="tensor 'w1' do not fit its shape"):
        build(model, tmp_path / "plan", precision)


class _InThisProcess(OnnxRuntimeBackend):
    def build(self, request: BuildRequest) -> BuildResult:
        return building.build(request, threads=self.threads)


def test_session_that_checked_a_plan_is_retained_while_the_cache_stores_it(tmp_path: Path) -> None:
    model = load_model(save_linear(tmp_path / "linear.onnx"))
    engine = build_or_load(
        model=model,
        spec=EngineSpec(),
        target=CPU,
        backend=_InThisProcess(1),
        cache=EngineCache(tmp_path / "cache"),
    )
    assert retained.of_plan(engine.plan, 1) is not None
    engine.plan.touch()
    assert retained.of_plan(engine.plan, 1) is None
    engine.plan.unlink()
    assert retained.of_plan(engine.plan, 1) is None
