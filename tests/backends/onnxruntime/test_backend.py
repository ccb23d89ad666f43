from __future__ import annotations

import threading
from pathlib import Path

import builders_networks as networks
import builders_types as types
import ml_dtypes
import numpy as np
import onnx
import pytest
from builders import images, save_overflowing
from builders_harmful import endless_loop
from builders_model import remedy
from onnx import TensorProto, helper, numpy_helper

from pytest_trt.backends.conversion import ROUNDING_VERSION
from pytest_trt.backends.onnxruntime.backend import OnnxRuntimeBackend
from pytest_trt.backends.onnxruntime.options import session_options
from pytest_trt.backends.onnxruntime.session import OnnxRuntimeSession
from pytest_trt.diagnostics import (
    ConfigurationError,
    EngineBuildError,
    EngineLoadError,
    EngineRunError,
    InputError,
    ModelError,
)
from pytest_trt.engine.protocols import BackendSession, BuildRequest, BuildResult, Plan
from pytest_trt.engine.spec import EngineSpec, OptionValue, Target
from pytest_trt.onnx.file import OnnxModel, load_model
from pytest_trt.tensors import elements
from pytest_trt.tensors.spec import Tensors
from pytest_trt.workers import limited

CPU = Target("cpu")
LEVELS = ("disabled", "basic", "extended", "all")


@pytest.fixture
def backend() -> OnnxRuntimeBackend:
    return OnnxRuntimeBackend(threads=1)


@pytest.fixture
def overflowing(tmp_path: Path) -> OnnxModel:
    return load_model(save_overflowing(tmp_path / "overflowing.onnx"))


class Builder:
    """Builds engines into folders of their own and opens them."""

    def __init__(self, backend: OnnxRuntimeBackend, folder: Path) -> None:
        self.backend = backend
        self._folder = folder
        self._count = 0
        self.said: list[str] = []

    def build(
        self,
        model: OnnxModel,
        precision: str,
        calibration: tuple[Tensors, ...] = (),
        **options: OptionValue,
    ) -> tuple[Path, BuildResult]:
        self._count += 1
        folder = self._folder / f"engine{self._count}"
        folder.mkdir()
        spec = EngineSpec(precision, builder_options=options)
        self.backend.route(model, spec)
        result = self.backend.build(
            BuildRequest(model, spec, CPU, folder, calibration, self.said.append)
        )
        return folder / result.plan_name, result

    def open(
        self,
        model: OnnxModel,
        precision: str,
        calibration: tuple[Tensors, ...] = (),
        **options: OptionValue,
    ) -> BackendSession:
        plan, _ = self.build(model, precision, calibration, **options)
        return self.backend.open(
            Plan(plan), model, EngineSpec(precision, builder_options=options), CPU
        )


@pytest.fixture
def builder(backend: OnnxRuntimeBackend, tmp_path: Path) -> Builder:
    return Builder(backend, tmp_path)


def worst(actual: Tensors, expected: Tensors) -> float:
    return max(float(np.abs(actual[name] - expected[name]).max()) for name in expected)


def test_every_precision_drifts_as_far_as_it_rounds(
    builder: Builder, backend: OnnxRuntimeBackend, linear: OnnxModel
) -> None:
    feed = {"image": images(64)}
    expected = backend.reference(linear).run(feed)
    error = {
        precision: worst(builder.open(linear, precision, (feed,)).run(feed), expected)
        for precision in ("fp32", "fp16", "int8")
    }
    assert error["fp32"] < 1e-5
    assert 1e-4 < error["fp16"] < 1e-2
    assert 1e-2 < error["int8"] < 0.5


def test_outputs_have_the_model_s_names_and_dtypes(builder: Builder, linear: OnnxModel) -> None:
    outputs = builder.open(linear, "fp16").run({"image": images(5)})
    assert {name: (array.dtype, array.shape) for name, array in outputs.items()} == {
        "logits": (np.dtype(np.float32), (5, 4)),
        "probs": (np.dtype(np.float32), (5, 4)),
    }


