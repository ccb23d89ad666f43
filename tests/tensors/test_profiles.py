from __future__ import annotations

import re

import numpy as np
import pytest
from builders_model import remedy
from hypothesis import given
from hypothesis import strategies as st

from pytest_trt.diagnostics import ConfigurationError
from pytest_trt.tensors.profiles import ShapeRange, example_profiles, parse_profiles
from pytest_trt.tensors.spec import TensorSpec

_IMAGE = TensorSpec("image", "float32", ("batch", 3, "height"))
_IDS = TensorSpec("ids", "int64", ("batch", "sequence"))
_FIXED = TensorSpec("anchors", "float32", (4, 2))
_SCALAR = TensorSpec("scale", "float32", ())
_SEQUENCE = TensorSpec("list", "sequence(float32)", None)
_UNRANKED = TensorSpec("any", "float32", None)

_RANGE = ((1, 3, 32), (8, 3, 64), (32, 3, 128))
_PARSED = ShapeRange(*_RANGE)


def _parse(raw, *inputs):
    return parse_profiles(raw, inputs or (_IMAGE,), where="the marker")


def _refused(raw, match, *inputs):
    with pytest.raises(ConfigurationError, match=match) as caught:
        _parse(raw, *inputs)
    assert caught.value.message.startswith("the marker")
    return remedy(caught.value)


@pytest.mark.parametrize(
    "given_range",
    [
        _RANGE,
        [list(shape) for shape in _RANGE],
        ShapeRange(*_RANGE),
        dict(zip(("min", "opt", "max"), _RANGE, strict=True)),
        tuple(tuple(map(np.int64, shape)) for shape in _RANGE),
    ],
    ids=["tuples", "lists", "ShapeRange", "mapping", "numpy ints"],
)
def test_every_form_of_a_range_becomes_the_same_value(given_range):
    (profile,) = _parse({"image": given_range})

    assert profile == {"image": _PARSED}
    assert all(type(dim) is int for dim in profile["image"].max)


def test_one_shape_is_all_three():
    shape = (8, 3, 64)

    assert _parse({"image": shape}) == ({"image": ShapeRange(shape, shape, shape)},)
    assert _parse({"image": [np.int32(8), 3, 64]}) == _parse({"image": shape})


@pytest.mark.parametrize("raw", [None, [], {}, [{}]])
def test_no_profile_is_none_where_none_is_needed(raw):
    assert _parse(raw, _FIXED) == ()


def test_profiles_are_not_demanded_until_they_are_used():
    assert _parse(None) == ()


def test_several_profiles_keep_their_order():
    small, large = {"image": (1, 3, 32)}, {"image": (32, 3, 32)}

    assert [p["image"].opt[0] for p in _parse([small, large])] == [1, 32]


def test_inputs_come_in_the_models_order():
    (profile,) = _parse({"ids": (1, 8), "image": _RANGE}, _IMAGE, _IDS)

    assert list(profile) == ["image", "ids"]


def test_fixed_inputs_may_be_given_or_left_out():
    assert list(_parse({"image": _RANGE}, _IMAGE, _FIXED)[0]) == ["image"]
    assert list(_parse({"image": _RANGE, "anchors": (4, 2)}, _IMAGE, _FIXED)[0]) == [
        "image",
        "anchors",
    ]


@pytest.mark.parametrize("raw", [(), ((), (), ())])
def test_scalars_have_an_empty_shape(raw):
    assert _parse({"scale": raw}, _SCALAR) == ({"scale": ShapeRange((), (), ())},)


def test_inputs_without_any_shape_need_no_profile():
    assert _parse({"image": _RANGE}, _IMAGE, _SEQUENCE) == ({"image": _PARSED},)


def test_empty_dimensions_are_allowed():
    assert _parse({"image": ((0, 3, 1), (1, 3, 1), (1, 3, 1))})[0]["image"].min == (0, 3, 1)


def test_an_unknown_name_lists_the_known_and_the_closest():
    fix = _refused({"imgae": _RANGE}, "no input 'imgae'", _IMAGE, _IDS)

    assert fix == "Did you mean 'image'?"


def test_a_missing_dynamic_input_is_named_and_the_example_can_be_pasted():
    fix = _refused({"image": _RANGE}, "no range of shapes .* 'ids'", _IMAGE, _IDS, _FIXED)

    pasted = re.search(r"profiles=(\{.*\})", fix)
    (profile,) = _parse(eval(pasted[1]), _IMAGE, _IDS, _FIXED)
    assert list(profile) == ["image", "ids"]


def test_a_missing_input_of_one_of_several_profiles_says_which():
    _refused(
        [{"image": _RANGE}, {}],
        "the marker, profile 1: no range of shapes .* 'image'",
    )


