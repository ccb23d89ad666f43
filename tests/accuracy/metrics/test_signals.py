"""Signal metrics by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest

from pytest_trt import metrics
from pytest_trt.accuracy.metrics.signals import lost_samples_db
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


def samples(length=32, mean=0.0):
    """64 samples [64, length], and the same with a noise of 20 dB below what sets them apart."""
    rng = np.random.default_rng(0)
    reference = mean + rng.normal(size=(64, length))
    return reference, reference + 0.1 * rng.normal(size=reference.shape)


@pytest.mark.parametrize("mean", [0.0, 3.0])
@pytest.mark.parametrize(
    "wrong",
    [
        lambda reference: np.zeros(reference.shape[1]),
        lambda reference: reference[8],
        lambda reference: -reference[7],
        lambda reference: np.random.default_rng(1).normal(
            reference.mean(), 1.0, reference.shape[1]
        ),
    ],
    ids=["zeros", "of another", "negated", "noise"],
)
def test_a_wrong_sample_is_found_in_a_batch(wrong, mean):
    reference, outputs = samples(mean=mean)
    assert not lost_samples_db(outputs, reference).size
    outputs[7] = wrong(reference)
    (deficit,) = lost_samples_db(outputs, reference)
    power = (outputs - reference) ** 2
    of_mean = max(1.0, (reference[7] ** 2).mean() / (reference**2).mean())
    assert deficit == pytest.approx(10 * math.log10(power[7].mean() / power.mean() / of_mean))
    assert deficit > 8.0
    for same in (np.float32, np.complex64):
        assert lost_samples_db(outputs.astype(same), reference.astype(same)).size == 1
    scaled = lost_samples_db(1e200 * outputs, 1e200 * reference)
    assert scaled == pytest.approx([deficit])


def test_sound_samples_are_not_lost_however_they_differ():
    reference, outputs = samples()
    noise, rng = outputs - reference, np.random.default_rng(2)
    loudness = np.exp(1.5 * rng.normal(size=(64, 1)))
    loud = np.where(np.arange(64) == 5, 1000.0, 1.0)[:, None]
    alike = reference[:1] + 1e-3 * reference
    for one, other in (
        (reference * loud, (reference + noise) * loud),  # one sample has most of the power
        (reference * loudness, (reference + noise) * loudness),
        (reference / loud, reference / loud + noise),  # one has next to none, and the same noise
        (alike, alike + noise),
        (reference, reference + 5 * noise),
        (reference, reference),
        (np.zeros((64, 32)), np.zeros((64, 32))),
    ):
        assert not lost_samples_db(other, one).size


def test_what_has_no_samples_or_few_elements_has_no_lost_ones():
    reference, outputs = samples(length=7)
    outputs[7] = 0.0
    for one in (outputs, outputs[0], outputs[:1], outputs.T[:1], np.full((64, 32), NAN)):
        assert not lost_samples_db(one, reference if one is outputs else np.ones(one.shape)).size
