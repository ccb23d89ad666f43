"""Finished plans of TensorRT, read with a fake of it; headers are of real ones."""

from __future__ import annotations

import struct
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from backends.fake_gpu import FakeEngine, FakeRuntime, FakeTensorRt, Format, fake_runtime

from pytest_trt.backends.devices.gpu import DeviceProbe
from pytest_trt.backends.tensorrt.backend import TensorRtBackend, TensorRtRtxBackend
from pytest_trt.backends.tensorrt.finished import read_engine
from pytest_trt.diagnostics import EngineLoadError
from pytest_trt.engine.finished import PlanContent, opened_plan
from pytest_trt.engine.protocols import Plan
from pytest_trt.engine.spec import EngineSpec, Target
from pytest_trt.tensors.profiles import ShapeRange
from pytest_trt.tensors.spec import TensorSpec
from pytest_trt.tensors.value_ranges import ValueRange

__all__ = ["fake_runtime"]

INPUTS = [TensorSpec("x", "float32", ("n", 2)), TensorSpec("size", "int64", (1,))]
OUTPUTS = [TensorSpec("y", "float32", ("n", 2))]

INSPECTED = (
    '{"Layers": [{"Name": "conv", "LayerType": "Conv", "Weights": {"Type": "Half", "Count": 4}}]}'
)


@dataclass
class ReadEngine(FakeEngine):
    """A fake that reports profiles, as the real one does."""

    ranges: Mapping[str, Any] = field(default_factory=dict)
    text: str = INSPECTED
    num_optimization_profiles: int = 2
    fixed: tuple[int, ...] | None = None
    device_memory_size: int = 1000

    def get_tensor_shape(self, name: str) -> tuple[int, ...]:
        return (self.fixed or (-1, 2)) if name in ("x", "y") else (1,)

    def is_shape_inference_io(self, name: str) -> bool:
        return name == "size"

    def get_tensor_profile_shape(self, name: str, index: int) -> list[tuple[int, ...]]:
        return [(1 + index, 2), (2 + index, 2), (3 + index, 2)]

    def get_tensor_profile_values(self, index: int, name: str) -> list[list[int]]:
        return [[1], [2 + index], [3 + index]]

    def create_engine_inspector(self) -> Any:
        return SimpleNamespace(get_engine_information=lambda form: self.text)


class FakeProduct(FakeTensorRt):
    LayerInformationFormat = SimpleNamespace(JSON=1)

    def Runtime(self, logger: Any) -> Any:
        def deserialize(plan: bytes) -> Any:
            assert plan == b"plan"
            return self.engine

        return SimpleNamespace(deserialize_cuda_engine=deserialize)


def doubling(**changes: Any) -> ReadEngine:
    given = {
        "inputs": {"x": "float32", "size": "int64"},
        "outputs": {"y": "float32"},
        "compute": lambda **arrays: {},
        "shapes": lambda **shapes: {},
    }
    return ReadEngine(**{**given, **changes})


@pytest.fixture
def read(fake_runtime: FakeRuntime, tmp_path: Path) -> Callable[..., PlanContent]:
    path = tmp_path / "m.plan"

    def reading(engine: ReadEngine, in_front: bytes = b"") -> PlanContent:
        path.write_bytes(in_front + b"plan")
        model: Any = SimpleNamespace(
            path=Path("net.onnx"), inputs=INPUTS, outputs=OUTPUTS, elements={"float32": 6}
        )
        return read_engine(FakeProduct(engine), Plan(path), model, device=0, host_code=False)

    return reading


def test_profiles_layers_and_memory_are_read(read) -> None:
    content = read(doubling())
    assert content.profiles == (
        {"x": ShapeRange((1, 2), (2, 2), (3, 2)), "size": ValueRange((1,), (2,), (3,))},
        {"x": ShapeRange((2, 2), (3, 2), (4, 2)), "size": ValueRange((1,), (3,), (4,))},
    )
    assert content.device_memory_bytes == 1000
    assert [layer.precision for layer in content.layers] == ["half"]
    assert content.hidden_weights == 2


