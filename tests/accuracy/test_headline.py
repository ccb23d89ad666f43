from __future__ import annotations

import numpy as np
import pytest

from pytest_trt.accuracy.compare import compare_outputs
from pytest_trt.accuracy.explanation import explain
from pytest_trt.accuracy.tolerance import Tolerance
from pytest_trt.units import multiple

ONES = np.ones((2, 4))
LOOSE = Tolerance(0.01, 0.01)
EXACT = Tolerance(0.0, 0.0)

#: What is left of the line after "Failed: " in pytest's short summary at 80 columns.
SURVIVES = 45


def with_values(*values, fill=1.0):
    array = np.full((2, 4), fill)
    array.ravel()[: len(values)] = values
    return array


def headline(actual, reference, tolerance=LOOSE):
    comparison = compare_outputs(actual, reference, dict.fromkeys(reference, tolerance))
    return explain(comparison, subject="digits.onnx in int8 on cpu")[0]


@pytest.mark.parametrize(
    ("actual", "reference", "fact", "failed"),
    [
        ({"a": ONES * 1.173, "b": ONES}, {"a": ONES, "b": ONES}, "a at 8.65x its tolerance", 1),
        ({"a": with_values(1.0200001)}, {"a": ONES}, "a just above its tolerance", 1),
        ({"a": with_values(np.nan)}, {"a": ONES}, "a has NaN", 1),
        ({"a": with_values(-np.inf, np.nan)}, {"a": ONES}, "a has NaN and Inf", 1),
        ({"a": ONES * np.inf, "b": ONES * np.inf}, {"a": ONES, "b": ONES}, "a and b have Inf", 2),
        ({"a": ONES}, {"a": with_values(np.nan)}, "the reference of a is not finite", 1),
        ({"a": ONES.astype("f4")}, {"a": ONES}, "a has another dtype", 1),
        ({"a": ONES[:1], "b": ONES[:1]}, {"a": ONES, "b": ONES}, "a and b have another shape", 2),
        ({"a": with_values(1.0, fill=0.0)}, {"a": ONES * 0}, "a at 100x its tolerance", 1),
    ],
)
def test_the_fact_comes_first(actual, reference, fact, failed):
    of = f"{len(reference)} output{'s' if len(reference) > 1 else ''}"
    expected = f"{fact} (digits.onnx in int8 on cpu): {failed} of {of} failed."
    assert headline(actual, reference) == expected


@pytest.mark.parametrize(
    ("actual", "reference", "fact"),
    [
        ({"a": ONES}, {"a": ONES, "b": ONES}, "b is missing"),
        ({"a": ONES}, {"a": ONES, "b": ONES, "c": ONES}, "b and c are missing"),
        ({"a": ONES, "b": ONES}, {"a": ONES}, "b is not in the reference"),
        ({"a": ONES, "c": ONES}, {"a": ONES, "b": ONES}, "b is missing, c is new"),
    ],
)
def test_a_wrong_set_of_outputs_is_the_fact(actual, reference, fact):
    assert headline(actual, reference) == (
        f"{fact} (digits.onnx in int8 on cpu): the set of outputs is wrong, the values of those "
        "that were compared pass."
    )


@pytest.mark.parametrize(
    ("value", "told"),
    [
        (2.345, "2.35"),
        (999.0, "999"),
        (1250.0, "1,250"),
        (999_999.4, "999,999"),
        (2.5e7, "2.5e+07"),
    ],
)
def test_multiples_have_their_digits(value: float, told: str) -> None:
    assert multiple(value) == told


def test_swapped_outputs_are_the_fact():
    sides = {"a": ONES, "b": ONES + 5}, {"a": ONES + 5, "b": ONES}
    assert headline(*sides).startswith("a and b are swapped (digits.onnx in int8 on cpu): 2 of 2")


@pytest.mark.parametrize(
    ("tolerance", "fact"),
    [
        (EXACT, "label: 1 of 8 differ"),
        (Tolerance(0.01, 0.01, max_mismatch_pct=5), "label: 1 of 8 beyond its tolerance"),
        (Tolerance(9.0, 9.0, top1=0.9), "label: top1 0.5 < 0.9"),
        (Tolerance(9.0, 9.0, topk=(3, 0.9)), "label: top3 0.8333 < 0.9"),
        (Tolerance(9.0, 9.0, cosine=0.999), "label: cosine 0.8695 < 0.999"),
        (Tolerance(9.0, 9.0, topk=(5, 0.9)), "label cannot be checked as asked"),
    ],
)
def test_each_measure_has_its_own_fact(tolerance, fact):
    reference = np.array([[9, 8, 7, 0], [9, 8, 7, 0]])
    actual = np.array([[9, 8, 7, 0], [2, 8, 7, 0]])
    if tolerance.topk == (3, 0.9):
        actual = np.array([[9, 8, 7, 0], [9, 8, 7, 7.5]])
        reference = reference.astype(float)
    assert headline({"label": actual}, {"label": reference}, tolerance).startswith(f"{fact} (")


def test_the_fact_survives_with_names_of_any_length():
    names = [f"StatefulPartitionedCall/model/dense_{i}/BiasAdd:0" for i in range(4)]
    reference = dict.fromkeys(names, ONES)
    far = headline(dict.fromkeys(names, ONES * 1.173), reference)
    assert far.index("8.65x") + len("8.65x") <= SURVIVES
    nan = headline(dict.fromkeys(names, ONES * np.nan), reference)
    assert nan.index("NaN") + len("NaN") <= SURVIVES


def test_two_long_names_that_are_swapped_are_both_told():
    one, other = "StatefulPartitionedCall:0", "StatefulPartitionedCall:1"
    line = headline({one: ONES, other: ONES + 5}, {one: ONES + 5, other: ONES})
    assert line.startswith("State..all:0 and State..all:1 are swapped (")


def test_names_that_differ_at_their_ends_stay_different():
    name = "StatefulPartitionedCall/model/dense/BiasAdd:{}".format
    lines = [headline({name(i): ONES * 2}, {name(i): ONES}) for i in range(2)]
    assert lines[0] != lines[1]


def test_a_pass_begins_with_what_passed():
    assert headline({"a": ONES}, {"a": ONES}) == "digits.onnx in int8 on cpu: 1 of 1 output passed."
