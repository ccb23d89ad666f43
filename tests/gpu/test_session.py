"""What a session does with a real engine: bindings, graphs, types, memory."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import builders_networks as networks
import builders_shapes as shapes
import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from pytest_trt.backends.devices.gpu import Gpu
from pytest_trt.backends.devices.probe import probe_devices
from pytest_trt.backends.onnxruntime.backend import OnnxRuntimeBackend
from pytest_trt.backends.selection import make_backend
from pytest_trt.backends.tensorrt.session import TrtSession
from pytest_trt.diagnostics import EngineRunError, InputError
from pytest_trt.engine.build import build_or_load
from pytest_trt.engine.cache import EngineCache
from pytest_trt.engine.protocols import Plan
from pytest_trt.engine.spec import EngineSpec
from pytest_trt.onnx.file import OnnxModel, load_model
from pytest_trt.tensors.profile_choice import shapes_at, values_at
from pytest_trt.tensors.profiles import parse_profiles
from pytest_trt.tensors.seeded import seeded_inputs
from pytest_trt.tensors.spec import Tensors

pytestmark = pytest.mark.gpu


class Opened:
    """An engine on the GPU beside the FP32 reference of its model."""

    def __init__(
        self, model: OnnxModel, session: TrtSession, reference: Callable[[Tensors], Tensors]
    ) -> None:
        self.model = model
        self.session = session
        self.reference = reference

    def check(self, inputs: Tensors, *, rtol: float = 1e-4, atol: float = 1e-4) -> Tensors:
        """Run both, compare, and return the engine's outputs."""
        found, expected = self.session.run(inputs), self.reference(inputs)
        assert found.keys() == expected.keys()
        for name, array in expected.items():
            assert found[name].dtype == array.dtype
            assert found[name].shape == array.shape
            if array.dtype.kind == "f":
                np.testing.assert_allclose(found[name], array, rtol=rtol, atol=atol)
            else:
                np.testing.assert_array_equal(found[name], array)
        return found


@pytest.fixture
def opened(gpu: Gpu, tmp_path: Path):
    """Build a model with TensorRT and load it; closed when the test ends."""
    sessions: list[TrtSession] = []
    backend = make_backend("tensorrt", probe=probe_devices(), threads=0)

    def build(proto: onnx.ModelProto, profiles: object = None, precision: str = "fp32") -> Opened:
        path = tmp_path / f"net{len(sessions)}.onnx"
        path.write_bytes(proto.SerializeToString())
        model = load_model(path)
        engine = build_or_load(
            model=model,
            spec=EngineSpec(
                precision=precision, profiles=parse_profiles(profiles, model.inputs, where="test")
            ),
            target=backend.target(gpu.arch),
            backend=backend,
            cache=EngineCache(tmp_path / "cache", max_bytes=10**9),
        )
        session = backend.open(Plan(engine.plan), model, engine.spec, engine.target)
        assert isinstance(session, TrtSession)
        sessions.append(session)
        return Opened(model, session, OnnxRuntimeBackend(threads=0).reference(model).run)

    yield build
    for session in sessions:
        session.close()


def batches(low: int, best: int, high: int) -> dict[str, object]:
    return {"image": tuple((size, 3, 16, 16) for size in (low, best, high))}


def images(batch: int, seed: int = 0) -> dict[str, np.ndarray]:
    return {"image": np.random.default_rng(seed).random((batch, 3, 16, 16), np.float32)}


def test_graph_replay_gives_what_enqueuing_gave_at_every_shape(opened) -> None:
    net = opened(networks.conv_net(), batches(1, 8, 32))
    for batch in (8, 1, 32, 7, 8):
        enqueued = net.check(images(batch, seed=batch))
        for seed in range(4):
            net.check(images(batch, seed=seed))
        assert net.session.graph_refusal is None
        assert net.session._binding.graph is not None
        replayed = net.session.run(images(batch, seed=batch))
        for name, array in enqueued.items():
            np.testing.assert_array_equal(replayed[name], array)


def test_profiles_are_switched_by_shape(opened) -> None:
    net = opened(networks.conv_net(), [batches(1, 1, 2), batches(8, 16, 32)])
    for batch in (1, 32, 2, 8, 8, 8, 1, 1, 1):
        net.check(images(batch, seed=batch))
    with pytest.raises(InputError, match="outside every profile"):
        net.session.run(images(4))


