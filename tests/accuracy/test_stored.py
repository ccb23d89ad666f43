"""Outputs against stored ones and sketches of them."""

from __future__ import annotations

import math
from dataclasses import replace
from fnmatch import fnmatchcase

import numpy as np
import pytest

from pytest_trt.accuracy.explanation import explain
from pytest_trt.accuracy.sketch import LEAST_SAMPLE, sketch_from, sketch_of, sketch_parts
from pytest_trt.accuracy.stored import compare_stored, unchecked
from pytest_trt.accuracy.tolerance import Tolerance

CLOSE = Tolerance(rtol=1e-2, atol=1e-2)


def output(shape: tuple[int, ...] = (64, 1000)) -> np.ndarray:
    return np.random.default_rng(0).standard_normal(shape).astype(np.float32)


def compared(actual: np.ndarray, reference: np.ndarray, tolerance: Tolerance = CLOSE, size=20_000):
    sketch = sketch_of(reference, size)
    return compare_stored({"o": actual}, {"o": sketch}, {"o": tolerance})


def test_an_unchanged_output_passes() -> None:
    reference = output()
    comparison = compared(reference + 0.005, reference, Tolerance(1e-2, 1e-2, cosine=0.99, top1=1))
    assert comparison.passed
    assert LEAST_SAMPLE <= comparison.outputs[0].sampled < reference.size


def test_outputs_that_fail_together_are_each_explained_and_not_looked_for_in_each_other() -> None:
    one = output()
    actual = {"a": one + 1, "b": one + 2}
    stored = {name: sketch_of(one, 20_000) for name in actual}
    comparison = compare_stored(actual, stored, dict.fromkeys(actual, CLOSE))
    assert [each.passed for each in comparison.outputs] == [False, False]
    assert not comparison.findings


@pytest.mark.parametrize("share", [0.01, 0.1, 1.0])
def test_a_share_of_changed_elements_fails(share: float) -> None:
    reference = output()
    actual = reference.copy()
    places = np.random.default_rng(1).choice(actual.size, int(share * actual.size), replace=False)
    actual.reshape(-1)[places] += 0.1
    assert not compared(actual, reference).passed


@pytest.mark.parametrize(
    "wrong",
    [
        pytest.param(lambda a: np.put(a, 777, np.nan), id="NaN"),
        pytest.param(lambda a: np.put(a, 777, np.inf), id="infinity"),
        pytest.param(lambda a: np.put(a, 777, 1e6), id="large"),
        pytest.param(lambda a: np.put(a, 777, -1e6), id="small"),
        pytest.param(lambda a: np.put(a, range(1000), 9), id="row"),
    ],
)
def test_what_is_not_sampled_shows_in_the_exact_statistics(wrong) -> None:
    reference = output()
    actual = reference.copy()
    wrong(actual)
    assert not compared(actual, reference, size=1).passed


def test_the_extreme_that_differs_is_named_with_its_place() -> None:
    reference = output()
    actual = reference.copy()
    actual[3, 5] = 1e6
    worst = compared(actual, reference, size=1).outputs[0].worst_used
    assert worst is not None
    assert worst.index == (3, 5)
    assert worst.actual == 1e6


@pytest.mark.parametrize(("nan", "passed"), [("forbid", False), ("match", True), ("ignore", True)])
def test_nan_on_both_sides_follows_the_policy(nan, passed) -> None:
    reference = output()
    reference[5, :50] = np.nan
    assert compared(reference, reference, Tolerance(1e-2, 1e-2, nan=nan)).passed is passed


def test_nan_elsewhere_do_not_match() -> None:
    reference = output()
    actual = reference.copy()
    reference[5, 1] = actual[60, 7] = np.nan
    assert not compared(actual, reference, Tolerance(1e-2, 1e-2, nan="match")).passed


