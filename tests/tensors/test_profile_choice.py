from __future__ import annotations

import re

import numpy as np
import pytest
from builders_model import remedy
from hypothesis import given
from hypothesis import strategies as st

from pytest_trt.diagnostics import ConfigurationError, InputError
from pytest_trt.tensors.profile_choice import distinct_points, select_profile, shapes_at, values_at
from pytest_trt.tensors.profiles import ShapeRange, parse_profiles
from pytest_trt.tensors.spec import TensorSpec
from pytest_trt.tensors.value_ranges import ValueRange, between

_INPUTS = (
    TensorSpec("image", "float32", ("batch", 3, "?")),
    TensorSpec("anchors", "float32", (4, 2)),
    TensorSpec("list", "sequence(float32)", None),
)
_SMALL = {"image": ShapeRange((1, 3, 32), (4, 3, 32), (8, 3, 64))}
_LARGE = {"image": ShapeRange((8, 3, 32), (16, 3, 64), (32, 3, 64))}


_SIZED = (TensorSpec("image", "float32", ("batch", 3)), TensorSpec("size", "int64", (2,)))
_ROWS = ShapeRange((1, 3), (4, 3), (8, 3))
_LOW = {"image": _ROWS, "size": ValueRange((1, -1), (8, 8), (16, 16))}
_HIGH = {"image": _ROWS, "size": ValueRange((16, 16), (32, 32), (64, 64))}


def _select(*shape, profiles=(_SMALL, _LARGE)):
    # Views of one number: only shapes are looked at.
    inputs = {"image": np.broadcast_to(np.float32(0), shape), "anchors": np.zeros((4, 2))}
    return select_profile(profiles, _INPUTS, {**inputs, "list": [np.zeros(2)]})


def _select_values(*values, profiles=(_LOW, _HIGH), rows=4):
    return select_profile(
        profiles, _SIZED, {"image": np.zeros((rows, 3)), "size": np.array(values, np.int64)}
    )


@pytest.mark.parametrize(
    ("shape", "index"), [((1, 3, 32), 0), ((8, 3, 64), 0), ((9, 3, 32), 1), ((32, 3, 64), 1)]
)
def test_the_first_profile_that_holds_the_shapes_is_chosen(shape, index):
    assert _select(*shape) == index


def test_without_profiles_there_is_nothing_to_choose():
    assert _select(99, 3, 1, profiles=()) == 0


def test_a_broken_bound_is_given_with_both_values_closest_profile_first():
    with pytest.raises(InputError) as caught:
        _select(33, 3, 32)

    assert list(caught.value.diagnostic.details) == [
        "profile 1: image dimension 0 (batch) is 33, above its max 32",
        "profile 0: image dimension 0 (batch) is 33, above its max 8",
    ]
    assert "widen profiles={...}" in remedy(caught.value)


def test_every_broken_bound_is_given():
    with pytest.raises(InputError, match=r"is 0, below its min 1; image dimension 2 is 65, above"):
        _select(0, 3, 65, profiles=(_SMALL,))


def test_another_rank_and_a_missing_shape_are_given():
    with pytest.raises(InputError, match="image has 2 dimensions, the profile has 3"):
        _select(1, 3)
    with pytest.raises(InputError, match="image has no shape"):
        select_profile((_SMALL,), _INPUTS, {})


@pytest.mark.parametrize(
    ("values", "index"),
    [((1, -1), 0), ((16, 16), 0), ((17, 16), 1), ((64, 64), 1)],
)
def test_the_first_profile_that_holds_the_values_is_chosen(values, index):
    assert _select_values(*values) == index


@given(st.integers(-2, 70), st.integers(-2, 70))
def test_values_are_held_exactly_when_both_are_inside_one_range(height, width):
    fits = [
        all(low <= value <= high for value, low, high in zip((height, width), *bounds, strict=True))
        for bounds in (((1, -1), (16, 16)), ((16, 16), (64, 64)))
    ]
    if any(fits):
        assert _select_values(height, width) == fits.index(True)
    else:
        with pytest.raises(InputError):
            _select_values(height, width)


def test_a_broken_bound_of_values_is_given_with_both_values_closest_profile_first():
    with pytest.raises(InputError) as caught:
        _select_values(65, 20)

    assert [caught.value.message, *caught.value.diagnostic.details] == [
        "the inputs' shapes or values are outside every profile of this engine",
        "profile 1: size value 0 is 65, above its max 64",
        "profile 0: size value 0 is 65, above its max 16; size value 1 is 20, above its max 16",
    ]
    assert "Feed inputs inside one profile" in remedy(caught.value)


def test_shapes_and_values_are_broken_side_by_side():
    with pytest.raises(
        InputError,
        match=r"image dimension 0 \(batch\) is 9, .*; size value 1 is -2, below its min -1",
    ):
        _select_values(1, -2, profiles=(_LOW,), rows=9)


def test_another_number_of_values_and_missing_ones_are_given():
    with pytest.raises(InputError, match="size has 3 values, the profile has 2"):
        _select_values(1, 2, 3)
    with pytest.raises(InputError, match="size has no values"):
        select_profile((_LOW,), _SIZED, {"image": np.zeros((1, 3))})