@pytest.mark.parametrize("level", LEVELS)
def test_fp16_engine_overflows_where_float16_does(
    builder: Builder, overflowing: OnnxModel, level: str
) -> None:
    session = builder.open(overflowing, "fp16", graph_optimization_level=level)
    fits = session.run({"image": np.full((1, 8), 1.0, np.float32)})["scores"]
    np.testing.assert_array_equal(fits, 1.0)
    exceeds = session.run({"image": np.full((1, 8), 1.5, np.float32)})["scores"]
    assert np.isnan(exceeds).all()


def test_fp32_engine_does_not(builder: Builder, overflowing: OnnxModel) -> None:
    session = builder.open(overflowing, "fp32")
    scores = session.run({"image": np.full((1, 8), 1.5, np.float32)})["scores"]
    np.testing.assert_array_equal(scores, 1.5)


def test_fp16_model_is_rounded_though_it_is_not_converted(builder: Builder, tmp_path: Path) -> None:
    weight = np.full((8,), 60000, np.float16)
    proto = networks.model(
        [
            helper.make_node("Mul", ["x", "weight"], ["up"]),
            helper.make_node("Div", ["up", "weight"], ["y"]),
        ],
        [networks.value("x", ["n", 8], TensorProto.FLOAT16)],
        [networks.value("y", ["n", 8], TensorProto.FLOAT16)],
        [numpy_helper.from_array(weight, "weight")],
    )
    model = networks.saved(proto, tmp_path / "half.onnx")
    plan, result = builder.build(model, "fp16")
    assert "float16 already" in result.notes[0]
    session = builder.backend.open(Plan(plan), model, EngineSpec("fp16"), CPU)
    y = session.run({"x": np.array([[0.5] * 4 + [2.0] * 4], np.float16)})["y"]
    assert y.dtype == np.float16
    np.testing.assert_array_equal(y, [[0.5] * 4 + [np.inf] * 4])


def test_plan_is_the_only_file_left_and_an_onnx_model(builder: Builder, linear: OnnxModel) -> None:
    for precision in ("fp32", "fp16", "int8"):
        plan, _ = builder.build(linear, precision, ({"image": images()},))
        assert [path.name for path in plan.parent.iterdir()] == ["engine.onnx"]
        onnx.checker.check_model(onnx.load(plan))
    assert "converting linear.onnx to fp16" in builder.said
    assert "optimising linear.onnx" in builder.said


def test_plan_is_the_same_when_built_twice(builder: Builder, linear: OnnxModel) -> None:
    first, second = (builder.build(linear, "fp16")[0].read_bytes() for _ in range(2))
    assert first == second


def test_int8_without_calibration_is_refused(builder: Builder, linear: OnnxModel) -> None:
    with pytest.raises(InputError, match="needs calibration data"):
        builder.build(linear, "int8")


def test_route_names_what_changes_the_engine(
    backend: OnnxRuntimeBackend, linear: OnnxModel
) -> None:
    plain, half, quantised = (
        backend.route(linear, EngineSpec(precision)) for precision in ("fp32", "fp16", "int8")
    )
    assert plain.versions == {}
    assert half.versions["rounding"] == ROUNDING_VERSION
    assert half.versions.items() > quantised.versions.items()
    assert [route.needs_calibration for route in (plain, half, quantised)] == [False, False, True]


@pytest.mark.parametrize(
    ("precision", "options", "message"),
    [
        ("tf32", {}, "ONNX Runtime does not support precision 'tf32'"),
        ("fp16", {"workspace": 1}, "'workspace' of the onnxruntime backend for fp16"),
        ("fp32", {"graph_optimization_level": "most"}, "='most' is not one of disabled, basic"),
        ("fp8", {"graph_optimization_level": "extended"}, "='extended' breaks fp8: above 'basic'"),
    ],
)
def test_route_refuses_what_it_cannot_do(
    backend: OnnxRuntimeBackend,
    linear: OnnxModel,
    precision: str,
    options: dict[str, OptionValue],
    message: str,
) -> None:
    with pytest.raises(ConfigurationError, match=message):
        backend.route(linear, EngineSpec(precision, builder_options=options))