@pytest.mark.parametrize("operator", shapes.WITH_PROFILES)
def test_values_of_an_input_decide_a_shape(opened, operator: str) -> None:
    network, profiles = shapes.WITH_PROFILES[operator]
    net = opened(network(), profiles)
    specs, (profile,) = net.model.inputs, parse_profiles(profiles, net.model.inputs, where="test")
    for point in ("opt", "max", "min", "opt", "opt", "opt", "opt", "max"):
        at_point = shapes_at(specs, profile, point), values_at(profile, point)
        net.check(seeded_inputs(net.model, at_point[0], values=at_point[1]))


@pytest.mark.parametrize("name", ["?", "n"])
def test_dimensions_of_one_name_run_with_several_sizes(opened, name: str) -> None:
    # As paddle2onnx writes them; TensorRT 8.6 refuses such a profile unless names are removed.
    shape = [name, 3, name, name]
    proto = networks.model(
        [helper.make_node("Relu", ["x"], ["y"])],
        [networks.value("x", shape)],
        [networks.value("y", shape)],
    )
    net = opened(proto, {"x": ((1, 3, 48, 192), (4, 3, 48, 192), (8, 3, 48, 192))})
    for batch in (1, 4, 8):
        net.check({"x": np.random.default_rng(batch).random((batch, 3, 48, 192), np.float32)})


def test_profiles_are_switched_by_value(opened) -> None:
    sizes = [{"size": {"values": bounds}} for bounds in (((1, 8),) * 2 + ((4, 8),), ((8, 8),) * 3)]
    net = opened(shapes.expander(), sizes)
    row = np.random.default_rng(0).random((1, 8), np.float32)
    for rows in (1, 8, 4, 4, 4, 8, 8, 8, 2):
        net.check({"row": row, "size": np.array([rows, 8])})
    with pytest.raises(InputError, match="size value 0 is 5, above its max 4"):
        net.session.run({"row": row, "size": np.array([5, 8])})


def test_two_sessions_are_interleaved(opened) -> None:
    first = opened(networks.conv_net(), batches(1, 8, 32))
    second = opened(networks.conv_net(), batches(1, 4, 16))
    for seed in range(5):
        first.check(images(8, seed))
        second.check(images(8, seed))


def test_output_whose_shape_depends_on_the_data(opened) -> None:
    # The positions of what is positive: as many as there are.
    graph = [
        helper.make_node("Greater", ["x", "zero"], ["positive"]),
        helper.make_node("NonZero", ["positive"], ["found"]),
        helper.make_node("Mul", ["x", "two"], ["doubled"]),
    ]
    proto = networks.model(
        graph,
        inputs=[networks.value("x", ["n", 4])],
        outputs=[
            networks.value("found", [2, "k"], TensorProto.INT64),
            networks.value("doubled", ["n", 4]),
        ],
        initialisers=[networks.constant("zero", 0.0), networks.constant("two", 2.0)],
    )
    net = opened(proto, {"x": ((1, 4), (4, 4), (64, 4))})
    for rows, shift in ((4, 0.5), (4, 2.0), (64, 0.9), (4, -1.0), (4, 0.5)):
        x = np.random.default_rng(rows).random((rows, 4), np.float32) - np.float32(shift)
        net.check({"x": x})
    assert "depends on the data" in net.session.graph_refusal
    with pytest.raises(EngineRunError, match="cannot be timed as a CUDA graph"):
        net.session.sample({"x": np.ones((4, 4), np.float32)}, mode="graph", calls=2)


def test_a_loop_is_right_whether_it_can_be_captured_or_not(opened) -> None:
    body = networks.subgraph(
        [
            helper.make_node("Mul", ["state", "half"], ["halved"]),
            helper.make_node("Add", ["halved", "x"], ["next"]),
            helper.make_node("Identity", ["go_in"], ["go_out"]),
        ],
        inputs=[
            networks.value("step", [], TensorProto.INT64),
            networks.value("go_in", [], TensorProto.BOOL),
            networks.value("state", ["n", 4]),
        ],
        outputs=[
            networks.value("go_out", [], TensorProto.BOOL),
            networks.value("next", ["n", 4]),
        ],
    )
    proto = networks.model(
        [helper.make_node("Loop", ["steps", "go", "x"], ["y"], body=body)],
        inputs=[networks.value("x", ["n", 4])],
        outputs=[networks.value("y", ["n", 4])],
        initialisers=[
            networks.constant("half", 0.5),
            networks.constant("steps", 5, "int64"),
            networks.constant("go", True, "bool"),
        ],
    )
    net = opened(proto, {"x": ((1, 4), (4, 4), (16, 4))})
    for seed in range(5):
        net.check({"x": np.random.default_rng(seed).random((4, 4), np.float32)})
    captured = net.session._binding.graph is not None
    assert captured == (net.session.graph_refusal is None)


