"""Profiles as TensorRT's builder gets them; TensorRT-RTX builds with them for real where it is."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import builders_networks as networks
import builders_shapes as shapes
import pytest
from builders_model import remedy
from onnx import TensorProto

from pytest_trt.backends.devices.gpu import DeviceProbe
from pytest_trt.backends.tensorrt.backend import TensorRtRtxBackend
from pytest_trt.backends.tensorrt.build_job import BuildPlan
from pytest_trt.backends.tensorrt.plan_header import read_plan_header
from pytest_trt.backends.tensorrt.profiles import add_profiles, require_profiles
from pytest_trt.diagnostics import ConfigurationError
from pytest_trt.engine.protocols import BuildRequest
from pytest_trt.engine.spec import EngineSpec, Target
from pytest_trt.onnx.file import OnnxModel
from pytest_trt.tensors.profiles import ShapeRange, parse_profiles
from pytest_trt.tensors.spec import TensorSpec
from pytest_trt.tensors.value_ranges import ValueRange
from pytest_trt.workers.warm import warm_builder

BACKEND = TensorRtRtxBackend(DeviceProbe((), "no NVIDIA driver"))


@pytest.fixture(scope="module", autouse=True)
def _no_builder_stays() -> Iterator[None]:
    """Let one process build for all tests of this file: it is slow to start."""
    yield
    warm_builder.end()


SIZE = TensorSpec("size", "int64", (2,))


@pytest.fixture
def rtx() -> Any:
    return pytest.importorskip("tensorrt_rtx", reason="tensorrt_rtx is not installed")


@pytest.fixture
def resizer(tmp_path: Path) -> OnnxModel:
    return networks.saved(shapes.resizer(), tmp_path / "resizer.onnx")


def build(model: OnnxModel, folder: Path, profiles: object, precision: str = "fp32") -> Path:
    parsed = parse_profiles(profiles, model.inputs, where="trt_model")
    folder.mkdir(exist_ok=True)
    request = BuildRequest(model, EngineSpec(precision, parsed), Target("sm86"), folder)
    return folder / BACKEND.build(request).plan_name


def refused(model: OnnxModel, folder: Path, profiles: object) -> ConfigurationError:
    with pytest.raises(ConfigurationError) as caught:
        build(model, folder, profiles)
    return caught.value


@pytest.mark.parametrize("precision", ["fp32", "fp16"])
@pytest.mark.parametrize("operator", shapes.WITH_PROFILES)
def test_inputs_that_hold_a_shape_are_built(
    rtx: Any, operator: str, precision: str, tmp_path: Path
) -> None:
    network, profiles = shapes.WITH_PROFILES[operator]
    model = networks.saved(network(), tmp_path / "m.onnx")
    plan = build(model, tmp_path / "plan", profiles, precision)
    assert read_plan_header(plan).archs == ("sm86",)


def test_a_range_of_values_reaches_the_builder(
    rtx: Any, resizer: OnnxModel, tmp_path: Path
) -> None:
    profiles = shapes.WITH_PROFILES["Resize"][1]
    smaller = {**profiles, "size": {"values": ((8, 8), (8, 8), (8, 8))}}
    plans = [build(resizer, tmp_path / "plan", one).read_bytes() for one in (profiles, smaller)]
    assert plans[0] != plans[1]


def test_several_profiles_have_a_range_of_values_each(
    rtx: Any, resizer: OnnxModel, tmp_path: Path
) -> None:
    profiles = shapes.WITH_PROFILES["Resize"][1]
    large = {**profiles, "size": {"values": ((32, 32), (64, 64), (64, 64))}}
    build(resizer, tmp_path / "plan", [profiles, large])


@pytest.mark.parametrize("given", [{}, {"size": (2,)}], ids=["nothing", "its shape"])
def test_an_error_about_a_shape_input_shows_which_profile_to_write(
    rtx: Any, given: Mapping[str, Any], resizer: OnnxModel, tmp_path: Path
) -> None:
    images = {"image": shapes.WITH_PROFILES["Resize"][1]["image"]}
    error = refused(resizer, tmp_path / "refused", {**images, **given})
    assert error.message == (
        "profile 0 has no range of values for 'size', whose values resizer.onnx uses as a shape; "
        "TensorRT builds only for a range of values"
    )
    build(resizer, tmp_path / "plan", pasted(remedy(error)))


def test_a_fixed_model_with_a_shape_input_needs_a_profile_too(rtx: Any, tmp_path: Path) -> None:
    model = networks.saved(shapes.counter(), tmp_path / "counter.onnx")
    error = refused(model, tmp_path / "refused", None)
    assert (
        "there is no range of values for 'count', whose values counter.onnx uses" in error.message
    )
    build(model, tmp_path / "plan", pasted(remedy(error)))


def test_the_second_profile_needs_values_as_the_first_one(
    rtx: Any, resizer: OnnxModel, tmp_path: Path
) -> None:
    profiles = shapes.WITH_PROFILES["Resize"][1]
    error = refused(resizer, tmp_path / "refused", [profiles, {"image": profiles["image"]}])
    assert "profile 1 has no range of values for 'size'" in error.message


def test_values_of_an_input_that_holds_no_shape_are_refused(rtx: Any, tmp_path: Path) -> None:
    nodes = [networks.helper.make_node("Add", ["x", "x"], ["y"])]
    values = [networks.value(name, [2], TensorProto.INT64) for name in "xy"]
    model = networks.saved(networks.model(nodes, values[:1], values[1:]), tmp_path / "add.onnx")
    error = refused(model, tmp_path / "refused", {"x": {"values": ((1, 1), (2, 2), (3, 3))}})
    assert "range of values for input 'x' of add.onnx, whose values are not used" in error.message
    assert remedy(error) == "Give a range of shapes, or leave it out if the shape is fixed."


@pytest.mark.parametrize(
    "values",
    [
        pytest.param(ValueRange((9, 9), (8, 8), (9, 9)), id="not ascending"),
        pytest.param(ValueRange((8,), (8, 8), (9, 9)), id="of several lengths"),
    ],
)
def test_a_range_that_the_builder_refuses_is_reported(
    rtx: Any, values: ValueRange, resizer: OnnxModel, tmp_path: Path
) -> None:
    # No marker gets this far: ranges are checked when they are parsed.
    profile = {"image": ShapeRange((1, 3, 8, 8), (1, 3, 8, 8), (1, 3, 8, 8)), "size": values}
    request = BuildRequest(resizer, EngineSpec(profiles=(profile,)), Target("sm86"), tmp_path)
    with pytest.raises(ConfigurationError, match=r'"size": \{"values"|input \'size\''):
        BACKEND.build(request)


@pytest.mark.parametrize("network", [shapes.resizer, shapes.reshaper, shapes.expander])
def test_a_shape_input_of_open_length_is_refused_with_the_length_to_fix(
    network: Any, tmp_path: Path
) -> None:
    model = networks.saved(network("rank"), tmp_path / "m.onnx")
    examples = {"image": (1, 3, 8, 8), "table": (4, 8)}
    profile = {spec.name: examples[spec.name] for spec in model.inputs if spec.name in examples}
    parsed = parse_profiles({**profile, "size": {"values": (4, 8)}}, model.inputs, where="test")
    with pytest.raises(ConfigurationError, match=r"size: int64\[rank\] has a range of val") as got:
        require_profiles(model.inputs, parsed)
    assert remedy(got.value) == "Export the model with that length fixed at 2."


class Profile32:
    """A profile of a version whose bindings take values as 32-bit integers, as 8.6's do."""

    def set_shape_input(self, name: str, *points: tuple[int, ...]) -> None:
        if max(map(max, points)) > 0x7FFFFFFF:
            raise TypeError("set_shape_input(): incompatible function arguments.\nThe following...")
        self.kept = list(map(list, points))

    def get_shape_input(self, name: str) -> list[list[int]]:
        return self.kept


