from __future__ import annotations

import json
import re

import numpy as np
import pytest
from builders_model import remedy
from hypothesis import given
from hypothesis import strategies as st

from pytest_trt.diagnostics import ConfigurationError
from pytest_trt.tensors.profiles import (
    ShapeRange,
    parse_profiles,
    profile_from_json,
    profile_to_json,
)
from pytest_trt.tensors.spec import TensorSpec
from pytest_trt.tensors.value_ranges import ValueRange, example_values

_IMAGE = TensorSpec("image", "float32", (1, 3, "height", "width"))
_SIZE = TensorSpec("size", "int64", (2,))
_ONE = TensorSpec("end", "int64", (1,))
_SCALAR = TensorSpec("count", "int64", ())
_OPEN = TensorSpec("size", "int64", ("rank",))
_INT32 = TensorSpec("size", "int32", (2,))

_RANGE = ((8, 8), (16, 24), (32, 32))
_PARSED = ValueRange(*_RANGE)


def _parse(values, spec=_SIZE):
    return parse_profiles({spec.name: {"values": values}}, (spec,), where="the marker")


def _refused(raw, match, spec=_SIZE):
    with pytest.raises(ConfigurationError, match=match) as caught:
        parse_profiles({spec.name: raw}, (spec,), where="the marker")
    assert caught.value.message.startswith(f"the marker, input {spec.name!r}")
    return remedy(caught.value)


@pytest.mark.parametrize(
    "values",
    [
        _RANGE,
        [list(point) for point in _RANGE],
        dict(zip(("min", "opt", "max"), _RANGE, strict=True)),
        tuple(tuple(map(np.int64, point)) for point in _RANGE),
    ],
    ids=["tuples", "lists", "mapping", "numpy ints"],
)
def test_every_form_of_a_range_becomes_the_same_value(values):
    ((name, parsed),) = _parse(values)[0].items()

    assert (name, parsed) == ("size", _PARSED)
    assert all(type(value) is int for value in parsed.max)


def test_a_parsed_range_is_taken_again():
    assert parse_profiles({"size": _PARSED}, (_SIZE,), where="again") == ({"size": _PARSED},)


def test_one_set_of_values_is_all_three_points():
    assert _parse((8, 16)) == ({"size": ValueRange((8, 16), (8, 16), (8, 16))},)


@pytest.mark.parametrize("spec", [_SCALAR, _ONE], ids=["scalar", "one element"])
@pytest.mark.parametrize("values", [(1, 4, 8), ((1,), (4,), (8,)), {"min": 1, "opt": 4, "max": 8}])
def test_one_value_needs_no_tuple(spec, values):
    assert _parse(values, spec) == ({spec.name: ValueRange((1,), (4,), (8,))},)


@pytest.mark.parametrize("spec", [_SCALAR, _ONE], ids=["scalar", "one element"])
@pytest.mark.parametrize("values", [4, (4,)])
def test_one_value_may_be_all_three_points(spec, values):
    assert _parse(values, spec) == ({spec.name: ValueRange((4,), (4,), (4,))},)


def test_values_and_shapes_are_in_the_models_order():
    raw = {"size": {"values": _RANGE}, "image": ((1, 3, 8, 8), (1, 3, 9, 9), (1, 3, 9, 9))}
    (profile,) = parse_profiles(raw, (_IMAGE, _SIZE), where="the marker")

    assert list(profile.items()) == [
        ("image", ShapeRange((1, 3, 8, 8), (1, 3, 9, 9), (1, 3, 9, 9))),
        ("size", _PARSED),
    ]


def test_negative_values_are_allowed():
    assert _parse(((-1, -1), (-1, 0), (-1, 8)))[0]["size"].min == (-1, -1)


def test_an_input_without_a_fixed_length_takes_any_number_but_one_for_all_points():
    assert _parse(((1, 2, 3), (1, 2, 3), (4, 5, 6)), _OPEN)[0]["size"].max == (4, 5, 6)
    _refused({"values": ((1,), (1, 2), (1, 2))}, "differ in their number of values", _OPEN)