@pytest.mark.parametrize(
    ("shapes", "match"),
    [
        ([(9, 3, 32), (8, 3, 64), (32, 3, 128)], "opt is 8 in dimension 0, below min \\(9\\)"),
        ([(1, 3, 32), (8, 3, 64), (32, 3, 63)], "max is 63 in dimension 2, below opt \\(64\\)"),
        ([(1, 3), (8, 3, 64), (32, 3, 128)], r"min: \(1, 3\) has 2 dimensions; .* has 3"),
        ([(1, 3, 32), (8, 1, 64), (32, 3, 128)], "opt: dimension 1 is 1, but .* fixes it at 3"),
        ([(-1, 3, 32), (8, 3, 64), (32, 3, 128)], "min, dimension 0: -1 is not a size"),
        ([(True, 3, 32), (8, 3, 64), (32, 3, 128)], "True is not a size"),
        ([(1.0, 3, 32), (8, 3, 64), (32, 3, 128)], "1.0 is not a size"),
        ([(1, 3, 32), (8, 3, 64), (2**63, 3, 128)], "9223372036854775808 is not a size"),
        ([1, (8, 3, 64), (32, 3, 128)], "min: 1 is not a shape"),
        ([(1, 3, 32), (8, 3, 64)], "neither one shape nor three"),
        ("batch", "neither one shape nor three"),
        ({"min": (1, 3, 32)}, "neither one shape nor three"),
        (7, "neither one shape nor three"),
    ],
)
def test_wrong_ranges_are_refused_with_the_values(shapes, match):
    _refused({"image": shapes}, f"input 'image'.*{match}")


def test_a_fixed_input_must_be_given_as_the_model_has_it():
    _refused({"anchors": (5, 2)}, "dimension 0 is 5, but .* fixes it at 4", _FIXED)


def test_numbers_and_their_words_agree():
    line = TensorSpec("line", "float32", ("n",))
    assert _refused({"line": (2, 3)}, r"2 dimensions; .* has 1", line) == "Give 1 integer."
    assert _refused({"image": (2,)}, r"\(2,\) has 1 dimension; .* has 3") == "Give 3 integers."


def test_ranks_must_agree_where_the_model_gives_none():
    _refused({"any": ((1,), (1, 2), (1, 2))}, "number of dimensions", _UNRANKED)
    assert _parse({"any": ((1,), (2,), (3,))}, _UNRANKED)[0]["any"].max == (3,)


@pytest.mark.parametrize("raw", ["image", 3, [_RANGE]])
def test_anything_but_a_mapping_is_refused(raw):
    assert "profiles={" in _refused(raw, "is not a mapping")


_shapes = st.tuples(st.integers(0, 64), st.just(3), st.integers(0, 64))


@given(_shapes, _shapes, _shapes)
def test_a_range_is_accepted_exactly_when_it_ascends(low, opt, high):
    ascends = all(a <= b <= c for a, b, c in zip(low, opt, high, strict=True))
    try:
        parsed = _parse({"image": (low, opt, high)})
    except ConfigurationError:
        assert not ascends
    else:
        assert ascends
        assert parsed == ({"image": ShapeRange(low, opt, high)},)


@pytest.mark.parametrize(
    ("shapes", "expected"),
    [
        (
            [("batch", "sequence"), (2, "batch", 128)],
            [[(1, 32), (8, 128), (32, 256)], [(2, 1, 128), (2, 8, 128), (2, 32, 128)]],
        ),
        ([("sequence", "batch")], [[(1, 32), (8, 128), (32, 256)]]),
        ([(3, "n"), ("n", "n")], [[(3, 1), (3, 8), (3, 32)], [(1, 1), (8, 8), (32, 32)]]),
        ([("n", 3), ("m", 3)], [[(1, 3), (8, 3), (32, 3)], [(32, 3), (128, 3), (256, 3)]]),
        ([("?", "?"), (4, "?")], [[(1, 32), (8, 128), (32, 256)], [(4, 32), (4, 128), (4, 256)]]),
        (
            [("?", "?"), (2, "?", 9)],
            [[(1, 32), (8, 128), (32, 256)], [(2, 1, 9), (2, 8, 9), (2, 32, 9)]],
        ),
        ([(1, "?", 9)], [[(1, 32, 9), (1, 128, 9), (1, 256, 9)]]),
        ([("?", "length")], [[(1, 32), (8, 128), (32, 256)]]),
        ([None, ("n",)], [[(1,), (8,), (32,)], [(1,), (8,), (32,)]]),
    ],
    ids=[
        "recurrent",
        "any name",
        "twice",
        "two symbols",
        "nameless",
        "state",
        "one row",
        "mixed",
        "no rank",
    ],
)
def test_an_example_gives_a_symbol_the_same_size_everywhere(shapes, expected):
    inputs = [TensorSpec(f"x{index}", "float32", shape) for index, shape in enumerate(shapes)]
    text = example_profiles([*inputs, _FIXED])

    raw = eval(text.removeprefix("profiles="))
    assert [[tuple(shape) for shape in shapes] for shapes in raw.values()] == expected
    parse_profiles(raw, inputs, where="the example")
