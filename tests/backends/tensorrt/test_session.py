from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from backends.fake_gpu import (
    FakeContext,
    FakeEngine,
    FakeRuntime,
    FakeTensorRt,
    fake_runtime,
)

from pytest_trt.backends.tensorrt.binding import STEP_BYTES
from pytest_trt.backends.tensorrt.session import TrtSession
from pytest_trt.diagnostics import (
    BackendUnavailableError,
    DeviceLostError,
    EngineLoadError,
    EngineRunError,
    InputError,
)
from pytest_trt.engine.protocols import Plan
from pytest_trt.tensors.profiles import parse_profiles
from pytest_trt.tensors.spec import TensorSpec

__all__ = ["fake_runtime"]


@pytest.fixture
def open_session(fake_runtime: FakeRuntime, tmp_path: Path) -> Callable[..., TrtSession]:
    """Load an engine as `TrtSession(...)` does a plan; specs are float32 unless said otherwise."""
    plan = tmp_path / "engine.plan"
    plan.write_bytes(b"plan")

    def load(engine: FakeEngine, inputs: Any, outputs: Any, profiles: Any = None) -> TrtSession:
        engine.runtime = fake_runtime
        model = SimpleNamespace(path=Path("net.onnx"), inputs=inputs, outputs=outputs)
        parsed = parse_profiles(profiles, inputs, where="test")
        return TrtSession(FakeTensorRt(engine), Plan(plan), model, parsed, device=0)  # type: ignore[arg-type]

    return load


X = TensorSpec("x", "float32", ("n", 2))
Y = TensorSpec("y", "float32", ("n", 2))


def doubling() -> FakeEngine:
    return FakeEngine(
        inputs={"x": "float32"},
        outputs={"y": "float32"},
        compute=lambda x: {"y": x * np.float32(2)},  # 2 would make a float64 of a scalar in NumPy 1
        shapes=lambda x_shape: {"y": x_shape},
    )


def rows(count: int, start: float = 0) -> dict[str, Any]:
    return {"x": np.arange(start, start + 2 * count, dtype=np.float32).reshape(count, 2)}


def test_outputs_are_the_callers_own(open_session) -> None:
    session = open_session(doubling(), [X], [Y])
    first = session.run(rows(3))
    kept = first["y"].copy()
    session.run(rows(3, start=100))
    np.testing.assert_array_equal(first["y"], kept)
    np.testing.assert_array_equal(kept, rows(3)["x"] * 2)


def test_repeated_shapes_are_replayed_with_new_values(open_session, fake_runtime) -> None:
    engine = doubling()
    session = open_session(engine, [X], [Y])
    for start in range(5):
        inputs = rows(2, start)
        np.testing.assert_array_equal(session.run(inputs)["y"], inputs["x"] * 2)
    assert session.graph_refusal is None
    # Two runs and the capture; the check of the capture and the other three runs are replays.
    assert engine.contexts[0].enqueued == 3
    assert fake_runtime.replays == 1 + 3


def test_other_shapes_end_a_graph(open_session, fake_runtime) -> None:
    session = open_session(doubling(), [X], [Y])
    for _ in range(3):
        session.run(rows(2))
    assert len(fake_runtime.graphs) == 1
    inputs = rows(4)
    np.testing.assert_array_equal(session.run(inputs)["y"], inputs["x"] * 2)
    assert not fake_runtime.graphs
    for _ in range(2):
        np.testing.assert_array_equal(session.run(inputs)["y"], inputs["x"] * 2)
    assert len(fake_runtime.graphs) == 1


def test_what_cannot_be_captured_is_enqueued_with_a_note(open_session, fake_runtime) -> None:
    fake_runtime.refuses_capture = True
    engine = doubling()
    session = open_session(engine, [X], [Y])
    for start in range(5):
        inputs = rows(2, start)
        np.testing.assert_array_equal(session.run(inputs)["y"], inputs["x"] * 2)
    assert "cudaErrorStreamCaptureUnsupported" in session.graph_refusal
    assert fake_runtime.replays == 0
    # It is tried once, not at every run.
    assert engine.contexts[0].enqueued == 5 + 1
    with pytest.raises(EngineRunError, match="cannot be timed as a CUDA graph"):
        session.sample(rows(2), mode="graph", calls=3)


