"""Injected errors do what their names say, for any output and tolerance."""

from __future__ import annotations

import ml_dtypes
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from pytest_trt.accuracy.compare import compare_outputs
from pytest_trt.accuracy.tolerance import Tolerance
from pytest_trt.selftest.outputs import Injection, inject_errors

FLOATS = st.sampled_from([np.float16, np.float32, np.float64])


def outcomes(reference: np.ndarray, tolerance: Tolerance) -> list[tuple[Injection, bool]]:
    outputs, tolerances = {"y": reference.copy()}, {"y": tolerance}
    return [
        (one, not compare_outputs(one.outputs, {"y": reference}, tolerances).passed)
        for one in inject_errors(outputs, {"y": reference}, tolerances)
    ]


@given(
    reference=FLOATS.flatmap(
        lambda dtype: arrays.arrays(
            dtype, arrays.array_shapes(max_dims=3), elements=st.floats(-100, 100, width=16)
        )
    ),
    rtol=st.sampled_from([0.0, 1e-5, 1e-3, 0.05]),
    atol=st.sampled_from([0.0, 1e-6, 1e-3, 0.5]),
    may_be_off=st.sampled_from([0.0, 10.0, 50.0]),
)
def test_checks_that_can_fail_do_as_they_must(
    reference: np.ndarray, rtol: float, atol: float, may_be_off: float
) -> None:
    tolerance = Tolerance(rtol, atol, max_mismatch_pct=may_be_off)
    found = outcomes(reference, tolerance)
    assert {one.must_fail for one, _ in found} == {True, False}
    # An output whose whole range is within the tolerance is what a check cannot see.
    seen = [(one, failed) for one, failed in found if "range" not in one.what]
    assert all(one.must_fail == failed for one, failed in seen)


@pytest.mark.parametrize(
    "reference",
    [
        np.array([1, 2, 3], np.int64),
        np.array([0, 255, 128], np.uint8),
        np.array([True, False]),
        np.array(["cat", "dog"], object),
        np.array([1 + 2j, -3j], np.complex64),
        np.zeros(4, np.float32),
        np.array([0.1, np.inf, np.nan], np.float32),
        *(
            np.array([1, 0.5, 1], np.float32).astype(getattr(ml_dtypes, name))
            for name in (
                *("bfloat16", "float8_e4m3fn", "float8_e5m2", "float8_e8m0fnu"),
                *("float4_e2m1fn", "int4", "uint4", "int2", "uint2"),
            )
        ),
    ],
    ids=lambda array: array.dtype.name,
)
def test_errors_of_the_whole_range_are_found_in_every_type(reference: np.ndarray) -> None:
    found = outcomes(reference, Tolerance(1e-3, 1e-3, nan="match"))
    (gross,) = [failed for one, failed in found if one.what == "errors as large as its range"]
    assert gross


def test_a_tolerance_that_allows_anything_is_seen_by_no_gross_error() -> None:
    found = outcomes(np.linspace(-1, 1, 9, dtype=np.float32), Tolerance(0.0, 1e9))
    assert [one.what for one, failed in found if one.must_fail != failed] == [
        "errors as large as its range"
    ]


def test_a_check_that_compares_nothing_fails_and_is_not_ineffective() -> None:
    nothing = np.full(4, np.nan, np.float32)
    found = outcomes(nothing, Tolerance(1e-3, 1e-3, nan="ignore"))
    assert [failed for one, failed in found if one.must_fail] == [True]


def test_ignoring_nan_accepts_an_output_of_which_most_is_nan() -> None:
    mostly = np.array([np.nan, 1.0, 1.0], np.float32)
    found = outcomes(mostly, Tolerance(1e-3, 1e-3, nan="ignore"))
    assert all(one.must_fail == failed for one, failed in found)


def test_what_a_metric_may_fail_for_and_what_was_not_compared_is_not_injected() -> None:
    reference = {"y": np.ones(4), "z": np.ones(4), "none": np.ones(0), "shape": np.ones(4)}
    outputs = {"y": np.ones(4), "none": np.ones(0), "shape": np.ones(3)}
    tolerances = dict.fromkeys(reference, Tolerance(0.01, 0.01))
    found = list(inject_errors(outputs, reference, tolerances, metrics=True))
    assert {one.output for one in found} == {"y"}
    assert all(one.must_fail for one in found)
    assert len(found) < len(list(inject_errors(outputs, reference, tolerances)))


def test_only_one_output_is_altered_at_a_time() -> None:
    reference = {"a": np.ones(2, np.float32), "b": np.ones(2, np.float32)}
    tolerances = dict.fromkeys(reference, Tolerance(1e-3, 1e-3))
    for one in inject_errors(reference, reference, tolerances):
        (other,) = reference.keys() - {one.output}
        assert one.outputs[other] is reference[other]
        assert not np.array_equal(one.outputs[one.output], reference[one.output])
