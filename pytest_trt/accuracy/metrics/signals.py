"""Outputs as signals: ratios of power in decibels, and direction."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

from pytest_trt.accuracy.agreement import least_cosine
from pytest_trt.accuracy.arrays import CHUNK, Array, FloatArray
from pytest_trt.accuracy.metrics.arguments import differences, numbers, real_numbers, unfit

#: A sample is lost whose error has at least this share of the power by which samples differ from
#: their mean, and this many times that of most samples.
_LOST, _OF_MOST = 0.5, 10.0

#: Elements of a sample at least: the errors of fewer vary much by chance.
_SAMPLE = 8


def snr_db(outputs: npt.ArrayLike, reference: npt.ArrayLike) -> float:
    """Return the signal-to-noise ratio in dB: 10 log10(sum r^2 / sum (o - r)^2).

    Any value; larger is better: 20 dB are errors of a tenth, 40 dB of a hundredth. Infinite for
    equal arrays, -inf where a reference of zeros is missed.

    Args:
        outputs: Numbers of any shape and dtype.
        reference: The same shape: the signal.
    """
    left, right = numbers("snr_db", outputs, reference)
    noise, signal, _ = _root_mean_squares(left, right)
    return _decibels(signal, noise)


def psnr_db(
    outputs: npt.ArrayLike, reference: npt.ArrayLike, data_range: float | None = None
) -> float:
    """Return the peak signal-to-noise ratio in dB: 10 log10(range^2 / mean (o - r)^2).

    Any value; larger is better. Infinite for equal arrays.

    Args:
        outputs: Real numbers of any shape and dtype.
        reference: The same shape.
        data_range: The range of the values, such as 255 for 8-bit images. By default that of the
            reference, max - min (as torcheval's `peak_signal_noise_ratio`); -inf where that is 0
            and something differs.
    """
    left, right = real_numbers("psnr_db", outputs, reference)
    if data_range is not None and not 0.0 < data_range < math.inf:
        raise unfit("psnr_db", f"data_range={data_range!r} is not a range", "Give one above 0.")
    noise, _, scale = _root_mean_squares(left, right)
    if math.isnan(noise):
        return math.nan
    spread = float(right.max()) / scale - float(right.min()) / scale if scale else 0.0
    if data_range is not None:
        spread = data_range / scale if scale else data_range
    return _decibels(spread, noise)


def cosine(outputs: npt.ArrayLike, reference: npt.ArrayLike) -> float:
    """Return the smallest cosine similarity of the rows along axis 0 (below two axes: of all).

    From -1 to 1; larger is better. sum(o r) / sqrt(sum o^2 sum r^2); two rows of zeros have 1, one
    row of zeros 0. NaN or infinities on either side give NaN.

    Args:
        outputs: Real numbers of any shape and dtype.
        reference: The same shape.
    """
    left, right = real_numbers("cosine", outputs, reference)
    if not all(_is_finite(side) for side in (left, right)):
        return math.nan
    return least_cosine(left, right)


def lost_samples_db(outputs: npt.ArrayLike, reference: npt.ArrayLike) -> FloatArray:
    """Return by how many dB each lost sample, a row along axis 0, is worse than all of them.

    A lost sample has about the values of another one, or others that have nothing to do with it.
    A ratio of the whole batch hides it: one of 64 costs it no more than 20 to 15 dB. Less power
    than that of the mean sample makes no sample worse, and more power allows more noise.

    Args:
        outputs: Numbers of any shape and dtype.
        reference: The same shape.
    """
    left, right = numbers("snr_db", outputs, reference)
    none: FloatArray = np.empty(0)
    if right.ndim < 2 or right[0].size < _SAMPLE:
        return none
    scale = _scale(left, right)
    if not (scale and math.isfinite(scale)):
        return none
    powers = np.zeros((2, len(right)))
    step = max(1, CHUNK // right[0].size)
    for rows in (slice(start, start + step) for start in range(0, len(right), step)):
        # All of several rows are one chunk.
        for chunk in differences(left[rows], right[rows]):
            for place, values in enumerate(chunk):
                values /= scale
                each = np.square(values, out=values).reshape(powers[place, rows].size, -1)
                powers[place, rows] += each.sum(axis=1)
    noise, signals = powers
    kind = np.complex128 if right.dtype.kind == "c" else np.float64
    mean = right.mean(axis=0, dtype=kind) / scale
    apart = max(0.0, signals.mean() - _power(mean))  # the mean of all samples
    least = max(_LOST * apart, _OF_MOST * float(np.median(noise)))
    (found,) = np.nonzero((noise > 0.0) & (noise >= least))
    deficits = []
    for row in found.tolist():
        signal = right[row].astype(kind) / scale
        # Of a sample of more power than others, more noise is no sign that it is lost.
        if noise[row] >= _LOST * _power(signal - mean):
            worse = noise[row] / noise.mean() / max(1.0, signals[row] / (signals.mean() or 1.0))
            deficits.append(10.0 * math.log10(worse))
    return np.array(deficits)


def _power(values: Array) -> float:
    return float(np.vdot(values, values).real)


def _is_finite(array: Array) -> bool:
    return bool(np.isfinite(array).all()) if array.dtype.kind not in "biu" else True


def _root_mean_squares(left: Array, right: Array) -> tuple[float, float, float]:
    """Return those of left - right and of right, each divided by a scale, and the scale.

    The scale is the largest magnitude: squares of large and of tiny values stay within float64.
    """
    scale = _scale(left, right)
    if not math.isfinite(scale):
        return math.nan, math.nan, math.nan
    if not scale:
        return 0.0, 0.0, 0.0
    squares = np.zeros(2)
    for pair in differences(left, right):
        for place, values in enumerate(pair):
            values /= scale
            squares[place] += np.square(values, out=values).sum()
    noise, signal = np.sqrt(squares / left.size)
    return float(noise), float(signal), scale


def _scale(left: Array, right: Array) -> float:
    """Return the largest magnitude of left - right and of right."""
    return float(np.max([(d.max(), m.max()) for d, m in differences(left, right)]))


def _decibels(signal: float, noise: float) -> float:
    if math.isnan(signal) or math.isnan(noise):
        return math.nan
    if not noise:
        return math.inf
    return 20.0 * (math.log10(signal) - math.log10(noise)) if signal else -math.inf