def test_a_graph_that_does_not_repeat_the_outputs_is_not_used(open_session, fake_runtime) -> None:
    calls = []

    def compute(x: Any) -> dict[str, Any]:
        calls.append(x)
        return {"y": x + len(calls)}

    engine = doubling()
    engine.compute = compute
    session = open_session(engine, [X], [Y])
    for _ in range(4):
        session.run(rows(2))
    assert session.graph_refusal == "its replay gave different outputs than enqueuing"
    assert fake_runtime.replays == 1
    assert not fake_runtime.graphs


def test_a_graph_of_nothing_is_neither_used_nor_timed(
    open_session, fake_runtime, monkeypatch
) -> None:
    """Its replay leaves the outputs of the run before, which are those that it should repeat."""
    enqueue = FakeContext.execute_async_v3

    def only_without_capture(context: FakeContext, stream: int) -> bool:
        return True if fake_runtime.capturing is not None else enqueue(context, stream)

    monkeypatch.setattr(FakeContext, "execute_async_v3", only_without_capture)
    session = open_session(doubling(), [X], [Y])
    for start in range(5):
        inputs = rows(2, start)
        np.testing.assert_array_equal(session.run(inputs)["y"], inputs["x"] * 2)
    assert session.graph_refusal == "its replay gave different outputs than enqueuing"
    with pytest.raises(EngineRunError, match="cannot be timed as a CUDA graph"):
        session.sample(rows(2), mode="graph", calls=3)


def test_what_an_engine_does_not_write_is_nan_and_not_what_lay_there(open_session) -> None:
    engine = doubling()
    session = open_session(engine, [X], [Y])
    session.run(rows(3))
    session.run(rows(2))
    engine.compute = lambda x: {"y": x[:1] * np.float32(2)}
    found = session.run(rows(3))["y"]
    np.testing.assert_array_equal(found[0], [0, 2])
    assert np.isnan(found[1:]).all()


def test_nan_outputs_do_not_count_as_different(open_session, fake_runtime) -> None:
    engine = doubling()
    engine.compute = lambda x: {"y": x * np.float32("nan")}
    session = open_session(engine, [X], [Y])
    for _ in range(3):
        assert np.isnan(session.run(rows(2))["y"]).all()
    assert session.graph_refusal is None


def test_output_whose_shape_depends_on_data(open_session) -> None:
    engine = FakeEngine(
        inputs={"x": "float32"},
        outputs={"y": "float32"},
        compute=lambda x: {"y": x[x > 0]},
        shapes=lambda x_shape: {"y": (-1,)},
    )
    session = open_session(engine, [X], [TensorSpec("y", "float32", ("k",))])
    for values in ([[1, -1], [2, 3]], [[-1, -1], [-1, -1]], [[4, 5]], [[4, 5], [6, 7]]):
        x = np.array(values, np.float32)
        np.testing.assert_array_equal(session.run({"x": x})["y"], x[x > 0])
    assert "depends on the data" in session.graph_refusal


def test_changed_values_of_a_shape_input_are_bound_again(open_session, fake_runtime) -> None:
    engine = FakeEngine(
        inputs={"x": "float32", "size": "int32"},
        outputs={"y": "float32"},
        compute=lambda x, size: {"y": np.resize(x, tuple(size))},
        shapes=lambda x_shape, size_shape, size: {"y": tuple(int(n) for n in size)},
        on_host=frozenset({"size"}),
    )
    specs = [X, TensorSpec("size", "int32", (2,))]
    session = open_session(engine, specs, [TensorSpec("y", "float32", ("a", "b"))])
    x = rows(2)["x"]
    for size in ((2, 2), (2, 2), (2, 2), (1, 4), (4, 3)):
        found = session.run({"x": x, "size": np.array(size, np.int32)})["y"]
        np.testing.assert_array_equal(found, np.resize(x, size))


