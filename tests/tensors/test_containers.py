from __future__ import annotations

import numpy as np
import pytest

from pytest_trt.tensors.containers import description, items_of, shapes_text
from pytest_trt.tensors.spec import TensorSpec

_A, _B = np.zeros((2, 3), np.float32), np.arange(2)


def _items(value, dtype="float32"):
    return items_of({"s": value}, [TensorSpec("s", dtype, None)])


def test_tensors_are_what_they_are():
    found = items_of({"a": _A, "b": _B}, ())

    assert found.tensors["a"] is _A
    assert list(found.tensors) == ["a", "b"]
    assert not found.owners


@pytest.mark.parametrize("value", [None, []])
def test_what_holds_nothing_has_no_items(value):
    assert _items(value).tensors == {}


def test_a_sequence_has_items_and_each_knows_its_owner():
    found = _items([_A, _B], "sequence(float32)")

    assert list(found.tensors) == ["s[0]", "s[1]"]
    assert found.tensors["s[1]"] is _B
    assert found.owners == {"s[0]": "s", "s[1]": "s"}
    assert list(_items([[_A], [], [_B]]).tensors) == ["s[0][0]", "s[2][0]"]


def test_maps_with_the_same_keys_are_one_tensor_of_their_values():
    rows = [{"dog": 0.25, "cat": 0.75}, {"cat": 0.5, "dog": 0.5}]
    found = _items(rows, "sequence(map(string, float32))")

    assert found.tensors["s.keys"].tolist() == [["cat", "dog"]]
    assert found.tensors["s"].tolist() == [[0.75, 0.25], [0.5, 0.5]]
    assert found.tensors["s"].dtype == np.float32
    assert found.keys == {"s.keys"}


def test_a_map_is_one_row():
    found = _items({3: 1, 1: 2}, "map(int64, int64)")

    assert found.tensors["s.keys"].tolist() == [1, 3]
    assert found.tensors["s"].tolist() == [2, 1]


def test_maps_with_other_keys_are_compared_one_by_one():
    found = _items([{"a": 1.0}, {"b": 1.0}, {}], "sequence(map(string, float32))")

    assert [name for name in found.tensors if name not in found.keys] == ["s[0]", "s[1]", "s[2]"]


def test_maps_of_text_and_of_tensors_are_compared_too():
    assert _items({"a": "x"}, "map(string, string)").tensors["s"].tolist() == ["x"]
    assert list(_items({"a": _A, "b": _B}).tensors) == ["s['a']", "s['b']"]


def test_an_output_that_has_the_name_of_an_item_hides_none():
    found = items_of({"s": [_A, _B], "s[0]": _B}, ())

    assert list(found.tensors) == ["s[0]'", "s[1]", "s[0]"]


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, "absent"),
        (_A, "[2, 3]"),
        ([_A], "with 1 item"),
        ({}, "with 0 items"),
        (np.float32(1), "[]"),
    ],
)
def test_a_value_is_described_by_its_shape_or_its_items(value, text):
    assert description(value) == text


def test_values_count_where_they_decide_how_much_is_computed():
    specs = [TensorSpec("x", "float32", (2, 3)), TensorSpec("size", "int64", (2,))]
    inputs = {"x": _A, "size": np.array([8, 16])}
    assert shapes_text(specs, inputs) == "x [2, 3], size [2]"
    assert shapes_text(specs, inputs, sizes=["size"]) == "x [2, 3], size [2] = [8, 16]"
