"""Rows of an output that only changed places, such as detections whose scores nearly tie."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from pytest_trt.accuracy.arrays import Array
from pytest_trt.accuracy.subject import MovedRows
from pytest_trt.accuracy.tolerance import Tolerance

#: Differences that are computed at most, in about half a second: of more, none is looked for.
_MOST_DIFFERENCES = 50_000_000

#: Values of a row, at least: two probabilities may be those of another row by chance.
_FEWEST_VALUES = 3

#: How far a row is from all others, in tolerances: near ones show no order.
_APART = 2.0

#: Rows that changed places, at least, of those that differ.
_SHARE = 0.5


def moved_rows(actual: Array, reference: Array, tolerance: Tolerance) -> MovedRows | None:
    """Return how many rows that differ are those of the reference at other places; None if few are.

    Args:
        actual: What the engine returned: rows [n, values], or rows of each sample [batch, n,
            values]; of another form, none is looked for.
        reference: What is right.
        tolerance: What differs. In a row at another place, rtol is of the row's largest value, as
            of a box, whose corners may be near 0.
    """
    if (
        actual.shape != reference.shape
        or actual.ndim not in (2, 3)
        or actual.dtype.kind not in "fiu"
    ):
        return None
    if actual.shape[-1] < _FEWEST_VALUES:
        return None
    samples = (1, *actual.shape) if actual.ndim == 2 else actual.shape
    moved = differing = 0
    for rows, expected in zip(actual.reshape(samples), reference.reshape(samples), strict=True):
        a, r = rows.astype(np.float64), expected.astype(np.float64)
        size = np.abs(r)
        wrong = np.flatnonzero(~_near(a, r, tolerance.atol + tolerance.rtol * size))
        differing += wrong.size
        if differing * samples[-2] * samples[-1] > _MOST_DIFFERENCES:
            return None
        limits = tolerance.atol + tolerance.rtol * size.max(1, initial=0.0, keepdims=True)
        away = wrong[~_near(a[wrong], r[wrong], limits[wrong])]
        apart = [np.count_nonzero(_near(r[at], r, _APART * limits)) == 1 for at in away]
        places = away[np.array(apart, np.bool_)]
        moved += _found_elsewhere(a[away], r[places], limits[places])
    if moved < max(2, _SHARE * differing):
        return None
    return MovedRows(actual.ndim - 2, moved, differing)


def _near(
    actual: npt.NDArray[np.float64],
    reference: npt.NDArray[np.float64],
    limits: npt.NDArray[np.float64],
) -> npt.NDArray[np.bool_]:
    with np.errstate(invalid="ignore"):
        near: npt.NDArray[np.bool_] = np.logical_and.reduce(
            np.abs(actual - reference) <= limits, axis=-1
        )
    return near


def _found_elsewhere(
    actual: npt.NDArray[np.float64],
    reference: npt.NDArray[np.float64],
    limits: npt.NDArray[np.float64],
) -> int:
    """Return how many rows are one of the reference, each of which counts once."""
    free, found = np.ones(len(reference), np.bool_), 0
    for row in actual:
        places = np.flatnonzero(free & _near(row[None], reference, limits))
        if places.size:
            free[places[0]] = False
            found += 1
    return found
