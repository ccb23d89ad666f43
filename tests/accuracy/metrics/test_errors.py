"""Error metrics against formulas of their own, written out element by element."""

from __future__ import annotations

import math

import ml_dtypes
import numpy as np
import pytest

from pytest_trt import metrics
from pytest_trt.diagnostics import ConfigurationError

INF, NAN = math.inf, math.nan


def naive(outputs, reference):
    """Errors and relative errors, by Python's own floats."""
    pairs = list(zip(np.ravel(outputs).tolist(), np.ravel(reference).tolist(), strict=True))
    absolute = [0.0 if a == r else abs(a - r) for a, r in pairs]
    relative = [
        0.0 if not e else INF if not r else e / abs(r)
        for e, (_, r) in zip(absolute, pairs, strict=True)
    ]
    return absolute, relative


def ranked(errors, percentile):
    """The smallest error that so many percent do not exceed."""
    return next(
        e for e in sorted(errors) if 100 * sum(x <= e for x in errors) >= percentile * len(errors)
    )


@pytest.mark.parametrize("size", [1, 2, 99, 100, 101, 70_000])
@pytest.mark.parametrize("dtype", [np.float32, np.float16, np.int8, ml_dtypes.bfloat16])
def test_errors_agree_with_those_of_single_elements(size, dtype):
    rng = np.random.default_rng(size)
    outputs, reference = rng.normal(scale=20.0, size=(2, size)).astype(dtype)
    absolute, relative = naive(outputs.astype(float), reference.astype(float))
    for found, errors in (
        (metrics.max_abs(outputs, reference), max(absolute)),
        (metrics.mean_abs(outputs, reference), sum(absolute) / size),
        (metrics.max_rel(outputs, reference), max(relative)),
        (metrics.mean_rel(outputs, reference), sum(relative) / size),
    ):
        assert found == pytest.approx(errors, rel=1e-12)
    if size < 1000:
        for percentile in (0.5, 50, 99, 99.9, 100):
            found = metrics.percentile_abs(outputs, reference, percentile)
            assert found == pytest.approx(ranked(absolute, percentile), rel=1e-12)
            found = metrics.percentile_rel(outputs, reference, percentile)
            assert found == pytest.approx(ranked(relative, percentile), rel=1e-12)


def test_any_layout_gives_the_same_figures():
    outputs, reference = np.random.default_rng(0).normal(size=(2, 30, 40))
    for function in (metrics.max_abs, metrics.mean_rel, metrics.percentile_abs, metrics.snr_db):
        strided = function(outputs.T[::2], reference.T[::2])
        assert strided == pytest.approx(function(outputs[:, ::2].copy(), reference[:, ::2].copy()))


ERRORS = [
    metrics.max_abs,
    metrics.mean_abs,
    metrics.percentile_abs,
    metrics.max_rel,
    metrics.mean_rel,
    metrics.percentile_rel,
]


@pytest.mark.parametrize("function", ERRORS)
@pytest.mark.parametrize(
    ("outputs", "reference", "expected"),
    [
        ([0.0, 0.0], [0.0, 0.0], 0.0),
        ([3, 3], [3, 3], 0.0),
        ([True, False], [True, False], 0.0),
        ([INF, -INF], [INF, -INF], 0.0),  # masks
        ([NAN, 1.0], [1.0, 1.0], NAN),
        ([1.0, 1.0], [1.0, NAN], NAN),
        ([NAN, 1.0], [NAN, 1.0], NAN),
        ([INF, INF], [1.0, 1.0], INF),
        ([1.0, 1.0j], [1.0, 1.0j], 0.0),
        (2.5, 2.5, 0.0),
    ],
)
def test_edges(function, outputs, reference, expected):
    assert function(outputs, reference) == pytest.approx(expected, nan_ok=True)


def test_a_reference_of_zero_that_is_missed_counts_infinitely():
    assert metrics.max_rel([1e-9, 1.0], [0.0, 1.0]) == INF
    assert metrics.mean_rel([1e-9, 1.0], [0.0, 1.0]) == INF
    assert metrics.percentile_rel([1e-9, 1.0], [0.0, 1.0], 50) == 0.0


def test_float16_does_not_overflow_and_large_integers_stay_exact():
    assert metrics.max_abs(np.float16([60000]), np.float16([-60000])) == 120000
    assert metrics.mean_abs(np.full(100, 60000, np.float16), np.zeros(100, np.float16)) == 60000
    assert metrics.max_abs([2**62 + 1], [2**62]) == 1
    assert metrics.max_abs(np.uint8([0]), np.uint8([255])) == 255


@pytest.mark.parametrize("function", ERRORS)
@pytest.mark.parametrize(
    ("outputs", "reference", "why"),
    [
        ([], [], "no elements"),
        ([1.0], [1.0, 2.0], "shapes differ"),
        (["a"], ["a"], "not numbers"),
    ],
)
def test_arrays_without_errors_are_refused(function, outputs, reference, why):
    with pytest.raises(ConfigurationError, match=why) as caught:
        function(outputs, reference)
    assert caught.value.diagnostic.code == "TRT421"


@pytest.mark.parametrize("percentile", [0, 101, NAN])
def test_percentiles_outside_their_range_are_refused(percentile):
    with pytest.raises(ConfigurationError, match="not a percentile"):
        metrics.percentile_abs([1.0], [1.0], percentile)
