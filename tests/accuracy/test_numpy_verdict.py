"""numpy is the oracle: every verdict is that of `numpy.isclose` on the float64 values."""

from __future__ import annotations

import ml_dtypes
import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from pytest_trt.accuracy.compare import compare_outputs
from pytest_trt.accuracy.elementwise import measure
from pytest_trt.accuracy.tolerance import Tolerance

TOLERANCES = st.sampled_from([0.0, 1e-12, 1e-7, 1e-3, 0.1, 1.0, 3.0])
SPECIAL = [0.0, -0.0, 1.0, -1.0, 1e-3, 65504.0, 1e30, 5e-324, np.inf, -np.inf, np.nan]
SHAPES = hnp.array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=5)
FLOATS = [np.float64, np.float32, np.float16, ml_dtypes.bfloat16, ml_dtypes.float8_e4m3fn]
INTEGERS = [np.int8, np.uint8, np.int32, np.uint32, np.bool_]


@st.composite
def pairs(draw, special: bool = True):
    """Two arrays of one dtype and shape, close to each other in most elements."""
    dtype = draw(st.sampled_from(FLOATS))
    shape = draw(SHAPES)
    values = st.floats(-1e6, 1e6, width=32)
    elements = st.one_of(values, st.sampled_from(SPECIAL if special else SPECIAL[:6]))
    reference = draw(hnp.arrays(np.float64, shape, elements=elements))
    noise = draw(hnp.arrays(np.float64, shape, elements=st.sampled_from([0, 0, 1e-8, 1e-3, 0.5])))
    actual = reference * (1 + noise) + noise
    if special:
        places = draw(hnp.arrays(np.bool_, shape, elements=st.sampled_from([False] * 9 + [True])))
        actual = np.where(places, draw(hnp.arrays(np.float64, shape, elements=elements)), actual)
    with np.errstate(all="ignore"):
        return actual.astype(dtype), reference.astype(dtype)


def close(actual, reference, rtol, atol, **kwargs):
    with np.errstate(all="ignore"):
        return np.isclose(
            actual.astype(np.float64), reference.astype(np.float64), rtol=rtol, atol=atol, **kwargs
        )


def verdict(actual, reference, rtol, atol, **fields):
    tolerance = Tolerance(rtol=rtol, atol=atol, **fields)
    return compare_outputs({"y": actual}, {"y": reference}, {"y": tolerance}).outputs[0]


@given(pairs(), TOLERANCES, TOLERANCES)
def test_match_agrees_with_isclose_with_equal_nan(pair, rtol, atol):
    actual, reference = pair
    expected = close(actual, reference, rtol, atol, equal_nan=True).all()
    if actual.size and all(np.isnan(side.astype(np.float64)).all() for side in pair):
        expected = False
    assert verdict(actual, reference, rtol, atol, nan="match").passed == expected


@given(pairs(), TOLERANCES, TOLERANCES)
def test_forbid_agrees_with_isclose_where_everything_is_finite(pair, rtol, atol):
    actual, reference = pair
    finite = np.isfinite(actual.astype(np.float64)) & np.isfinite(reference.astype(np.float64))
    expected = bool(finite.all() and close(actual, reference, rtol, atol).all())
    assert verdict(actual, reference, rtol, atol).passed == expected


@given(pairs(), TOLERANCES, TOLERANCES)
def test_ignore_agrees_with_isclose_on_the_finite_positions(pair, rtol, atol):
    actual, reference = pair
    finite = np.isfinite(actual.astype(np.float64)) & np.isfinite(reference.astype(np.float64))
    expected = close(actual, reference, rtol, atol)[finite].all()
    if actual.size and not finite.any():
        expected = False
    output = verdict(actual, reference, rtol, atol, nan="ignore")
    assert output.passed == expected
    assert output.compared == finite.sum()
    assert output.nonfinite.positions == actual.size - finite.sum()


@given(pairs(), TOLERANCES, TOLERANCES, st.sampled_from([1, 2, 3, 7, 1 << 16]), st.booleans())
def test_every_figure_agrees_with_a_naive_one(pair, rtol, atol, chunk, transpose):
    actual, reference = (side.T if transpose else side for side in pair)
    found = measure(actual, reference, rtol=rtol, atol=atol, chunk=chunk)
    a, r = (side.astype(np.float64).ravel() for side in (actual, reference))
    finite = np.isfinite(a) & np.isfinite(r)
    with np.errstate(all="ignore"):
        difference = np.where(finite, np.abs(a - r), 0.0)
        limit = atol + rtol * np.abs(r)
        relative = np.where(finite & (r != 0), difference / np.abs(r), 0.0)
        used = np.where(difference == 0, 0.0, difference / limit)
    assert found.mismatched == (difference > limit)[finite].sum()
    assert found.compared == finite.sum()
    assert found.scale == np.abs(r[finite]).max(initial=0.0)
    for peak, values in (
        (found.worst_abs, difference),
        (found.worst_rel, relative),
        (found.worst_used, used),
    ):
        largest = values.max(initial=0.0)
        if largest == 0.0:
            assert peak.index == -1
        else:
            assert peak.value == largest
            assert peak.index == values.argmax()
    tally = found.nonfinite
    for counts, side in ((tally.actual, a), (tally.reference, r)):
        assert counts == [np.isnan(side).sum(), np.isposinf(side).sum(), np.isneginf(side).sum()]
    same = (a == r) | (np.isnan(a) & np.isnan(r)) | finite
    assert tally.disagreeing == (~same).sum()
    assert tally.first == (-1 if finite.all() else (~finite).argmax())
    assert tally.first_disagreeing == (-1 if same.all() else (~same).argmax())