def test_fp8_is_built_at_the_highest_level_that_computes_it(
    builder: Builder, linear: OnnxModel
) -> None:
    inputs = {"image": images(5)}
    default = builder.open(linear, "fp8", (inputs,)).run(inputs)
    for level in ("basic", "disabled"):
        asked = builder.open(linear, "fp8", (inputs,), graph_optimization_level=level)
        assert worst(asked.run(inputs), default) < 1e-5


def test_engines_leave_the_cores_to_each_other_between_calls(
    builder: Builder, linear: OnnxModel
) -> None:
    """Threads that spin on are in the way of the engine whose turn it is."""
    asked = session_options("all", threads=1)
    assert asked.get_session_config_entry("session.force_spinning_stop") == "1"
    assert int(asked.get_session_config_entry("session.intra_op.spin_duration_us")) < 1000
    first, second = (builder.open(linear, "fp32") for _ in range(2))
    inputs = {"image": np.ones((2, 8), np.float32)}
    for _ in range(3):
        np.testing.assert_array_equal(first.run(inputs)["probs"], second.run(inputs)["probs"])


def test_damaged_plan_is_not_loaded(builder: Builder, linear: OnnxModel) -> None:
    plan, _ = builder.build(linear, "fp32")
    plan.write_bytes(plan.read_bytes()[:-40])
    with pytest.raises(EngineLoadError, match="cannot load"):
        builder.backend.open(Plan(plan), linear, EngineSpec("fp32"), CPU)


def test_failure_while_running_names_the_engine_and_the_shapes(
    builder: Builder, linear: OnnxModel
) -> None:
    session = builder.open(linear, "fp16")
    with pytest.raises(EngineRunError, match=r"fp16 engine of linear.onnx.*image \[2, 3\]"):
        session.run({"image": np.zeros((2, 3), np.float32)})


def test_unknown_operator_is_refused_with_what_to_do(
    builder: Builder, backend: OnnxRuntimeBackend, tmp_path: Path
) -> None:
    proto = networks.model(
        [helper.make_node("Swirl", ["x"], ["y"], domain="mine")],
        [networks.value("x", [4])],
        [networks.value("y", [4])],
    )
    proto.opset_import.append(helper.make_opsetid("mine", 1))
    model = networks.saved(proto, tmp_path / "swirl.onnx")
    with pytest.raises(EngineBuildError, match="operator mine:Swirl is unknown") as caught:
        builder.build(model, "fp32")
    assert remedy(caught.value).startswith(
        'Name the library with the operators of the domain mine: trt_model(custom_ops=["path/to/'
    )
    assert f"git log -- {model.path}" in remedy(caught.value)
    with pytest.raises(ModelError, match="ONNX Runtime computes the FP32 reference"):
        backend.reference(model).load()


def test_engines_run_on_the_cpu_alone(backend: OnnxRuntimeBackend) -> None:
    assert backend.cannot_run(CPU) is None
    assert backend.cannot_run(Target("sm86")) == "ONNX Runtime runs on the CPU, not on sm86"


def bfloat16_net(folder: Path) -> OnnxModel:
    """Return rows [n, 2] (bfloat16) and ids [n] (int64) as they are, and the sum of each row."""
    rows, ids, sums = (
        networks.value(name, shape, dtype)
        for name, shape, dtype in (
            ("rows", ["n", 2], TensorProto.BFLOAT16),
            ("ids", ["n"], TensorProto.INT64),
            ("sums", ["n", 1], TensorProto.FLOAT),
        )
    )
    same = [
        networks.value(f"{name}_again", shape, dtype)
        for name, shape, dtype in (
            ("rows", ["n", 2], TensorProto.BFLOAT16),
            ("ids", ["n"], TensorProto.INT64),
        )
    ]
    nodes = [
        helper.make_node("Cast", ["rows"], ["wide"], name="widen", to=TensorProto.FLOAT),
        helper.make_node("ReduceSum", ["wide", "axis"], ["sums"], name="add"),
        helper.make_node("Identity", ["rows"], ["rows_again"], name="rows"),
        helper.make_node("Identity", ["ids"], ["ids_again"], name="ids"),
    ]
    axis = networks.constant("axis", [1], "int64")
    proto = networks.model(nodes, [rows, ids], [*same, sums], [axis])
    return networks.saved(proto, folder / "bfloat16.onnx")