def test_64_bit_integers_that_the_engine_cannot_hold_are_refused(open_session) -> None:
    engine = FakeEngine(
        inputs={"x": "int32"},
        outputs={"y": "int32"},
        compute=lambda x: {"y": x},
        shapes=lambda x_shape: {"y": x_shape},
    )
    specs = [TensorSpec("x", "int64", ("n",))], [TensorSpec("y", "int64", ("n",))]
    session = open_session(engine, *specs)
    found = session.run({"x": np.array([1, -2], np.int64)})["y"]
    assert found.dtype == np.int64
    np.testing.assert_array_equal(found, [1, -2])
    with pytest.raises(InputError, match="values from 1 to 2147483648"):
        session.run({"x": np.array([1, 2**31], np.int64)})


@pytest.mark.parametrize("shape", [(), (0, 2), (3, 0)])
def test_scalars_and_empty_tensors(open_session, shape: tuple[int, ...]) -> None:
    spec = TensorSpec("x", "float32", tuple("abc"[: len(shape)]))
    session = open_session(doubling(), [spec], [TensorSpec("y", "float32", spec.shape)])
    x = np.full(shape, 3, np.float32)
    for _ in range(4):
        found = session.run({"x": x})["y"]
        assert found.shape == shape
        np.testing.assert_array_equal(found, x * 2)


@pytest.mark.parametrize("layout", ["C", "F", "strided"])
def test_large_inputs_arrive_whole_in_any_layout(open_session, fake_runtime, layout: str) -> None:
    engine = doubling()
    session = open_session(engine, [X], [Y])
    count = (2 * STEP_BYTES + 12) // 8
    x = rows(count)["x"]
    given = {"C": x, "F": np.asfortranarray(x), "strided": np.repeat(x, 2, axis=1)[:, ::2]}[layout]
    np.testing.assert_array_equal(session.run({"x": given})["y"], x * 2)
    uploads = [STEP_BYTES, STEP_BYTES, x.nbytes - 2 * STEP_BYTES] if layout == "C" else [x.nbytes]
    assert fake_runtime.copies == [*uploads, x.nbytes]


def test_the_profile_that_holds_the_shapes_is_chosen(open_session) -> None:
    engine = doubling()
    profiles = [{"x": ((1, 2), (2, 2), (4, 2))}, {"x": ((5, 2), (8, 2), (16, 2))}]
    session = open_session(engine, [X], [Y], profiles)
    for count in (1, 8, 9, 2):
        inputs = rows(count)
        np.testing.assert_array_equal(session.run(inputs)["y"], inputs["x"] * 2)
    assert engine.contexts[0].profiles == [1, 0]
    with pytest.raises(InputError, match="above its max 16"):
        session.run(rows(17))


def of_unknown_rows() -> FakeEngine:
    """An engine that knows how many rows its output has when it has run."""
    return FakeEngine(
        inputs={"x": "float32"},
        outputs={"y": "float32"},
        compute=lambda x: {"y": x},
        shapes=lambda x_shape: {"y": (-1, 2)},
    )


def test_an_error_in_an_allocator_is_raised(open_session, fake_runtime, monkeypatch) -> None:
    session = open_session(of_unknown_rows(), [X], [Y])
    session.run(rows(1))
    error = fake_runtime.cudaError_t.cudaErrorMemoryAllocation
    monkeypatch.setattr(fake_runtime, "cudaMalloc", lambda size: (error, None))
    with pytest.raises(EngineRunError, match="cudaErrorMemoryAllocation"):
        session.run(rows(0) | {"x": np.ones((64, 2), np.float32)})


def test_memory_that_is_refused_is_an_error_and_no_number_of_the_shapes_before(
    open_session, monkeypatch
) -> None:
    session = open_session(doubling(), [X], [Y])
    session.run(rows(2))
    monkeypatch.setattr(FakeContext, "set_tensor_address", lambda self, name, address: False)
    with pytest.raises(EngineRunError, match="refuses memory for tensor 'x'"):
        session.run(rows(3))


def test_an_output_shape_that_is_never_reported_is_an_error(open_session, monkeypatch) -> None:
    session = open_session(of_unknown_rows(), [X], [Y])
    monkeypatch.setattr(FakeContext, "execute_async_v3", lambda self, stream: True)
    with pytest.raises(EngineRunError, match="without reporting the shape of output 'y'"):
        session.run(rows(1))


