"""Measures of a whole output: ranking (top-1, top-k) and cosine similarity, in bounded memory.

One definition serves top-1 and top-k. A row is a vector along the last axis. The actual row's k
largest are picked as deployed code picks them: the first index wins ties. Any element that ties
for the reference's last places counts as one of its k largest. The agreement of a row is the share
of the k picks that are among the reference's k largest.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from pytest_trt.accuracy.arrays import CHUNK, Array, FlatReader, FloatArray
from pytest_trt.accuracy.tolerance import NanPolicy

#: Elements ranked at a time. Rows up to this length are ranked in blocks, longer ones in pieces.
_BLOCK = 1 << 18

#: Squared lengths outside this range are summed again from scaled values: their products would
#: overflow float64, or lose digits below its smallest normal number.
_SAFE_SQUARES = (1e-140, 1e140)


#: Flags of elements.
Flags: TypeAlias = npt.NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class _Ranked:
    """Overlap of the rows so far.

    Attributes:
        rows: How many rows have something to compare.
        agreeing: How many of their picks agree.
        constant: Rows among them that agree whatever is picked, as all of the reference ties.
    """

    rows: int = 0
    agreeing: int = 0
    constant: int = 0


def topk_agreement(
    actual: Array, reference: Array, k: int, nan: NanPolicy, block: int = _BLOCK
) -> float | None:
    """Return the mean share of a row's k largest elements that are also the reference's.

    Positions where both sides are NaN are left out, as are all non-finite ones under `ignore`; a
    row with NaN on one side only does not agree. Ranking is done in float64.

    Args:
        actual: Real numbers, any layout, at least one axis, the last one of length k or more.
        reference: The same shape.
        k: How many of the largest; 1 is top-1.
        nan: The policy for non-finite values.
        block: Elements ranked at a time.

    Returns:
        A share from 0 to 1, or None when no row could disagree: each has nothing to compare, or a
        constant reference.
    """
    length = actual.shape[-1]
    total = actual.size // length
    readers = FlatReader(actual, max(block, 1)), FlatReader(reference, max(block, 1))
    step = max(1, block // length)
    rows = agreeing = constant = 0
    for row in range(0, total, step):
        start, count = row * length, min(step, total - row)
        if length > block:
            part = _rank_long_row(readers, start, start + length, k, nan, block)
        else:
            sides = [
                reader.read(start, start + count * length).astype(np.float64) for reader in readers
            ]
            left, right = (side.reshape(count, length) for side in sides)
            part = _rank_rows(left, right, k, *_leave_out(left, right, nan))
        rows += part.rows
        agreeing += part.agreeing
        constant += part.constant
    return agreeing / (rows * k) if rows > constant else None


def _leave_out(left: FloatArray, right: FloatArray, nan: NanPolicy) -> tuple[Flags, Flags]:
    """Set left-out positions, and NaN on one side, to -inf.

    Returns:
        Where one side was NaN, and all positions that were set.
    """
    one_nan = np.zeros(left.shape, np.bool_)
    if np.isfinite(left.max()) and np.isfinite(right.max()) and nan != "ignore":
        return one_nan, one_nan
    left_nan, right_nan = np.isnan(left), np.isnan(right)
    if nan == "ignore":
        out = ~(np.isfinite(left) & np.isfinite(right))
    else:
        out = left_nan | right_nan
        one_nan = left_nan ^ right_nan
    left[out] = right[out] = -np.inf
    return one_nan, out


def _rank_rows(left: FloatArray, right: FloatArray, k: int, one_nan: Flags, out: Flags) -> _Ranked:
    """Rank rows of one block."""
    wrong = one_nan.any(axis=1)
    largest = right.max(axis=1)
    empty = (left.max(axis=1) == -np.inf) & (largest == -np.inf) & ~wrong
    constant = np.min(right, axis=1, where=~out, initial=np.inf) == largest
    picked = _first_largest(left, k)
    last = _kth_largest(right, k)
    above = right > last
    certain = np.count_nonzero(picked & above, axis=1)
    tied = np.count_nonzero(picked & (right == last), axis=1)
    places = k - np.count_nonzero(above, axis=1)
    agreeing = certain + np.minimum(tied, places)
    agreeing[wrong | empty] = 0
    return _Ranked(
        int(np.count_nonzero(~empty)),
        int(agreeing.sum()),
        int(np.count_nonzero(constant & ~wrong & ~empty)),
    )


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
    """Rank one row piece by piece, retaining only candidates for the k largest.

    Retained are the actual side's picks with the reference's values there, and the reference's
    largest.
    """
    best, best_right, largest = (np.empty((1, 0)) for _ in range(3))
    one_nan, smallest = False, math.inf
    for low in range(start, stop, block):
        high = min(low + block, stop)
        left, right = (
            reader.read(low, high).astype(np.float64).reshape(1, -1) for reader in readers
        )
        one_side, out = _leave_out(left, right, nan)
        one_nan |= bool(one_side.any())
        smallest = min(smallest, float(np.min(right, where=~out, initial=np.inf)))
        best = np.concatenate([best, left], axis=1)
        best_right = np.concatenate([best_right, right], axis=1)
        largest = np.concatenate([largest, right], axis=1)
        if best.shape[1] > k:
            # Picks stay in index order, so that the first index still wins ties.
            picked = _first_largest(best, k)
            best, best_right = best[picked].reshape(1, -1), best_right[picked].reshape(1, -1)
            place = largest.shape[1] - k
            largest = np.partition(largest, place, axis=1)[:, place:]
    if one_nan:
        return _Ranked(1, 0)
    if best.max() == -np.inf and largest.max() == -np.inf:
        return _Ranked()
    last = largest.min()
    certain = np.count_nonzero(best_right > last)
    tied = np.count_nonzero(best_right == last)
    agreeing = int(certain + min(tied, k - np.count_nonzero(largest > last)))
    return _Ranked(1, agreeing, int(smallest == largest.max()))


def least_cosine(actual: Array, reference: Array, chunk: int = CHUNK) -> float:
    """Return the smallest cosine similarity of the rows along axis 0.

    The similarity of a row is sum(a * r) / sqrt(sum(a * a) * sum(r * r)) in float64; two rows of
    zeros have similarity 1.0, one row of zeros 0.0. Positions where either side is
    not finite are left out of all three sums. Below two axes the whole array is one row.

    Args:
        actual: Real numbers, any layout, at least one element.
        reference: The same shape.
        chunk: Elements summed at a time.
    """
    rows = actual.shape[0] if actual.ndim > 1 else 1
    length = actual.size // rows
    pair = _Pair(actual, reference, chunk)
    with np.errstate(all="ignore"):
        if length > chunk:
            return min(pair.long_row(row * length, (row + 1) * length) for row in range(rows))
        step = max(1, chunk // length)
        return min(
            pair.short_rows(row * length, min(step, rows - row), length)
            for row in range(0, rows, step)
        )


class _Pair:
    """Two arrays read into float64 buffers, with non-finite positions set to zero on both sides."""

    def __init__(self, actual: Array, reference: Array, chunk: int) -> None:
        self.readers = FlatReader(actual, chunk), FlatReader(reference, chunk)
        self.chunk = chunk
        self.buffers = np.empty((3, min(chunk, actual.size)))

    def read(self, start: int, stop: int) -> tuple[FloatArray, FloatArray, FloatArray]:
        """Return the elements of both sides, and scratch of their length."""
        left, right, scratch = (buffer[: stop - start] for buffer in self.buffers)
        for side, reader in zip((left, right), self.readers, strict=True):
            np.copyto(side, reader.read(start, stop), casting="unsafe")
        for side in (left, right):
            if not (np.isfinite(side.max()) and np.isfinite(side.min())):
                bad = ~(np.isfinite(left) & np.isfinite(right))
                left[bad] = right[bad] = 0.0
        return left, right, scratch

    def short_rows(self, start: int, rows: int, length: int) -> float:
        """Return the smallest similarity of consecutive rows that fit into one chunk."""
        left, right, scratch = (
            flat.reshape(rows, length) for flat in self.read(start, start + rows * length)
        )
        dots = np.multiply(left, right, out=scratch).sum(axis=1)
        lefts = np.multiply(left, left, out=scratch).sum(axis=1)
        rights = np.multiply(right, right, out=scratch).sum(axis=1)
        unsafe = ~(_is_safe(lefts) & _is_safe(rights))
        cosines = np.divide(dots, np.sqrt(lefts * rights), out=np.ones_like(dots), where=~unsafe)
        for row in np.flatnonzero(unsafe):
            first = start + int(row) * length
            cosines[row] = self.scaled_row(first, first + length)
        return float(np.clip(cosines.min(), -1.0, 1.0))

    def long_row(self, start: int, stop: int) -> float:
        """Return the similarity of one row that is summed in several chunks."""
        dot, left, right = self.sums(start, stop, 1.0, 1.0)
        low, high = _SAFE_SQUARES
        if not (low < left < high and low < right < high):
            return self.scaled_row(start, stop)
        return max(-1.0, min(1.0, dot / math.sqrt(left * right)))

    def scaled_row(self, start: int, stop: int) -> float:
        """Return the similarity of one row, its two sides divided by their largest elements."""
        largest = np.zeros(2)
        for low in range(start, stop, self.chunk):
            left, right, _ = self.read(low, min(low + self.chunk, stop))
            np.maximum(largest, (np.abs(left).max(), np.abs(right).max()), out=largest)
        if not largest.all():
            return 0.0 if largest.any() else 1.0
        dot, left_square, right_square = self.sums(start, stop, *largest)
        return max(-1.0, min(1.0, dot / math.sqrt(left_square * right_square)))

    def sums(
        self, start: int, stop: int, left_scale: float, right_scale: float
    ) -> tuple[float, float, float]:
        """Return sum(a * r), sum(a * a) and sum(r * r) of the sides divided by their scales."""
        totals = np.zeros(3)
        for low in range(start, stop, self.chunk):
            left, right, scratch = self.read(low, min(low + self.chunk, stop))
            if (left_scale, right_scale) != (1.0, 1.0):
                left /= left_scale
                right /= right_scale
            for i, (one, other) in enumerate(((left, right), (left, left), (right, right))):
                totals[i] += np.multiply(one, other, out=scratch).sum()
        return float(totals[0]), float(totals[1]), float(totals[2])


def _is_safe(squares: FloatArray) -> npt.NDArray[np.bool_]:
    low, high = _SAFE_SQUARES
    return (squares > low) & (squares < high)