@pytest.mark.parametrize("count", [0, 1, 5])
def test_bfloat16_is_accepted_and_returned_with_other_types(
    builder: Builder, tmp_path: Path, count: int
) -> None:
    model = bfloat16_net(tmp_path)
    wide = np.arange(4 * count, dtype=np.float32).reshape(count, 4) / 8
    rows = wide.astype(ml_dtypes.bfloat16)[:, ::2]  # not contiguous
    ids = np.arange(count)
    outputs = builder.open(model, "fp32").run({"rows": rows, "ids": ids})
    assert list(outputs) == ["rows_again", "ids_again", "sums"]
    assert outputs["rows_again"].dtype == ml_dtypes.bfloat16
    np.testing.assert_array_equal(outputs["rows_again"], rows)
    np.testing.assert_array_equal(outputs["ids_again"], ids)
    np.testing.assert_array_equal(outputs["sums"][:, 0], rows.astype(np.float32).sum(axis=1))


def test_outputs_in_bfloat16_are_the_callers_own(builder: Builder, tmp_path: Path) -> None:
    session = builder.open(bfloat16_net(tmp_path), "fp32")
    ones, zeros = (make((3, 2), ml_dtypes.bfloat16) for make in (np.ones, np.zeros))
    first = session.run({"rows": ones, "ids": np.arange(3)})["rows_again"]
    for _ in range(50):
        session.run({"rows": zeros, "ids": np.arange(3)})
    np.testing.assert_array_equal(first, ones)


def extension(name: str) -> np.dtype:
    """Return the dtype of a type that numpy lacks."""
    dtype = elements.numpy_dtype(name)
    assert dtype is not None
    return dtype


@pytest.mark.parametrize("count", [0, 1, 2, 3, 5])
@pytest.mark.parametrize("name", types.SMALL)
def test_each_value_of_a_type_that_numpy_lacks_is_read_and_written_as_onnx_stores_it(
    builder: Builder, tmp_path: Path, name: str, count: int
) -> None:
    """A cast to float32 shows how ONNX Runtime reads it; its cast from float32 is read back."""
    nodes = [
        helper.make_node("Cast", ["x"], ["wide"], name="widen", to=TensorProto.FLOAT),
        helper.make_node("Cast", ["wide"], ["y"], name="narrow", to=types.element(name)),
    ]
    x, y = (networks.value(one, ["n"], types.element(name)) for one in "xy")
    proto = networks.model(nodes, [x], [y, networks.value("wide", ["n"])], **types.opset(name))
    session = builder.open(networks.saved(proto, tmp_path / f"{name}.onnx"), "fp32")
    given = np.array([1, 0, 1, -2, 3][:count]).astype(extension(name))
    outputs = session.run({"x": given})
    assert outputs["y"].dtype == given.dtype
    np.testing.assert_array_equal(outputs["y"], given)
    np.testing.assert_array_equal(outputs["wide"], given.astype(np.float32))


def test_scalars_and_strided_arrays_of_a_packed_type_are_taken(
    builder: Builder, tmp_path: Path
) -> None:
    for shape, given in (([], np.array(5)), (["n"], np.arange(8)[::2])):
        proto = types.complement("int4", shape)
        session = builder.open(networks.saved(proto, tmp_path / "m.onnx"), "fp32")
        array = given.astype(extension("int4"))[...]
        y = session.run({"x": array})["y"]
        np.testing.assert_array_equal(y.astype(int), 1 - array.astype(int))


def test_a_sequence_beside_a_type_that_numpy_lacks_is_refused_with_tensor_and_type(
    builder: Builder, tmp_path: Path
) -> None:
    nodes = [
        helper.make_node("Cast", ["x"], ["y"], name="narrow", to=TensorProto.BFLOAT16),
        helper.make_node("SequenceConstruct", ["x", "x"], ["s"], name="list"),
    ]
    outputs = [
        networks.value("y", [2], TensorProto.BFLOAT16),
        helper.make_tensor_sequence_value_info("s", TensorProto.FLOAT, None),
    ]
    proto = networks.model(nodes, [networks.value("x", [2])], outputs)
    model = networks.saved(proto, tmp_path / "both.onnx")
    reference = builder.backend.reference(model)
    for refused in (lambda: builder.open(model, "fp32"), reference.load):
        with pytest.raises(ModelError, match=r"'s' \(seq\(tensor\(float\)\)\) of both.onnx"):
            refused()


