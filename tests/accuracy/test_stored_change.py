"""Changes between stored outputs, whole ones and sketches."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from pytest_trt.accuracy.sketch import sketch_of
from pytest_trt.accuracy.stored_change import stored_change


def output(shape: tuple[int, ...] = (64, 1000)) -> np.ndarray:
    return np.random.default_rng(0).standard_normal(shape).astype(np.float32)


def kept(array: np.ndarray, size: int):
    return sketch_of(array, size) if size else array


#: Whole outputs, and sketches of two sizes, on either side.
KINDS = [pair for pair in itertools.product((0, 20_000, 40_000), repeat=2) if any(pair)]


@pytest.mark.parametrize(("before", "after"), KINDS)
def test_a_change_of_everything_is_seen_by_every_kind(before: int, after: int) -> None:
    old = output()
    change = stored_change(kept(old, before), kept(-old, after))
    assert not change.why
    assert not change.within
    assert change.flips == change.rows > 0
    assert change.share > 0
    assert not stored_change(kept(old, before), kept(old + np.float32(0.1), after)).within


@pytest.mark.parametrize(("before", "after"), KINDS)
def test_what_is_the_same_is_within(before: int, after: int) -> None:
    old = output()
    change = stored_change(kept(old, before), kept(old.copy(), after))
    assert change.within
    assert (change.largest, change.mean, change.flips) == (None, 0.0, 0)


def test_a_change_between_the_samples_shows_in_extremes_and_nonfinite_elements() -> None:
    old = output()
    unsampled = np.setdiff1d(np.arange(old.size), sketch_of(old, 20_000).places)[100]
    for value in (1000.0, np.nan):
        new = old.copy()
        new.reshape(-1)[unsampled] = value
        change = stored_change(sketch_of(old, 20_000), sketch_of(new, 20_000))
        assert not change.within
        assert change.largest is None


def test_the_place_is_that_in_the_whole_output() -> None:
    old = output()
    place = int(sketch_of(old, 20_000).places[7])
    new = old.copy()
    new.reshape(-1)[place] += 3
    for pair in ((old, new), (sketch_of(old, 20_000), sketch_of(new, 20_000))):
        largest = stored_change(*pair).largest
        assert largest is not None
        assert np.ravel_multi_index(largest.index, old.shape) == place


def test_ties_are_no_flips() -> None:
    old = np.array([[1, 1, 0], [1, 0, 0]], np.float32)
    new = np.array([[0, 1, 0], [0, 1, 0]], np.float32)
    change = stored_change(old, new)
    assert (change.rows, change.flips) == (2, 1)


@pytest.mark.parametrize(
    ("old", "new", "why"),
    [
        (np.zeros((2, 3)), np.zeros((3, 2)), "shape [2, 3] -> [3, 2]"),
        (np.zeros(2), np.zeros(2, np.float32), "dtype float64 -> float32"),
    ],
)
def test_other_forms_are_not_comparable(old: np.ndarray, new: np.ndarray, why: str) -> None:
    assert stored_change(old, new).why == why


@pytest.mark.parametrize(
    "old",
    [
        np.array(["cat", "dog"]),
        np.array([1 + 2j, 3]),
        np.zeros((0, 4)),
        np.array(3),
        np.ones(3, bool),
    ],
)
def test_other_elements_are_compared_too(old: np.ndarray) -> None:
    assert stored_change(old, old.copy()).within
    if old.size:
        new = np.array(["cat", "horse"]) if old.dtype.kind == "U" else np.zeros_like(old)
        assert not stored_change(old, new).within