def test_a_scalar_has_one_value():
    specs = (TensorSpec("count", "int32", ()),)
    profile = {"count": ValueRange((1,), (4,), (8,))}

    assert select_profile((profile,), specs, {"count": np.array(8, np.int32)}) == 0
    with pytest.raises(InputError, match="count's value is 9, above its max 8"):
        select_profile((profile,), specs, {"count": np.array(9, np.int32)})


@pytest.mark.parametrize(
    ("point", "values"), [("min", (1, -1)), ("opt", (8, 8)), ("max", (16, 16))]
)
def test_values_come_from_the_profile_and_their_shape_from_the_model(point, values):
    assert values_at(_LOW, point) == {"size": values}
    assert shapes_at(_SIZED, _LOW, point)["size"] == (2,)


@pytest.mark.parametrize(("shape", "expected"), [((), ()), ((1,), (1,)), (("length",), (1,))])
def test_a_range_of_one_value_keeps_the_inputs_rank(shape, expected):
    specs = (TensorSpec("count", "int64", shape),)
    profile = {"count": ValueRange((1,), (4,), (8,))}

    assert shapes_at(specs, profile, "opt") == {"count": expected}


@pytest.mark.parametrize("profile", [None, {}, _SMALL])
def test_ranges_of_shapes_give_no_values(profile):
    assert values_at(profile, "opt") == {}


@pytest.mark.parametrize(
    ("point", "shape"), [("min", (1, 3, 32)), ("opt", (4, 3, 32)), ("max", (8, 3, 64))]
)
def test_shapes_come_from_the_profile_and_else_from_the_model(point, shape):
    assert shapes_at(_INPUTS, _SMALL, point) == {"image": shape, "anchors": (4, 2)}


def test_a_fixed_model_needs_no_profile():
    assert shapes_at(_INPUTS[1:], None, "opt") == {"anchors": (4, 2)}


@pytest.mark.parametrize("profile", [None, {}])
def test_a_dynamic_input_without_a_profile_gets_one_to_paste(profile):
    with pytest.raises(ConfigurationError, match=r"image: float32\[batch, 3, \?\]") as caught:
        shapes_at(_INPUTS, profile, "opt")

    pasted = eval(re.search(r"profiles=(\{.*\})", remedy(caught.value))[1])
    (parsed,) = parse_profiles(pasted, _INPUTS, where="pasted")
    assert shapes_at(_INPUTS, parsed, "opt")["image"][1] == 3


@pytest.mark.parametrize(
    ("bounds", "points"),
    [
        (((1,), (2,), (3,)), ("min", "opt", "max")),
        (((1,), (3,), (3,)), ("min", "opt")),
        (((1,), (1,), (3,)), ("opt", "max")),
        (((3,), (3,), (3,)), ("opt",)),
    ],
)
def test_equal_points_are_named_once(bounds, points):
    assert distinct_points({"x": ShapeRange(*bounds)}) == points


def test_points_differ_as_soon_as_one_input_differs():
    fixed, dynamic = ShapeRange((1,), (1,), (1,)), ShapeRange((1,), (1,), (2,))

    assert distinct_points({"a": fixed, "b": dynamic}) == ("opt", "max")


def test_points_differ_as_soon_as_values_do():
    rows = ShapeRange((2,), (2,), (2,))

    assert distinct_points({"x": rows, "size": ValueRange((1,), (1,), (9,))}) == ("opt", "max")
    assert distinct_points({"x": rows, "size": ValueRange((9,), (9,), (9,))}) == ("opt",)


@pytest.mark.parametrize("profile", [None, {}])
def test_a_fixed_model_runs_once(profile):
    assert distinct_points(profile) == ("opt",)


@pytest.mark.parametrize(
    ("bounds", "expected"),
    [
        ((1, 8, 40), {"low": 3, "high": 18, "pow2_minus": 31, "pow2_plus": 33}),
        ((1, 1, 2), {"low": 1, "high": 1, "pow2_minus": 1, "pow2_plus": 1}),
        ((1, 4, 16), {"low": 2, "high": 8, "pow2_minus": 7, "pow2_plus": 9}),
        ((4, 4, 4), {"low": 4, "high": 4, "pow2_minus": 4, "pow2_plus": 4}),
        # Multiples of 32, as a model that halves five times needs them.
        ((320, 640, 1280), {"low": 320, "high": 960, "pow2_minus": 960, "pow2_plus": 1280}),
        ((32, 256, 1056), {"low": 96, "high": 512, "pow2_minus": 992, "pow2_plus": 1056}),
        ((8, 8, 64), {"low": 8, "high": 24, "pow2_minus": 24, "pow2_plus": 40}),
    ],
)
def test_points_between_are_inside_and_multiples(bounds, expected) -> None:
    for point, number in expected.items():
        found = between(*bounds, point)
        assert bounds[0] <= found <= bounds[2]
        assert found == number


def test_a_sweep_adds_only_points_that_differ() -> None:
    swept = {"x": ShapeRange((1, 3), (8, 3), (40, 3)), "n": ValueRange((2,), (2,), (2,))}
    assert distinct_points(swept, sweep=True) == (
        *("min", "low", "opt", "high", "pow2_minus", "pow2_plus", "max"),
    )
    assert distinct_points({"x": ShapeRange((1,), (1,), (2,))}, sweep=True) == ("opt", "max")
    assert distinct_points(None, sweep=True) == ("opt",)
