from __future__ import annotations

import re

import pytest

from pytest_trt.errors import ConfigurationError, InputError
from pytest_trt.model import (
    ShapeRange,
    TensorSpec,
    distinct_points,
    parse_profiles,
    select_profile,
    shapes_at,
)

_INPUTS = (
    TensorSpec("image", "float32", ("batch", 3, "?")),
    TensorSpec("anchors", "float32", (4, 2)),
    TensorSpec("list", "sequence(float32)", None),
)
_SMALL = {"image": ShapeRange((1, 3, 32), (4, 3, 32), (8, 3, 64))}
_LARGE = {"image": ShapeRange((8, 3, 32), (16, 3, 64), (32, 3, 64))}


def _select(*shape, profiles=(_SMALL, _LARGE)):
    return select_profile(profiles, _INPUTS, {"image": shape, "anchors": (4, 2)})


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

    assert caught.value.message.splitlines()[1:] == [
        "  profile 1: image dimension 0 (batch) is 33, above its max 32",
        "  profile 0: image dimension 0 (batch) is 33, above its max 8",
    ]
    assert "widen it" in caught.value.fix


def test_every_broken_bound_is_given():
    with pytest.raises(InputError, match=r"is 0, below its min 1; image dimension 2 is 65, above"):
        _select(0, 3, 65, profiles=(_SMALL,))


def test_another_rank_and_a_missing_shape_are_given():
    with pytest.raises(InputError, match="image has 2 dimensions, the profile 3"):
        _select(1, 3)
    with pytest.raises(InputError, match="image has no shape"):
        select_profile((_SMALL,), _INPUTS, {})


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

    pasted = eval(re.search(r"profiles=(\{.*\}) \(min", caught.value.fix)[1])
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


@pytest.mark.parametrize("profile", [None, {}])
def test_a_fixed_model_runs_once(profile):
    assert distinct_points(profile) == ("opt",)
