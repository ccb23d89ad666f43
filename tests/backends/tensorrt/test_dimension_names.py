from __future__ import annotations

from pathlib import Path

import builders_networks as networks
import onnx
import pytest
from builders_networks import value
from onnx import helper

from pytest_trt.backends.tensorrt.dimension_names import ambiguous_names, without_ambiguous_names
from pytest_trt.tensors.profiles import parse_profiles
from pytest_trt.tensors.spec import TensorSpec


@pytest.mark.parametrize(
    ("shapes", "ranges", "expected"),
    [
        # One name, two sizes: in one input, and in two.
        ({"x": ("n", "n")}, {"x": ((1, 2), (4, 8), (8, 16))}, {"n"}),
        (
            {"x": ("n", 3), "y": ("n",)},
            {"x": ((1, 3), (4, 3), (8, 3)), "y": ((1,), (4,), (9,))},
            {"n"},
        ),
        # Equal sizes everywhere: the name says what is so.
        ({"x": ("n", "n")}, {"x": ((1, 1), (4, 4), (8, 8))}, set()),
        ({"x": ("n", "m")}, {"x": ((1, 2), (4, 8), (8, 16))}, set()),
        # Not a name, though the ranges agree: the sizes of one run may differ.
        ({"x": ("?", "?")}, {"x": ((1, 1), (4, 4), (8, 8))}, {"?"}),
    ],
)
def test_a_name_of_several_sizes_is_ambiguous(shapes, ranges, expected) -> None:
    inputs = [TensorSpec(name, "float32", shape) for name, shape in shapes.items()]
    profiles = parse_profiles(ranges, inputs, where="test")
    assert ambiguous_names(inputs, profiles) == expected


def test_only_ambiguous_names_are_removed(tmp_path: Path) -> None:
    proto = networks.model(
        [helper.make_node("Relu", ["x"], ["y"])],
        [value("x", ["batch", "?", "?"])],
        [value("y", ["batch", "?", "?"])],
    )
    model = networks.saved(proto, tmp_path / "m.onnx")
    ranges = {"x": ((1, 8, 8), (2, 16, 32), (4, 32, 64))}
    changed = without_ambiguous_names(
        model.path, parse_profiles(ranges, model.inputs, where="test")
    )
    assert changed is not None
    (given,) = onnx.load_from_string(changed).graph.input
    assert [dim.dim_param for dim in given.type.tensor_type.shape.dim] == ["batch", "", ""]


def test_a_model_without_ambiguous_names_is_parsed_as_it_is(tmp_path: Path) -> None:
    model = networks.saved(networks.conv_net(), tmp_path / "m.onnx")
    ranges = {"image": ((1, 3, 16, 16), (2, 3, 16, 16), (4, 3, 16, 16))}
    profiles = parse_profiles(ranges, model.inputs, where="test")
    assert without_ambiguous_names(model.path, profiles) is None