class Builder32:
    """What a builder, its network and its config are asked for, with one input that holds a shape.

    The real thing of that version needs a GPU to be there.
    """

    num_inputs = 1
    name, shape, is_shape_tensor = SIZE.name, SIZE.shape, True

    def get_input(self, index: int) -> Any:
        return self

    def create_optimization_profile(self) -> Profile32:
        return Profile32()

    def add_optimization_profile(self, profile: Profile32) -> int:
        return 0


def test_values_beyond_the_builders_integers_are_refused() -> None:
    def add(largest: int) -> None:
        profiles = parse_profiles(
            {"size": {"values": ((1, 1), (1, 1), (1, largest))}}, [SIZE], where="test"
        )
        vendor, file = Builder32(), Path("m.onnx")
        plan = BuildPlan("TensorRT 8.6.0", "m.onnx", "m", file, file, profiles=profiles)
        add_profiles(vendor, vendor, vendor, plan)

    add(2**31 - 1)
    with pytest.raises(ConfigurationError, match=r"TensorRT 8\.6\.0 does not accept") as got:
        add(2**31)
    assert "2147483648" in got.value.message
    assert "\n" not in got.value.message
    assert remedy(got.value).startswith("Give values up to 2147483647")


def pasted(fix: str) -> object:
    """Return the profile that a fix tells to write."""
    found = re.search(r"profiles=(\{.*\})", fix)
    assert found, fix
    return eval(found[1])
