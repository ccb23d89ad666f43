"""Elementwise comparison of two arrays: one pass over chunks that stay in the core's cache.

One thread, on purpose: two were no faster (two cores, chunks of 2^13 to 2^18 elements), and test
runners share their cores.
"""

from __future__ import annotations

from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from pytest_trt.accuracy.flat import CHUNK, Array, FlatReader
from pytest_trt.accuracy.loading import FloatArray, Load, load_for, same_bits
from pytest_trt.accuracy.peaks import Deviation, Peak

Flags: TypeAlias = npt.NDArray[np.bool_]
Positions: TypeAlias = npt.NDArray[np.intp]

#: Rows along axis 0 that are told apart; above, it is no batch axis.
_MOST_ROWS = 1 << 16

#: A filter by the best figure so far multiplies where the figure itself divides. Two roundings of
#: slack, so that it lets too much through and never too little.
_SLACK = 1.0 - 2.0**-50

#: A figure that was rounded down would miss the element it was made for.
_ROUND_UP = 1.0 + 2.0**-51


def measure(
    actual: Array, reference: Array, *, rtol: float, atol: float, chunk: int = CHUNK
) -> Deviation:
    """Measure how far two numeric arrays of one shape are apart.

    Args:
        actual: Any layout, and any element type that casts to float64 or complex128.
        reference: The same shape.
        rtol: See `Tolerance`.
        atol: See `Tolerance`.
        chunk: Elements measured at a time.
    """
    return _Meter(actual, reference, rtol, atol, chunk).run(actual.size)