@pytest.mark.parametrize(
    ("values", "match"),
    [
        (((9, 8), (8, 8), (9, 9)), "opt is 8 in value 0, below min \\(9\\)"),
        (((8, 8), (8, 9), (8, 8)), "max is 8 in value 1, below opt \\(9\\)"),
        (((8,), (8, 8), (8, 8)), r"min: \(8,\) has length 1; size: int64\[2\] takes 2"),
        (((8, 8, 8), (8, 8), (8, 8)), r"min: \(8, 8, 8\) has length 3; .* takes 2"),
        ((8, 16, 32), r"min: \(8, 16, 32\) has length 3; .* takes 2"),
        ((8, (8, 8), (8, 8)), "min: 8 is not a sequence of values"),
        (((8, 8), (8, 8)), "is not a range of values"),
        ({"min": (8, 8)}, "is not a range of values"),
        (((8.0, 8), (8, 8), (8, 8)), r"min, value 0: 8\.0 is not an integer"),
        (((True, 8), (8, 8), (8, 8)), "min, value 0: True is not an integer"),
        (((8, 8), (8, 8), (8, 1 << 63)), "max, value 1: 9223372036854775808 does not fit int64"),
        ("8, 8", "'8, 8' is not a sequence of values"),
        (None, "None is not a sequence of values"),
    ],
)
def test_wrong_ranges_are_refused_with_the_values(values, match):
    _refused({"values": values}, match)


def test_an_int32_input_takes_no_larger_values_and_an_int64_input_does():
    values = ((1, 1), (1, 1), (1, 1 << 31))

    _refused({"values": values}, "2147483648 does not fit int32", _INT32)
    assert _parse(values)[0]["size"].max == (1, 1 << 31)


def test_other_keys_than_values_are_refused():
    _refused({"values": _RANGE, "shape": (2,)}, "is not a range of values")


@pytest.mark.parametrize(
    ("spec", "match"),
    [
        (TensorSpec("x", "float32", (2,)), r"int32 or int64 .* the model has x: float32\[2\]"),
        (TensorSpec("x", "uint8", (2,)), "int32 or int64"),
        (TensorSpec("x", "bool", (2,)), "int32 or int64"),
        (TensorSpec("x", "int64", (2, 2)), r"at most one dimension; .* x: int64\[2, 2\]"),
        (TensorSpec("x", "int64", None), "at most one dimension"),
    ],
)
def test_inputs_that_hold_no_shape_are_refused(spec, match):
    _refused({"values": _RANGE}, match, spec)


@pytest.mark.parametrize("raw", [_RANGE, {"value": _RANGE}, (8, 8), 8])
def test_values_written_like_shapes_are_refused_with_how_to_write_them(raw):
    fix = _refused(raw, "dimensions|neither|fixes it")

    assert fix.endswith('"size": {"values": ((8, 8), (16, 16), (32, 32))}')


@pytest.mark.parametrize("spec", [_SIZE, _ONE, _SCALAR, _OPEN, _INT32])
def test_an_example_can_be_pasted(spec):
    raw = {spec.name: eval(example_values(spec))}
    (profile,) = parse_profiles(raw, (spec,), where="the example")

    assert profile[spec.name].opt[0] == 16


def test_the_fix_of_a_wrong_range_can_be_pasted():
    fix = _refused({"values": (8, 8, 8)}, "has length 3")

    pasted = re.search(r'"size": (\{.*\})', fix)
    assert _parse(eval(pasted[1])["values"])


def test_profiles_survive_json():
    profile = {"image": ShapeRange((1, 3), (2, 3), (3, 3)), "size": _PARSED}

    assert profile_from_json(json.loads(json.dumps(profile_to_json(profile)))) == profile


_points = st.tuples(st.integers(-4, 64), st.integers(-4, 64))


@given(_points, _points, _points)
def test_a_range_is_accepted_exactly_when_it_ascends(low, opt, high):
    ascends = all(a <= b <= c for a, b, c in zip(low, opt, high, strict=True))
    try:
        parsed = _parse((low, opt, high))
    except ConfigurationError:
        assert not ascends
    else:
        assert ascends
        assert parsed == ({"size": ValueRange(low, opt, high)},)
        assert _parse(eval(str(parsed[0]["size"]))["values"]) == parsed
