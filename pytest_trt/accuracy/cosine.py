"""Cosine similarity of two arrays, row by row along axis 0, in bounded memory."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

from pytest_trt.accuracy.flat import CHUNK, Array, FlatReader
from pytest_trt.accuracy.loading import FloatArray

#: Squared lengths outside this range are summed again from scaled values: their products would
#: overflow float64, or lose digits below its smallest normal number.
_SAFE_SQUARES = (1e-140, 1e140)


def least_cosine(actual: Array, reference: Array, chunk: int = CHUNK) -> float:
    """Return the smallest cosine similarity of the rows along axis 0.

    The similarity of a row is sum(a * r) / sqrt(sum(a * a) * sum(r * r)) in float64; two rows of
    zeros are alike (1.0), a row of zeros is unlike any other (0.0). Positions where either side is
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