class _Meter:
    """Two arrays, the buffers they are measured in, and the figures over the chunks seen so far."""

    def __init__(
        self, actual: Array, reference: Array, rtol: float, atol: float, chunk: int
    ) -> None:
        self.rtol = rtol
        self.atol = atol
        self.chunk = chunk
        self.actual = FlatReader(actual, chunk)
        self.reference = FlatReader(reference, chunk)
        self.load: Load = load_for(actual.dtype, reference.dtype)
        self.wide = (
            np.complex128 if "c" in (actual.dtype.kind, reference.dtype.kind) else np.float64
        )
        buffers = np.empty((4, min(chunk, actual.size)))
        self.difference, self.magnitude, self.limit, self.scratch = buffers
        self.flags = np.empty(buffers.shape[1], np.bool_)
        rows = actual.shape[0] if actual.ndim > 1 and actual.size else 0
        rows = rows if rows <= _MOST_ROWS else 0
        self.found = Deviation(actual.size // rows if rows else 0, np.zeros(rows, np.bool_))

    def run(self, size: int) -> Deviation:
        """Measure all elements in ascending order, so that first indices stay the first."""
        with np.errstate(all="ignore"):
            for start in range(0, size, self.chunk):
                self._add_chunk(start, min(start + self.chunk, size))
        return self.found

    def _add_chunk(self, start: int, stop: int) -> None:
        count = stop - start
        actual = self.actual.read(start, stop)
        reference = self.reference.read(start, stop)
        largest = same_bits(actual, reference, self.flags[:count])
        if largest is not None:
            self.found.compared += count
            self.found.scale = max(self.found.scale, largest)
            return
        difference, magnitude = self.difference[:count], self.magnitude[:count]
        self.load(actual, reference, difference, magnitude)
        peak = float(difference.max())
        if np.isfinite(peak):
            self._add(difference, magnitude, peak, start, None)
            return
        # Not finite: NaN or infinities came in, or a difference of finite numbers overflowed.
        finite = self.found.nonfinite.add(
            actual.astype(self.wide), reference.astype(self.wide), start
        )
        if finite.size:
            difference, magnitude = difference[finite], magnitude[finite]
            self._add(difference, magnitude, float(difference.max()), start, finite)

    def _add(
        self,
        difference: FloatArray,
        magnitude: FloatArray,
        peak: float,
        start: int,
        positions: Positions | None,
    ) -> None:
        """Add elements that are finite on both sides; `positions` are theirs in the chunk."""
        found = self.found
        found.compared += difference.size
        found.scale = max(found.scale, float(magnitude.max()))
        if peak == 0.0:
            return
        count = difference.size
        limit, scratch, flags = self.limit[:count], self.scratch[:count], self.flags[:count]

        def offer(best: Peak, values: FloatArray) -> None:
            position = int(values.argmax())
            value = float(values[position])
            where = position if positions is None else int(positions[position])
            best.offer(value, start + where)

        if peak > found.worst_abs.value:
            offer(found.worst_abs, difference)
        if self._may_exceed(difference, magnitude, found.worst_rel.value):
            # Elements whose reference is 0 have no relative difference.
            np.greater(magnitude, 0.0, out=flags)
            scratch.fill(0.0)
            np.divide(difference, magnitude, out=scratch, where=flags)
            offer(found.worst_rel, scratch)
        if self.rtol:
            np.multiply(magnitude, self.rtol, out=scratch)
        else:
            # Not multiplied: 0 of a magnitude that overflowed would be NaN, and allow anything.
            scratch.fill(0.0)
        np.add(scratch, self.atol, out=limit)
        if found.mismatched == 0:
            np.subtract(difference, scratch, out=scratch)
            found.needed_atol = max(found.needed_atol, _round_up(_largest(scratch)))
            if peak > self.atol:
                self._add_needed_rtol(difference, magnitude)
            if self._may_exceed(difference, limit, found.worst_used.value):
                offer(found.worst_used, shares_of(difference, limit, scratch))
        if found.worst_used.value > 1.0:
            np.greater(difference, limit, out=flags)
            self._add_mismatches(difference, magnitude, limit, flags, start, positions)

    def _may_exceed(
        self, difference: FloatArray, scale: FloatArray, best: float, offset: float = 0.0
    ) -> bool:
        """Whether difference / scale, less an offset, may be above the best so far anywhere."""
        if best == np.inf:
            return False
        scratch, flags = self.scratch[: scale.size], self.flags[: scale.size]
        np.multiply(scale, best * _SLACK, out=scratch)
        if offset:
            np.add(scratch, offset, out=scratch)
        # Not "greater": a NaN, from an infinite limit, must come through.
        return not bool(np.less_equal(difference, scratch, out=flags).all())

    def _add_needed_rtol(self, difference: FloatArray, magnitude: FloatArray) -> None:
        if not self._may_exceed(difference, magnitude, self.found.needed_rtol, self.atol):
            return
        beyond = difference > self.atol
        needed = (difference[beyond] - self.atol) / magnitude[beyond]
        self.found.needed_rtol = max(self.found.needed_rtol, _round_up(float(needed.max())))

    def _add_mismatches(
        self,
        difference: FloatArray,
        magnitude: FloatArray,
        limit: FloatArray,
        flags: Flags,
        start: int,
        positions: Positions | None,
    ) -> None:
        """Add flagged elements: from the first mismatch on, only they can raise what is left."""
        where = np.flatnonzero(flags)
        if not where.size:
            return
        found = self.found
        found.mismatched += where.size
        difference, magnitude, limit = difference[where], magnitude[where], limit[where]
        at = start + (where if positions is None else positions[where])
        shares = difference / limit
        worst = int(shares.argmax())
        found.worst_used.offer(float(shares[worst]), int(at[worst]))
        relative = magnitude * self.rtol if self.rtol else 0.0
        needed_atol = _largest(difference - relative)
        found.needed_atol = max(found.needed_atol, _round_up(needed_atol))
        needed_rtol = float(((difference - self.atol) / magnitude).max())
        found.needed_rtol = max(found.needed_rtol, _round_up(needed_rtol))
        if found.row_length:
            found.mismatched_rows[at // found.row_length] = True


def shares_of(difference: FloatArray, limit: FloatArray, out: FloatArray) -> FloatArray:
    """Return difference / limit: the share of the tolerance that each element uses.

    0 of nothing allowed is 0, infinite of infinite 1: numpy's comparison lets both pass, too.
    """
    np.divide(difference, limit, out=out)
    if np.isnan(out.max()):
        undefined = np.isnan(out)
        out[undefined] = np.where(difference[undefined] == 0.0, 0.0, 1.0)
    return out


def _largest(values: FloatArray) -> float:
    """The largest value, NaN (infinite less infinite: an overflow that is allowed) left out."""
    value = float(values.max())
    return value if value == value else float(np.fmax.reduce(values))


def _round_up(value: float) -> float:
    return float(np.nextafter(value * _ROUND_UP, np.inf)) if value > 0.0 else 0.0