def test_an_output_shape_that_is_not_known_after_the_run_is_an_error(
    open_session, monkeypatch
) -> None:
    session = open_session(of_unknown_rows(), [X], [Y])
    allocator = session._allocators["y"]
    monkeypatch.setattr(
        allocator, "notify_shape", lambda name, shape: setattr(allocator, "shape", (-1, 2))
    )
    with pytest.raises(EngineRunError, match="without reporting the shape of output 'y'"):
        session.run(rows(3))


def test_an_output_that_updates_an_input_has_its_memory(open_session, fake_runtime) -> None:
    """As TensorRT requires for ONNX TensorScatter: only the new rows are written."""

    def write(context: FakeContext, stream: int) -> bool:
        assert context.addresses["y"] == context.addresses["x"]
        return enqueue(context, stream)

    enqueue = FakeContext.execute_async_v3
    engine = doubling()
    engine.in_place = {"y": "x"}
    engine.compute = lambda x: {"y": np.concatenate([x[:-1], np.full((1, 2), 7, np.float32)])}
    session = open_session(engine, [X], [Y])
    engine.contexts[0].execute_async_v3 = write.__get__(engine.contexts[0])
    for count in (3, 3, 3, 3, 2, 5, 5, 5):
        inputs = rows(count, start=count)
        found = session.run(inputs)["y"]
        np.testing.assert_array_equal(found[:-1], inputs["x"][:-1])
        np.testing.assert_array_equal(found[-1], [7, 7])
    assert session.graph_refusal is None


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize(("model", "engine"), [("float32", "float16"), ("float64", "float32")])
def test_values_beyond_the_engines_type_are_infinite_without_a_warning(
    open_session, model: str, engine: str
) -> None:
    """As of a plan that was built for inputs of another type, or in versions without FP64."""
    narrow = doubling()
    narrow.inputs, narrow.outputs = {"x": engine}, {"y": engine}
    narrow.compute = lambda x: {"y": x}
    specs = (TensorSpec(name, model, ("n", 2)) for name in "xy")
    session = open_session(narrow, *([spec] for spec in specs))
    x = np.array([[1.5, np.finfo(model).max]], model)
    found = session.run({"x": x})["y"]
    assert found.dtype == model
    np.testing.assert_array_equal(found, [[1.5, np.inf]])


def test_tensorrt_rtx_waits_for_the_kernels_of_new_shapes(open_session, monkeypatch) -> None:
    strategies = SimpleNamespace(LAZY="lazy", EAGER="eager")
    name = "DynamicShapesKernelSpecializationStrategy"
    monkeypatch.setattr(FakeTensorRt, name, strategies, raising=False)
    used = []

    def create(engine: FakeEngine, runtime_config: Any) -> FakeContext:
        used.append(runtime_config.dynamic_shapes_kernel_specialization_strategy)
        return FakeContext(engine)

    monkeypatch.setattr(FakeEngine, "create_execution_context", create)
    monkeypatch.setattr(
        FakeEngine, "create_runtime_config", lambda self: SimpleNamespace(), raising=False
    )
    open_session(doubling(), [X], [Y]).run(rows(3))
    assert used == ["eager"]


def test_a_graph_that_does_not_launch_leaves_the_engine_enqueued(
    open_session, fake_runtime, monkeypatch
) -> None:
    session = open_session(doubling(), [X], [Y])
    error = fake_runtime.cudaError_t.cudaErrorMemoryAllocation
    monkeypatch.setattr(fake_runtime, "cudaGraphLaunch", lambda executable, stream: (error,))
    for start in range(4):
        inputs = rows(2, start)
        np.testing.assert_array_equal(session.run(inputs)["y"], inputs["x"] * 2)
    assert "cudaErrorMemoryAllocation" in session.graph_refusal
    assert not fake_runtime.graphs
    with pytest.raises(EngineRunError, match="cannot be timed as a CUDA graph"):
        session.sample(rows(2), mode="graph", calls=3)


def test_a_plan_without_room_to_run_is_not_taken_for_another_gpus(
    open_session, monkeypatch
) -> None:
    monkeypatch.setattr(FakeEngine, "create_execution_context", lambda self: None)
    with pytest.raises(EngineLoadError, match=r"(?s)was loaded, but.*Fix: Free device memory"):
        open_session(doubling(), [X], [Y])