def test_an_input_of_strings_beside_a_type_that_numpy_lacks_is_refused(
    builder: Builder, tmp_path: Path
) -> None:
    nodes = [
        helper.make_node("Cast", ["s"], ["x"], name="parse", to=TensorProto.FLOAT),
        helper.make_node("Cast", ["x"], ["y"], name="narrow", to=TensorProto.BFLOAT16),
    ]
    s, y = networks.value("s", [2], TensorProto.STRING), networks.value("y", [2], 16)
    model = networks.saved(networks.model(nodes, [s], [y]), tmp_path / "both.onnx")
    with pytest.raises(ModelError, match=r"'s' \(tensor\(string\)\) of both.onnx"):
        builder.open(model, "fp32")


def test_what_the_runtime_refuses_in_bfloat16_is_reported(builder: Builder, tmp_path: Path) -> None:
    session = builder.open(bfloat16_net(tmp_path), "fp32")
    rows = np.zeros((2, 3), ml_dtypes.bfloat16)
    with pytest.raises(EngineRunError, match=r"rows \[2, 3\], ids \[2\]"):
        session.run({"rows": rows, "ids": np.arange(2)})


def test_a_fused_int4_product_is_noted_with_the_option_that_avoids_it(
    builder: Builder, tmp_path: Path
) -> None:
    model = networks.saved(types.block_quantised(), tmp_path / "int4.onnx")
    _, fused = builder.build(model, "fp32")
    _, exact = builder.build(model, "fp32", graph_optimization_level="basic")
    assert [note.partition(";")[0] for note in fused.notes] == [
        "1 MatMul of block-quantised weights became MatMulNBits, which quantises activations too"
    ]
    assert 'graph_optimization_level="basic"' in fused.notes[0]
    assert exact.notes == ()


@pytest.mark.exhaustive
def test_a_run_without_end_is_ended_at_the_limit_and_the_session_runs_on(tmp_path: Path) -> None:
    model = load_model(endless_loop(tmp_path / "loop.onnx"))
    session = OnnxRuntimeBackend(threads=1, run_timeout_s=0.2).reference(model)
    for _ in range(2):
        with pytest.raises(EngineRunError, match=r"than --trt-run-timeout=0\.2 on x ") as caught:
            session.run({"x": np.ones(4, np.float32)})
        assert caught.value.diagnostic.code == "TRT345"
        assert caught.value.diagnostic.facts["stopped"] is True


def test_a_run_that_does_not_stop_abandons_its_session(
    linear: OnnxModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    let_go = threading.Event()

    class Stuck:
        def get_inputs(self) -> list[object]:
            return []

        get_outputs = get_inputs

        def run(self, *_: object) -> list[object]:
            let_go.wait()
            return []

    monkeypatch.setattr(limited, "GRACE_S", 0.01)
    session = OnnxRuntimeSession(Stuck(), subject="it", timeout_s=0.01)
    with pytest.raises(EngineRunError, match="it took longer") as caught:
        session.run({})
    assert caught.value.diagnostic.facts["stopped"] is False
    assert "did not stop" in caught.value.diagnostic.details[0]
    assert session.is_abandoned
    let_go.set()


def test_a_loop_of_runs_has_one_limit(tmp_path: Path, linear: OnnxModel) -> None:
    feed = {"image": images(2)}
    session = OnnxRuntimeBackend(threads=1, run_timeout_s=60).reference(linear).load()
    expected = session.run(feed)
    found = session.run_in_loop(lambda run: [run(feed) for _ in range(3)], feed, 3)
    assert [worst(one, expected) for one in found] == [0, 0, 0]
    endless = load_model(endless_loop(tmp_path / "loop.onnx"))
    session = OnnxRuntimeBackend(threads=1, run_timeout_s=0.1).reference(endless).load()
    x = {"x": np.ones(4, np.float32)}
    with pytest.raises(EngineRunError, match="longer than --trt-run-timeout"):
        session.run_in_loop(lambda run: [run(x) for _ in range(2)], x, 2)
