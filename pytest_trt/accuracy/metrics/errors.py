"""Sizes of errors, over all elements: in the output's own unit, or relative to the reference.

The error of an element is |output - reference|; equal infinities have none. Its relative error is
divided by |reference|: 0 where both are 0, infinite where the reference alone is 0. That is the
definition of `numpy.isclose` with its second argument as the reference, and no element is left out.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

from pytest_trt.accuracy.arrays import Array, FloatArray
from pytest_trt.accuracy.metrics.arguments import differences, numbers, unfit


def max_abs(outputs: npt.ArrayLike, reference: npt.ArrayLike) -> float:
    """Return the largest error: max |output - reference|.

    From 0 in the output's unit; smaller is better.

    Args:
        outputs: Numbers of any shape and dtype.
        reference: The same shape.
    """
    return _largest(_errors(*numbers("max_abs", outputs, reference)))


def mean_abs(outputs: npt.ArrayLike, reference: npt.ArrayLike) -> float:
    """Return the mean error: sum |output - reference| / n.

    From 0 in the output's unit; smaller is better.

    Args:
        outputs: Numbers of any shape and dtype.
        reference: The same shape.
    """
    left, right = numbers("mean_abs", outputs, reference)
    return _total(_errors(left, right)) / left.size


def percentile_abs(
    outputs: npt.ArrayLike, reference: npt.ArrayLike, percentile: float = 99.0
) -> float:
    """Return the error that a percentage of the elements do not exceed.

    From 0 in the output's unit; smaller is better. In a test its name is "p99_abs", and "p99.9_abs"
    for another percentile. The smallest error e of the data such that at least `percentile` percent
    of the errors are at most e (type 1 of Hyndman and Fan, "Sample Quantiles in Statistical
    Packages", 1996; `inverted_cdf` in NumPy): no interpolation, so infinities stay what they are.

    Args:
        outputs: Numbers of any shape and dtype.
        reference: The same shape.
        percentile: Above 0, up to 100.
    """
    left, right = numbers("percentile_abs", outputs, reference)
    return _percentile(_errors(left, right), left.size, percentile)


def max_rel(outputs: npt.ArrayLike, reference: npt.ArrayLike) -> float:
    """Return the largest relative error: max |output - reference| / |reference|.

    From 0, a ratio; smaller is better. Infinite where a reference of 0 is missed.

    Args:
        outputs: Numbers of any shape and dtype.
        reference: The same shape.
    """
    return _largest(_relative_errors(*numbers("max_rel", outputs, reference)))


def mean_rel(outputs: npt.ArrayLike, reference: npt.ArrayLike) -> float:
    """Return the mean relative error: sum(|output - reference| / |reference|) / n.

    From 0, a ratio; smaller is better. Infinite where a reference of 0 is missed.

    Args:
        outputs: Numbers of any shape and dtype.
        reference: The same shape.
    """
    left, right = numbers("mean_rel", outputs, reference)
    return _total(_relative_errors(left, right)) / left.size


def percentile_rel(
    outputs: npt.ArrayLike, reference: npt.ArrayLike, percentile: float = 99.0
) -> float:
    """Return the relative error that a percentage of the elements do not exceed.

    From 0, a ratio; smaller is better. See `percentile_abs`; in a test its name is "p99_rel".

    Args:
        outputs: Numbers of any shape and dtype.
        reference: The same shape.
        percentile: Above 0, up to 100.
    """
    left, right = numbers("percentile_rel", outputs, reference)
    return _percentile(_relative_errors(left, right), left.size, percentile)


def _errors(left: Array, right: Array) -> Iterator[FloatArray]:
    return (difference for difference, _ in differences(left, right))


def _relative_errors(left: Array, right: Array) -> Iterator[FloatArray]:
    for difference, magnitude in differences(left, right):
        with np.errstate(all="ignore"):
            np.divide(difference, magnitude, out=difference, where=difference != 0.0)
        yield difference


def _largest(chunks: Iterator[FloatArray]) -> float:
    return float(np.max([chunk.max() for chunk in chunks]))  # NaN if any is


def _total(chunks: Iterator[FloatArray]) -> float:
    # Not math.fsum, which refuses infinities of finite parts.
    return float(np.sum([chunk.sum() for chunk in chunks]))


def _percentile(chunks: Iterator[FloatArray], size: int, percentile: float) -> float:
    if not 0.0 < percentile <= 100.0:
        raise unfit(
            "percentile", f"{percentile!r} is not a percentile", "Give one above 0, up to 100."
        )
    errors = np.empty(size)
    filled = 0
    for chunk in chunks:
        errors[filled : filled + chunk.size] = chunk
        filled += chunk.size
    if math.isnan(errors.max()):
        return math.nan
    place = max(math.ceil(percentile * size / 100.0), 1) - 1
    return float(np.partition(errors, place)[place])
