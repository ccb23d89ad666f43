"""Outputs as distributions over classes or tokens, one for each row along the last axis."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

from pytest_trt.accuracy.arrays import FloatArray
from pytest_trt.accuracy.metrics.arguments import rows, unfit

#: Half of the smallest number above 0 that float16 holds: it rounds this to 0.
_FLOOR = 2.0**-25

#: How far the sum of a row may be from 1. Probabilities that were rounded to bfloat16 are off by up
#: to 2^-8 each, so their sum is by as much.
_SUM_TOLERANCE = 0.01


def kl_divergence(outputs: npt.ArrayLike, reference: npt.ArrayLike) -> float:
    """Return the mean Kullback-Leibler divergence of rows of probabilities, in nats.

    From 0; smaller is better. sum(r ln(r / o)) for each row along the last axis, in the
    direction D(reference || output), averaged over rows. Rows are divided by their sums.
    Probabilities below 2^-25, which float16 rounds to 0, count as 2^-25 on both sides, so that the
    divergence stays finite; `kl_divergence_logits` needs no such floor.

    Source: Kullback and Leibler, "On Information and Sufficiency", 1951.

    Args:
        outputs: Probabilities: not negative, each row along the last axis sums to 1.
        reference: The same shape.

    Raises:
        ConfigurationError: They are not probabilities.
    """
    sides = rows("kl_divergence", outputs, reference)
    if any(np.isnan(side.max()) for side in sides):
        return math.nan
    for side in sides:
        totals = side.sum(axis=1, keepdims=True)
        if side.min() < 0.0 or not (np.abs(totals - 1.0) <= _SUM_TOLERANCE).all():
            worst = float(totals.flat[int(np.abs(totals - 1.0).argmax())])
            what = f"a row sums to {worst:.4g}" if side.min() >= 0.0 else "some are negative"
            raise unfit(
                "kl_divergence",
                f"the values are not probabilities: {what}",
                "Use kl_divergence_logits for logits.",
            )
        side /= totals
    left, right = (np.log(np.maximum(side, _FLOOR)) for side in sides)
    return _mean_over_rows(sides[1] * (right - left))


def kl_divergence_logits(outputs: npt.ArrayLike, reference: npt.ArrayLike) -> float:
    """Return `kl_divergence` of the softmax of logits, computed in float64, in nats.

    From 0 to infinity; smaller is better. A logit of -inf has probability 0; +inf gives NaN.

    Args:
        outputs: Logits; each row along the last axis is one distribution.
        reference: The same shape.
    """
    left, right = rows("kl_divergence_logits", outputs, reference)
    return _divergence(_log_softmax(left), _log_softmax(right))


def _log_softmax(logits: FloatArray) -> FloatArray:
    with np.errstate(invalid="ignore", divide="ignore"):
        shifted = logits - logits.max(axis=1, keepdims=True)
        return np.asarray(shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True)))


def _divergence(left: FloatArray, right: FloatArray) -> float:
    """Return the mean over rows of D(right || left), of logarithms of probabilities."""
    if np.isnan(left).any() or np.isnan(right).any():
        return math.nan
    with np.errstate(invalid="ignore"):
        weight = np.exp(right)
        # What has no weight adds nothing, even where the logarithms are infinite.
        return _mean_over_rows(np.where(weight > 0.0, weight * (right - left), 0.0))


def _mean_over_rows(terms: FloatArray) -> float:
    return max(float(terms.sum(axis=1).mean()), 0.0)  # rounding of equal rows