def test_plan_that_was_built_for_one_shape_has_that_as_its_profile(read) -> None:
    content = read(doubling(fixed=(4, 2), num_optimization_profiles=1))
    assert content.profiles[0]["x"] == ShapeRange((4, 2), (4, 2), (4, 2))


def test_metadata_in_front_of_a_plan_is_not_loaded(read) -> None:
    metadata = b'{"task": "detect"}'
    assert read(doubling(), len(metadata).to_bytes(4, "little") + metadata).profiles


def test_input_that_the_builder_dropped_is_no_difference(read) -> None:
    content = read(doubling(inputs={"x": "float32"}))
    assert all(profile.keys() == {"x"} for profile in content.profiles)


@pytest.mark.parametrize("text", ["no JSON", "{}", '{"Layers": ["bare name"]}'])
def test_layers_that_are_not_reported_are_unknown(read, text: str) -> None:
    content = read(doubling(text=text))
    assert content.profiles
    assert all(layer.precision is None for layer in content.layers or ())


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"outputs": {}}, "output y is missing"),
        ({"outputs": {"y": "float32", "z": "float32"}}, "output z is not of the model"),
        ({"inputs": {"w": "float32"}}, "input w is not of the model"),
    ],
)
def test_plan_of_another_model_is_refused(read, changes, message: str) -> None:
    with pytest.raises(EngineLoadError, match=message) as caught:
        read(doubling(**changes))
    assert caught.value.diagnostic.code == "TRT326"


@pytest.mark.parametrize("tensor", ["x", "y"])
def test_plan_with_channels_in_groups_is_refused(read, tensor: str) -> None:
    with pytest.raises(EngineLoadError, match=f"tensor {tensor} has the format HWC8") as caught:
        read(doubling(formats={tensor: Format.HWC8}))
    assert caught.value.diagnostic.code == "TRT326"


def test_plan_that_tensorrt_refuses_is_refused(read) -> None:
    with pytest.raises(EngineLoadError, match="cannot be loaded on this GPU"):
        read(None)


def header(magic: bytes, version: tuple[int, int, int, int], rest: bytes = b"") -> bytes:
    return struct.pack("<4sIQQ4B", magic, 0, 2, 28 + len(rest), *version) + rest


def checked(backend: Any, content: bytes, folder: Path, arch: str, **options: bool) -> str:
    """Return the code with which a plan is refused; "" if its header fits."""
    path = folder / "m.plan"
    path.write_bytes(content)
    try:
        with opened_plan(path) as (plan, _):
            backend.check_plan(plan, EngineSpec(builder_options=options), Target(arch))
    except EngineLoadError as error:
        return error.diagnostic.code if "cache clear" not in str(error) else str(error)
    return ""


def test_header_decides_before_anything_is_loaded(tmp_path: Path) -> None:
    product: Any = SimpleNamespace(
        label="TensorRT", load=lambda: SimpleNamespace(__version__="10.3.0")
    )
    backend = TensorRtBackend(DeviceProbe((), "none"), product=product)
    same, newer = header(b"ftrt", (10, 3, 0, 26)), header(b"ftrt", (10, 4, 0, 26))
    assert checked(backend, same, tmp_path, "sm90") == ""
    assert checked(backend, newer, tmp_path, "sm90") == "TRT321"
    assert checked(backend, newer, tmp_path, "sm90", version_compatible=True) == ""
    assert checked(backend, header(b"vtrt", (10, 3, 0, 26)), tmp_path, "sm90") == "TRT321"
    assert checked(backend, same + b"more", tmp_path, "sm90") == "TRT322"
    assert checked(backend, b"short", tmp_path, "sm90") == "TRT322"


def test_header_of_rtx_has_the_architectures(tmp_path: Path) -> None:
    trt = pytest.importorskip("tensorrt_rtx", reason="tensorrt_rtx is not installed")
    version = [int(part) for part in trt.__version__.split(".")]
    numbers = (*version, 0, 0)[:4]
    backend = TensorRtRtxBackend(DeviceProbe((), "none"))
    plan = header(b"vtrt", numbers, struct.pack("<4sQ", b"vtrt", 1 << 2))
    assert checked(backend, plan, tmp_path, "sm86") == ""
    assert checked(backend, plan, tmp_path, "sm120") == "TRT323"