@given(pairs(special=False), TOLERANCES, TOLERANCES)
def test_the_needed_tolerance_passes_and_a_smaller_one_does_not(pair, rtol, atol):
    actual, reference = pair
    if not np.isfinite(actual.astype(np.float64)).all():
        return
    if not np.isfinite(reference.astype(np.float64)).all():
        return
    output = verdict(actual, reference, rtol, atol)
    assert close(actual, reference, rtol, output.needed_atol).all()
    if output.needed_atol > 1e-300:
        assert not close(actual, reference, rtol, output.needed_atol * (1 - 1e-9)).all()
    if np.isfinite(output.needed_rtol):
        assert close(actual, reference, output.needed_rtol, atol).all()
    else:
        assert not close(actual, reference, 1e300, atol).all()


@given(
    st.sampled_from(INTEGERS).flatmap(
        lambda dtype: SHAPES.flatmap(
            lambda shape: st.tuples(hnp.arrays(dtype, shape), hnp.arrays(dtype, shape))
        )
    ),
    TOLERANCES,
    TOLERANCES,
)
def test_small_integers_and_booleans_agree_with_isclose(pair, rtol, atol):
    actual, reference = pair
    expected = close(actual, reference, rtol, atol).all()
    if actual.dtype == bool and actual.size and atol >= 1:  # which allows everything
        expected = False
    assert verdict(actual, reference, rtol, atol).passed == expected


@pytest.mark.parametrize("dtype", [np.int64, np.uint64, ">i8"])
@given(data=st.data())
def test_wide_integers_are_exact(dtype, data):
    shape = data.draw(SHAPES)
    reference = data.draw(hnp.arrays(dtype, shape))
    step = data.draw(hnp.arrays(np.int8, shape, elements=st.sampled_from([0, 0, 0, 1])))
    actual = (reference ^ step.astype(reference.dtype)).astype(reference.dtype)
    assert verdict(actual, reference, 0.0, 0.0).mismatched == step.sum()


@given(SHAPES.flatmap(lambda shape: st.tuples(*[hnp.arrays(np.complex64, shape)] * 2)), TOLERANCES)
@example((np.array(0j, np.complex64), np.array(complex(np.inf, np.inf), np.complex64)), 0.0)
def test_complex_numbers_agree_with_isclose(pair, rtol):
    actual, reference = (np.nan_to_num(side.astype(np.complex128)) for side in pair)
    with np.errstate(all="ignore"):
        expected = np.isclose(actual, reference, rtol=rtol, atol=1e-3).all()
    assert verdict(actual, reference, rtol, 1e-3).passed == expected


def test_a_difference_that_overflows_is_infinite_and_fails():
    actual, reference = np.array([1e308]), np.array([-1e308])
    output = verdict(actual, reference, 0.1, 1.0)
    assert not output.passed
    assert output.worst_abs.value == np.inf
    assert output.nonfinite.positions == 0


def test_a_limit_that_overflows_lets_everything_pass_as_numpy_does():
    actual, reference = np.array([-1e308, 1.0]), np.array([1e308, 2.0])
    assert close(actual, reference, 3.0, 0.0).all()
    output = verdict(actual, reference, 3.0, 0.0)
    assert output.passed
    assert output.used == 1.0


def test_zero_allowed_and_something_different_uses_infinitely_much():
    output = verdict(np.array([0.0, 1.0]), np.array([0.0, 0.0]), 0.5, 0.0)
    assert output.used == np.inf
    assert output.worst_used.index == (1,)
    assert output.needed_rtol == np.inf
    assert output.worst_rel is None


@pytest.mark.parametrize(
    ("rtol", "atol"), [(0.0, 1.0), (1.0, 0.0), (0.5, 0.5)], ids=["atol", "rtol", "both"]
)
def test_the_limit_itself_passes_and_the_next_number_does_not(rtol, atol):
    reference = np.array([1.0])
    at_limit = reference + atol + rtol
    assert verdict(at_limit, reference, rtol, atol).passed
    assert verdict(at_limit, reference, rtol, atol).used == 1.0
    assert not verdict(np.nextafter(at_limit, 9.0), reference, rtol, atol).passed


def test_the_rule_is_relative_to_the_reference_not_to_the_actual_value():
    assert verdict(np.array([1.0]), np.array([2.0]), 0.5, 0.0).passed
    assert not verdict(np.array([2.0]), np.array([1.0]), 0.5, 0.0).passed


@pytest.mark.parametrize("chunk", [1, 2, 100])
def test_a_peak_that_is_barely_higher_than_an_earlier_chunks_is_not_missed(chunk):
    reference = np.full(100, 2.0)
    actual = reference + 0.01 * (1 + 1e-9 * np.arange(100))
    found = measure(actual, reference, rtol=0.1, atol=0.001, chunk=chunk)
    assert found.mismatched == 0
    assert [p.index for p in (found.worst_abs, found.worst_rel, found.worst_used)] == [99] * 3


@pytest.mark.parametrize("chunk", [3, 6, 100])
def test_indices_and_rows_are_right_behind_nonfinite_elements(chunk):
    reference = np.ones((4, 3))
    actual = reference.copy()
    actual[0, 0] = actual[2, 1] = np.nan
    actual[1, 2] = 2.0
    actual[2, 2] = 3.0
    found = measure(actual, reference, rtol=0.1, atol=0.1, chunk=chunk)
    assert found.worst_used.index == found.worst_abs.index == 8
    assert found.mismatched_rows.tolist() == [False, True, True, False]