@pytest.mark.parametrize("dtype", ["float32", "float16", "int32", "int64", "bool"])
def test_element_types_go_in_and_come_out(opened, dtype: str) -> None:
    element = helper.np_dtype_to_tensor_dtype(np.dtype(dtype))
    node = ("Not", ["x"]) if dtype == "bool" else ("Add", ["x", "x"])
    proto = networks.model(
        [helper.make_node(node[0], node[1], ["y"])],
        inputs=[networks.value("x", ["n", 3], element)],
        outputs=[networks.value("y", ["n", 3], element)],
        initialisers=[],
    )
    net = opened(proto, {"x": ((1, 3), (4, 3), (8, 3))})
    x = np.arange(12).reshape(4, 3) - 5
    for _ in range(4):
        net.check({"x": x.astype(dtype)}, rtol=0, atol=0)


def test_values_beyond_the_engines_integers_are_refused(opened) -> None:
    proto = networks.model(
        [helper.make_node("Add", ["x", "x"], ["y"])],
        inputs=[networks.value("x", [2], TensorProto.INT64)],
        outputs=[networks.value("y", [2], TensorProto.INT64)],
        initialisers=[],
    )
    net = opened(proto)
    if net.session._dtypes["x"] == np.int64:
        pytest.skip("this version computes in 64 bits")
    net.check({"x": np.array([3, -4])})
    with pytest.raises(InputError, match="which ends at 2147483647"):
        net.session.run({"x": np.array([1, 2**31])})


def test_scalars(opened) -> None:
    proto = networks.model(
        [helper.make_node("Add", ["x", "x"], ["y"])],
        inputs=[networks.value("x", [])],
        outputs=[networks.value("y", [])],
        initialisers=[],
    )
    net = opened(proto)
    for value in (1.5, -2.0, 0.0, 7.0):
        net.check({"x": np.array(value, np.float32)}, rtol=0, atol=0)


def test_empty_tensors(opened) -> None:
    proto = networks.model(
        [helper.make_node("Concat", ["a", "b"], ["y"], axis=0)],
        inputs=[networks.value("a", ["n", 3]), networks.value("b", ["m", 3])],
        outputs=[networks.value("y", ["k", 3])],
        initialisers=[],
    )
    net = opened(proto, dict.fromkeys("ab", ((0, 3), (2, 3), (8, 3))))
    for rows in ((2, 0), (0, 2), (0, 0), (8, 8), (0, 2)):
        a, b = (np.random.default_rng(1).random((count, 3), np.float32) for count in rows)
        net.check({"a": a, "b": b}, rtol=0, atol=0)


def test_non_contiguous_inputs(opened) -> None:
    net = opened(networks.conv_net(), batches(1, 8, 32))
    wide = np.random.default_rng(0).random((8, 16, 16, 6), np.float32)
    net.check({"image": wide[..., ::2].transpose(0, 3, 1, 2)})


def test_samples_are_positive_and_one_per_call(opened) -> None:
    net = opened(networks.conv_net(), batches(1, 8, 32))
    for mode in ("graph", "enqueue"):
        samples_ms, wall_s = net.session.sample(images(8), mode=mode, calls=50)
        assert wall_s * 1e3 > samples_ms.sum()
        assert samples_ms.shape == (50,)
        assert (samples_ms > 0).all()
    # Sampling leaves the session as it was.
    net.check(images(8))


def test_memory_does_not_grow_with_runs(opened) -> None:
    net = opened(networks.conv_net(), batches(1, 8, 32))
    feeds = [images(batch) for batch in (1, 8, 8, 8, 32, 3, 3, 3)]

    def free_bytes() -> int:
        return int(net.session._cuda.call("cudaMemGetInfo")[0])

    for feed in feeds * 5:
        net.session.run(feed)
    before = free_bytes()
    for feed in feeds * 50:
        net.session.run(feed)
    assert free_bytes() == before
