from __future__ import annotations

import ast

import numpy as np
import pytest

from pytest_trt.accuracy.compare import compare_outputs
from pytest_trt.accuracy.explanation import explain
from pytest_trt.accuracy.tolerance import Tolerance

LOOSE = Tolerance(0.01, 0.01, origin="marker")


def fix_for(actual, reference, tolerance=LOOSE, precision="fp16"):
    sides = ({"y": np.asarray(actual)}, {"y": np.asarray(reference)})
    comparison = compare_outputs(*sides, {"y": tolerance})
    return explain(comparison, subject="m", precision=precision)[-1]


def offered(fix):
    found = fix.partition("allow it: outputs=")[2]
    return ast.literal_eval(found.rstrip("."))["y"] if found else None


@pytest.mark.parametrize("precision", ["fp32", "fp16", "int8", None])
@pytest.mark.parametrize(
    ("actual", "reference"),
    [
        ([0.99, 0.0], [0.0, 0.99]),
        ([0.06, 0.0], [1.0, 0.1]),
        ([0.0, 0.0], [5.0, 4.0]),
    ],
)
def test_a_tolerance_that_would_disable_the_test_is_not_offered(actual, reference, precision):
    fix = fix_for(actual, reference, precision=precision)
    assert offered(fix) is None
    if "hardly rounding" not in fix:
        assert "no tolerance that still tests anything would pass: 'y' would need atol=" in fix
    assert "preprocessed inputs" in fix


def test_it_is_not_offered_where_it_is_only_slightly_more_than_given_either():
    assert offered(fix_for([0.7, 0.0], [0.0, 1.0], Tolerance(0.0, 0.4))) is None


@pytest.mark.parametrize(("precision", "allowed"), [("fp16", False), (None, False), ("int8", True)])
def test_what_the_precision_is_known_for_decides_near_the_spread(precision, allowed):
    fix = fix_for([7.0, 7.0], [10.0, 10.0], Tolerance(0.0, 0.5), precision=precision)
    assert (offered(fix) is not None) is allowed


def test_honest_tolerances_are_offered():
    assert offered(fix_for([1.0505, 2.0], [1.0, 2.0])) == {"rtol": 0.01, "atol": 0.041}
    assert offered(fix_for([101.5, 5.0], [100.0, 5.0])) == {"rtol": 0.015, "atol": 0.01}


def test_the_other_part_is_raised_where_one_would_disable_the_test():
    tolerance = Tolerance(rtol=0.01, atol=0.0001)
    fix = fix_for([100.0, 0.06], [100.0, 1.0], tolerance)
    assert "hardly rounding" not in fix
    assert offered(fix) == {"rtol": 0.01, "atol": 0.94}


def test_an_output_that_is_zero_everywhere_is_judged_by_the_default_alone():
    assert offered(fix_for([0.0205], [0.0])) == {"rtol": 0.01, "atol": 0.021}
    assert offered(fix_for([0.2], [0.0])) is None


def test_nothing_is_offered_where_one_of_two_outputs_cannot_be_helped():
    reference = {"a": np.array([1.0, 2.0]), "b": np.array([1.0, 0.0])}
    actual = {"a": np.array([1.05, 2.0]), "b": np.array([0.0, 0.9])}
    comparison = compare_outputs(actual, reference, dict.fromkeys(reference, LOOSE))
    fix = explain(comparison, subject="m", precision="fp16")[-1]
    assert "outputs=" not in fix
    assert "'b' would need" in fix
    assert "'a' would need" not in fix
