"""Agreement of the largest elements: what a classifier's users see of its outputs.

One definition serves top-1 and top-k. A row is a vector along the last axis. The actual row's k
largest are picked as deployed code picks them, the first index winning ties. They are counted
against the reference fairly: among elements that tie for the reference's last places, any will do.
The agreement of a row is the share of the k picks that are among the reference's k largest.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from pytest_trt.accuracy.flat import Array, FlatReader
from pytest_trt.accuracy.loading import FloatArray
from pytest_trt.accuracy.tolerance import NanPolicy

#: Elements ranked at a time. Rows up to this length are ranked in blocks, longer ones in pieces.
_BLOCK = 1 << 18


@dataclass(frozen=True, slots=True)
class _Ranked:
    """Overlap of the rows seen so far: how many rows, and the sum of their picks that agree."""

    rows: int = 0
    agreeing: int = 0


def topk_agreement(
    actual: Array, reference: Array, k: int, nan: NanPolicy, block: int = _BLOCK
) -> float | None:
    """Return the mean share of the k largest elements of a row that are the reference's too.

    Positions where both sides are NaN are left out, as are all non-finite ones under `ignore`; a
    row with NaN on one side only does not agree. Ranking is done in float64.

    Args:
        actual: Real numbers, any layout, at least one axis, the last one of length k or more.
        reference: The same shape.
        k: How many of the largest; 1 is top-1.
        nan: The policy for non-finite values.
        block: Elements ranked at a time.

    Returns:
        A share from 0 to 1, or None when no row had anything to compare.
    """
    length = actual.shape[-1]
    total = actual.size // length
    readers = FlatReader(actual, max(block, 1)), FlatReader(reference, max(block, 1))
    step = max(1, block // length)
    rows = agreeing = 0
    for row in range(0, total, step):
        start, count = row * length, min(step, total - row)
        if length > block:
            part = _rank_long_row(readers, start, start + length, k, nan, block)
        else:
            sides = [
                reader.read(start, start + count * length).astype(np.float64) for reader in readers
            ]
            left, right = (side.reshape(count, length) for side in sides)
            part = _rank_rows(left, right, k, _leave_out(left, right, nan))
        rows += part.rows
        agreeing += part.agreeing
    return agreeing / (rows * k) if rows else None


def _leave_out(left: FloatArray, right: FloatArray, nan: NanPolicy) -> npt.NDArray[np.bool_]:
    """Set left-out positions, and NaN on one side, to -inf; return which positions were NaN so."""
    odd = np.zeros(left.shape, np.bool_)
    if np.isfinite(left.max()) and np.isfinite(right.max()) and nan != "ignore":
        return odd
    left_nan, right_nan = np.isnan(left), np.isnan(right)
    if nan == "ignore":
        out = ~(np.isfinite(left) & np.isfinite(right))
    else:
        out = left_nan | right_nan
        odd = left_nan ^ right_nan
    left[out] = right[out] = -np.inf
    return odd


def _rank_rows(left: FloatArray, right: FloatArray, k: int, odd: npt.NDArray[np.bool_]) -> _Ranked:
    """Rank rows that lie whole in memory."""
    empty = (left.max(axis=1) == -np.inf) & (right.max(axis=1) == -np.inf) & ~odd.any(axis=1)
    picked = _first_largest(left, k)
    last = _kth_largest(right, k)
    above = right > last
    sure = np.count_nonzero(picked & above, axis=1)
    tied = np.count_nonzero(picked & (right == last), axis=1)
    places = k - np.count_nonzero(above, axis=1)
    agreeing = sure + np.minimum(tied, places)
    agreeing[odd.any(axis=1) | empty] = 0
    return _Ranked(int(np.count_nonzero(~empty)), int(agreeing.sum()))


def _kth_largest(rows: FloatArray, k: int) -> FloatArray:
    if k == 1:
        return np.asarray(rows.max(axis=1, keepdims=True))
    place = rows.shape[1] - k
    return np.asarray(np.partition(rows, place, axis=1)[:, place : place + 1])


def _first_largest(rows: FloatArray, k: int) -> npt.NDArray[np.bool_]:
    """Flags of each row's k largest elements, the first index winning ties."""
    last = _kth_largest(rows, k)
    picked = rows >= last
    for row in np.flatnonzero(np.count_nonzero(picked, axis=1) > k):
        tied = rows[row] == last[row]
        places = k - np.count_nonzero(rows[row] > last[row])
        picked[row] &= ~(tied & (np.cumsum(tied) > places))
    return picked


def _rank_long_row(
    readers: tuple[FlatReader, FlatReader],
    start: int,
    stop: int,
    k: int,
    nan: NanPolicy,
    block: int,
) -> _Ranked:
    """Rank one row piece by piece, keeping only the elements that may still be among the largest.

    Of the actual side it keeps the reference's values at the picks, of the reference its largest.
    """
    best, best_right, largest = (np.empty((1, 0)) for _ in range(3))
    odd = False
    for low in range(start, stop, block):
        high = min(low + block, stop)
        left, right = (
            reader.read(low, high).astype(np.float64).reshape(1, -1) for reader in readers
        )
        odd |= bool(_leave_out(left, right, nan).any())
        best = np.concatenate([best, left], axis=1)
        best_right = np.concatenate([best_right, right], axis=1)
        largest = np.concatenate([largest, right], axis=1)
        if best.shape[1] > k:
            # The picks stay in index order, so that the first index goes on winning ties.
            picked = _first_largest(best, k)
            best, best_right = best[picked].reshape(1, -1), best_right[picked].reshape(1, -1)
            place = largest.shape[1] - k
            largest = np.partition(largest, place, axis=1)[:, place:]
    if odd:
        return _Ranked(1, 0)
    if best.max() == -np.inf and largest.max() == -np.inf:
        return _Ranked()
    last = largest.min()
    sure = np.count_nonzero(best_right > last)
    tied = np.count_nonzero(best_right == last)
    return _Ranked(1, int(sure + min(tied, k - np.count_nonzero(largest > last))))
