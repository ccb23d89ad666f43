"""Signal metrics by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest

from pytest_trt import metrics
from pytest_trt.diagnostics import ConfigurationError

INF, NAN = math.inf, math.nan


@pytest.mark.parametrize(
    ("outputs", "reference", "snr", "psnr"),
    [
        # An error of a tenth everywhere; the range of the reference is its largest element.
        ([0.0, 1.1], [0.0, 1.0], 20.0, 10 * math.log10(1 / 0.005)),
        # Signal 25, noise 1; range 1, mean squared error 0.5.
        ([3.0, 5.0], [3.0, 4.0], 10 * math.log10(25), 10 * math.log10(2)),
        ([3, 5], [3, 4], 10 * math.log10(25), 10 * math.log10(2)),
        ([1.0, 2.0], [1.0, 2.0], INF, INF),
        ([0.0, 0.0], [0.0, 0.0], INF, INF),
        ([0.0, 1.0], [0.0, 0.0], -INF, -INF),
        ([2.0, 3.0], [2.0, 2.0], 10 * math.log10(8), -INF),  # a constant has no range
        ([NAN, 1.0], [1.0, 1.0], NAN, NAN),
        ([INF, 1.0], [INF, 1.0], NAN, NAN),
        # Squares beyond float64 and below it.
        ([1.1e200, 0.0], [1e200, 0.0], 20.0, 20 + 10 * math.log10(2)),
        ([1.1e-200, 0.0], [1e-200, 0.0], 20.0, 20 + 10 * math.log10(2)),
        (np.float16([0.0, 60000]), np.float16([0.0, -60000]), -10 * math.log10(4), None),
    ],
)
def test_ratios(outputs, reference, snr, psnr):
    assert metrics.snr_db(outputs, reference) == pytest.approx(snr, nan_ok=True)
    if psnr is not None:
        assert metrics.psnr_db(outputs, reference) == pytest.approx(psnr, nan_ok=True)


def test_psnr_of_eight_bits():
    outputs, reference = np.full((2, 8, 8), 100, np.uint8), np.full((2, 8, 8), 110, np.uint8)
    expected = 20 * math.log10(255 / 10)
    assert metrics.psnr_db(outputs, reference, data_range=255) == pytest.approx(expected)
    with pytest.raises(ConfigurationError, match="not a range"):
        metrics.psnr_db(outputs, reference, data_range=0)


def test_ratios_over_many_chunks():
    rng = np.random.default_rng(0)
    reference = rng.normal(size=(3, 50_000))
    outputs = reference + rng.normal(scale=0.01, size=reference.shape)
    noise = float(((outputs - reference) ** 2).sum())
    expected = 10 * math.log10(float((reference**2).sum()) / noise)
    assert metrics.snr_db(outputs, reference) == pytest.approx(expected)
    expected = 10 * math.log10(np.ptp(reference) ** 2 / (noise / reference.size))
    assert metrics.psnr_db(outputs, reference) == pytest.approx(expected)


@pytest.mark.parametrize(
    ("outputs", "reference", "expected"),
    [
        ([[1.0, 0.0], [1.0, 1.0]], [[1.0, 0.0], [0.0, 1.0]], math.sqrt(0.5)),  # the worst row
        ([1.0, 2.0], [-1.0, -2.0], -1.0),
        ([1, 2], [2, 4], 1.0),
        ([0.0, 0.0], [0.0, 0.0], 1.0),
        ([0.0, 0.0], [0.0, 1.0], 0.0),
        ([NAN, 1.0], [NAN, 1.0], NAN),
        ([INF, 1.0], [1.0, 1.0], NAN),
        (np.float16([60000, 0]), np.float16([60000, 60000]), math.sqrt(0.5)),
    ],
)
def test_cosine(outputs, reference, expected):
    assert metrics.cosine(outputs, reference) == pytest.approx(expected, nan_ok=True)


@pytest.mark.parametrize("function", [metrics.snr_db, metrics.psnr_db, metrics.cosine])
def test_nothing_and_other_shapes_are_refused(function):
    for outputs, reference in (([], []), ([1.0], [[1.0]]), (["a"], ["a"])):
        with pytest.raises(ConfigurationError):
            function(outputs, reference)


def test_complex_signals():
    assert metrics.snr_db([1.1j], [1j]) == pytest.approx(20.0)
    with pytest.raises(ConfigurationError, match="complex"):
        metrics.psnr_db([1j], [1j])