def test_mismatches_are_allowed_where_the_tolerance_says_so() -> None:
    reference = output()
    actual = reference.copy()
    places = np.random.default_rng(1).choice(actual.size, actual.size // 100, replace=False)
    actual.reshape(-1)[places] += 1
    assert compared(actual, reference, Tolerance(1e-2, 1e-2, max_mismatch_pct=1.0)).passed
    actual.reshape(-1)[: actual.size // 10] += 1
    assert not compared(actual, reference, Tolerance(1e-2, 1e-2, max_mismatch_pct=1.0)).passed


def test_rankings_are_compared_by_the_largest_of_rows() -> None:
    reference = output()
    loose = {"rtol": 1e3, "atol": 1e3}
    assert compared(reference, reference, Tolerance(**loose, top1=1.0, topk=(5, 1.0))).passed
    reversed_ = -reference
    assert not compared(reversed_, reference, Tolerance(**loose, top1=0.5)).passed
    assert not compared(reversed_, reference, Tolerance(**loose, topk=(5, 0.5))).passed


@pytest.mark.parametrize(
    ("limit", "size", "has"), [({"topk": (50, 0.5)}, 20_000, "10"), ({"top1": 0.5}, 1, "none")]
)
def test_a_ranking_that_the_sketch_does_not_have_is_refused(limit, size, has) -> None:
    reference = output()
    comparison = compared(reference, reference, Tolerance(1e-2, 1e-2, **limit), size)
    assert comparison.kinds == {"not stored"}
    assert f"the sketch has {has}" in comparison.outputs[0].findings[0].text
    found = explain(comparison)
    assert found.code == "TRT679"
    assert "--trt-answers-size=256KB" in found.remedy.commands[0]  # 64 * 1000 * 4 bytes


def test_a_ranking_of_a_scalar_is_not_a_matter_of_size() -> None:
    reference = output((64_000, 1))
    comparison = compared(reference, reference, Tolerance(1e-2, 1e-2, top1=1.0))
    assert comparison.kinds == {"not applicable"}


@pytest.mark.parametrize(
    ("limits", "expected"),
    [
        ({}, ["fewer than * of them may be missed"]),
        ({"max_mismatch_pct": 1.0}, ["max_mismatch_pct was estimated from *"]),
        ({"cosine": 0.9, "elementwise": False}, ["cosine is that of * of 64,000 elements *"]),
        ({"top1": 1.0, "topk": (5, 1.0), "elementwise": False}, ["top1 and top5 * 31 of 64 rows"]),
        ({"elementwise": False}, []),
    ],
)
def test_what_a_sketch_shows_in_part_is_named(limits, expected) -> None:
    reference = output()
    (result,) = compared(reference, reference, Tolerance(1e-2, 1e-2, **limits)).outputs
    lines = list(unchecked(result))
    assert len(lines) == len(expected)
    for line, pattern in zip(lines, expected, strict=True):
        assert fnmatchcase(line, f"*{pattern}*"), line


def test_nothing_is_missed_of_outputs_stored_whole_or_sampled_in_full() -> None:
    reference = output((4, 100))
    tolerance = Tolerance(1e-2, 1e-2, top1=1.0, max_mismatch_pct=1.0, cosine=0.9)
    whole = compare_stored({"o": reference}, {"o": reference}, {"o": tolerance})
    assert list(unchecked(whole.outputs[0])) == []
    sketch = compared(reference, reference, replace(tolerance, top1=None), size=1)
    assert list(unchecked(sketch.outputs[0])) == []


@pytest.mark.parametrize("other", [np.float64, np.int32])
def test_another_dtype_or_shape_fails(other) -> None:
    reference = output()
    assert not compared(reference.astype(other), reference).passed
    assert not compared(reference[:-1], reference).passed


@pytest.mark.parametrize("dtype", ["int64", "bool", "complex64", "float16", "str"])
def test_sketches_are_of_every_kind_of_element(dtype: str) -> None:
    values = (output() * 100).astype(np.int64)
    reference = values.astype(str) if dtype == "str" else values.astype(dtype)
    exact = Tolerance(0, 0)
    assert compared(reference, reference, exact).passed
    actual = np.roll(reference, 1)
    assert not compared(actual, reference, exact).passed


def test_layout_does_not_matter() -> None:
    reference = output()
    assert compared(np.asfortranarray(reference), np.asfortranarray(reference)).passed
    assert compared(np.asfortranarray(reference), reference).passed


def test_a_sketch_is_its_parts() -> None:
    sketch = sketch_of(output(), 20_000)
    parts = sketch_parts(sketch)
    assert sum(part.nbytes for part in parts.values()) <= 20_000
    again = sketch_from((64, 1000), "float32", parts)
    assert compare_stored({"o": output()}, {"o": again}, {"o": CLOSE}).passed


@pytest.mark.parametrize(
    "damage",
    [
        lambda parts: parts.pop("sums"),
        lambda parts: parts.update(places=parts["places"] + 10**9),
        lambda parts: parts.update(places=parts["places"][:0], values=parts["values"][:0]),
        lambda parts: parts.update(sums=parts["sums"][1:]),
        lambda parts: parts.update(tops=parts["tops"].astype(np.float64)),
        lambda parts: parts.update(rows=parts["rows"] - 99),
    ],
)
def test_parts_of_something_else_are_refused(damage) -> None:
    parts = sketch_parts(sketch_of(output(), 20_000))
    damage(parts)
    with pytest.raises(ValueError, match=r"."):
        sketch_from((64, 1000), "float32", parts)


def test_every_element_within_its_tolerance_passes_whatever_the_blocks_add_up_to() -> None:
    rng = np.random.default_rng(3)
    for _ in range(50):
        reference = rng.standard_normal(5000) * 10.0 ** rng.integers(-3, 4)
        allowed = 1e-3 + 1e-2 * np.abs(reference)
        actual = reference + allowed * rng.uniform(-1, 1, 5000) * rng.choice([0.2, 0.999])
        actual = reference + np.abs(actual - reference) if rng.random() < 0.5 else actual
        assert compared(actual, reference, Tolerance(1e-2, 1e-3), size=1).passed


def test_recall_of_one_percent_is_as_documented() -> None:
    reference = output((20_000,))
    sketch, rng = sketch_of(reference, 1), np.random.default_rng(4)
    assert sketch.places.size == LEAST_SAMPLE
    assert math.isclose(sketch.smallest_share, 0.009, rel_tol=0.01)
    missed = 0
    for _ in range(300):
        actual = reference.copy()
        places = rng.choice(actual.size, actual.size // 100, replace=False)
        actual[places] += rng.choice([-0.1, 0.1], places.size)
        missed += compare_stored({"o": actual}, {"o": sketch}, {"o": CLOSE}).passed
    assert missed <= 3 + 7  # 1% of 300, and what chance adds with a probability of 0.1%