def test_a_plan_without_room_to_load_is_not_taken_for_another_gpus(
    open_session, monkeypatch
) -> None:
    logged = (
        "2: [safeDeserialize.cpp::load::358] Error Code 2: OutOfMemory (no further information)"
    )

    def runtime(trt: FakeTensorRt, logger: Any) -> Any:
        def refuse(plan: bytes) -> None:
            logger.log(trt.ILogger.Severity.ERROR, logged)

        return SimpleNamespace(deserialize_cuda_engine=refuse)

    monkeypatch.setattr(FakeTensorRt, "Runtime", runtime)
    with pytest.raises(
        EngineLoadError, match=r"(?s)memory ran out.*Fix: Free device mem"
    ) as caught:
        open_session(doubling(), [X], [Y])
    assert caught.value.diagnostic.code == "TRT324"


@pytest.mark.parametrize("mode", ["graph", "enqueue"])
def test_samples_are_one_per_call(open_session, fake_runtime, mode: str) -> None:
    engine = doubling()
    session = open_session(engine, [X], [Y])
    samples_ms, wall_s = session.sample(rows(2), mode=mode, calls=11)
    assert wall_s > 0
    assert samples_ms.shape == (11,)
    assert (samples_ms == 0.25).all()
    replays = {"graph": 1 + 11, "enqueue": 0}[mode]
    assert fake_runtime.replays == replays


def test_closing_frees_everything(open_session, fake_runtime) -> None:
    session = open_session(doubling(), [X], [Y])
    for count in (2, 2, 2, 50):
        session.run(rows(count))
    session.close()
    session.close()
    assert not fake_runtime.allocations
    assert not fake_runtime.graphs


def test_nothing_is_deserialised_without_a_driver_that_works(
    open_session, fake_runtime, monkeypatch
) -> None:
    def deserialised(self: FakeTensorRt, logger: Any) -> None:
        raise AssertionError("TensorRT was started")

    monkeypatch.setattr(FakeTensorRt, "Runtime", deserialised)
    insufficient = (fake_runtime.cudaError_t.cudaErrorInsufficientDriver, None)
    monkeypatch.setattr(fake_runtime, "cudaGetDeviceCount", lambda: insufficient)
    with pytest.raises(BackendUnavailableError, match="cudaErrorInsufficientDriver"):
        open_session(doubling(), [X], [Y])


@pytest.mark.parametrize("mode", ["run", "enqueue", "graph"])
def test_engine_that_fails_with_the_device_says_that_it_is_lost(
    open_session, fake_runtime, monkeypatch, mode: str
) -> None:
    session = open_session(doubling(), [X], [Y])
    session.run(rows(2))

    def enqueued(self: object, stream: int) -> bool:
        fake_runtime.lost = fake_runtime.cudaError_t.cudaErrorIllegalAddress
        return False

    monkeypatch.setattr(FakeContext, "execute_async_v3", enqueued)
    calls = {
        "run": lambda: session.run(rows(2)),
        "enqueue": lambda: session.sample(rows(2), mode="enqueue", calls=3),
        "graph": lambda: session.sample(rows(2), mode="graph", calls=3),
    }
    with pytest.raises(DeviceLostError):
        calls[mode]()


def test_nothing_is_deserialised_on_a_gpu_that_was_lost_unnoticed(
    open_session, fake_runtime, monkeypatch
) -> None:
    """By a kernel of the user's, for which nobody waited: TensorRT 8.6.0 aborts the process."""
    fake_runtime.lost = fake_runtime.cudaError_t.cudaErrorIllegalAddress
    monkeypatch.setattr(FakeTensorRt, "Runtime", lambda trt, logger: pytest.fail("deserialised"))
    with pytest.raises(DeviceLostError, match="cudaErrorIllegalAddress"):
        open_session(doubling(), [X], [Y])


def test_engine_that_refuses_a_run_leaves_the_device(open_session, monkeypatch) -> None:
    session = open_session(doubling(), [X], [Y])
    monkeypatch.setattr(FakeContext, "execute_async_v3", lambda self, stream: False)
    with pytest.raises(EngineRunError, match="did not run") as caught:
        session.run(rows(2))
    assert not isinstance(caught.value, DeviceLostError)
