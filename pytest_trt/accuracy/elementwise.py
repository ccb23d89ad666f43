"""Elementwise comparison of two arrays: one pass over chunks that stay in the core's cache.

One thread on purpose: two were no faster (two cores, chunks of 2^13 to 2^18 elements), and test
runners share their cores.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from pytest_trt.accuracy.arrays import (
    CHUNK,
    Array,
    FlatReader,
    FloatArray,
    Load,
    load_for,
    load_real,
    same_bits,
)

Flags: TypeAlias = npt.NDArray[np.bool_]
Positions: TypeAlias = npt.NDArray[np.intp]

#: Rows along axis 0 that are counted one by one; longer axes are not batches.
_MOST_ROWS = 1 << 16

#: A filter by the best figure so far multiplies where the figure itself divides. Two roundings of
#: slack, so that it lets too much through and never too little.
_SLACK = 1.0 - 2.0**-50

#: Up to this many elements are measured at once, in temporaries of their full size.
_SMALL = 1 << 13

_NO_ROWS: Flags = np.zeros(0, np.bool_)

#: A figure that was rounded down would not cover its element.
_ROUND_UP = 1.0 + 2.0**-51

#: Upper ends of the bins, as shares of the tolerance; each belongs to its bin, so that what is
#: exactly at the limit is on the side that passes. Doublings: what matters is how far from 1.
HISTOGRAM_EDGES = tuple(2.0**exponent for exponent in range(-10, 11))


@dataclass(slots=True)
class Peak:
    """The largest value so far and the first flat index that has it; -1 while it is 0."""

    value: float = 0.0
    index: int = -1

    def offer(self, value: float, index: int) -> None:
        """Take a value from a later index if it is larger."""
        if value > self.value:
            self.value, self.index = value, index


@dataclass(slots=True)
class NonFiniteTally:
    """Counts of NaN, +Inf and -Inf on either side, and where they begin."""

    actual: list[int] = field(default_factory=lambda: [0, 0, 0])
    reference: list[int] = field(default_factory=lambda: [0, 0, 0])
    positions: int = 0
    disagreeing: int = 0
    first: int = -1
    first_disagreeing: int = -1

    def add(self, actual: Array, reference: Array, start: int) -> npt.NDArray[np.intp]:
        """Count one chunk; return the positions in it that are finite on both sides."""
        for counts, side in ((self.actual, actual), (self.reference, reference)):
            infinite = np.isinf(side)
            negative = infinite & (side.real < 0)
            counts[0] += int(np.count_nonzero(np.isnan(side)))
            counts[1] += int(np.count_nonzero(infinite & ~negative))
            counts[2] += int(np.count_nonzero(negative))
        finite = np.isfinite(actual) & np.isfinite(reference)
        agreeing = finite | (actual == reference) | (np.isnan(actual) & np.isnan(reference))
        self.positions += int(finite.size - np.count_nonzero(finite))
        self.disagreeing += int(agreeing.size - np.count_nonzero(agreeing))
        if self.first < 0 and not finite.all():
            self.first = start + int(finite.argmin())
        if self.first_disagreeing < 0 and not agreeing.all():
            self.first_disagreeing = start + int(agreeing.argmin())
        return np.flatnonzero(finite)


@dataclass(slots=True)
class Deviation:
    """Everything that elementwise comparison measures, over the chunks so far.

    Attributes:
        row_length: Elements per row along axis 0, or 0 when rows are not counted.
        mismatched_rows: One flag per row.
        scale: Largest |reference| among the elements that are finite on both sides.
    """

    row_length: int
    mismatched_rows: npt.NDArray[np.bool_]
    compared: int = 0
    mismatched: int = 0
    worst_abs: Peak = field(default_factory=Peak)
    worst_rel: Peak = field(default_factory=Peak)
    worst_used: Peak = field(default_factory=Peak)
    needed_atol: float = 0.0
    needed_rtol: float = 0.0
    scale: float = 0.0
    nonfinite: NonFiniteTally = field(default_factory=NonFiniteTally)


def measure(
    actual: Array, reference: Array, *, rtol: float, atol: float, chunk: int = CHUNK
) -> Deviation:
    """Measure how far apart two numeric arrays of one shape are.

    Args:
        actual: Any layout, and any element type that casts to float64 or complex128.
        reference: The same shape.
        rtol: See `Tolerance`.
        atol: See `Tolerance`.
        chunk: Elements measured at a time.
    """
    load = load_for(actual.dtype, reference.dtype)
    if 0 < actual.size <= min(_SMALL, chunk) and load is load_real:
        with np.errstate(all="ignore"):
            found = _measure_small(actual, reference, rtol, atol)
        if found is not None:
            return found
    return _Meter(actual, reference, rtol, atol, chunk).run(actual.size)


def _measure_small(actual: Array, reference: Array, rtol: float, atol: float) -> Deviation | None:
    """Measure a few elements at once, or return None unless all are finite and within tolerance.

    The figures are those of `_Meter`, whose buffers and filters cost more than ten elements.
    """
    magnitude = reference.astype(np.float64).ravel()
    difference = actual.astype(np.float64).ravel()
    np.subtract(difference, magnitude, out=difference)
    np.abs(difference, out=difference)
    np.abs(magnitude, out=magnitude)
    peak = _peak_of(difference)
    if not peak.value < math.inf:
        return None
    found = Deviation(0, _NO_ROWS, difference.size, scale=_peak_of(magnitude).value)
    if peak.value == 0.0:
        return found
    relative = np.multiply(magnitude, rtol)
    limit = np.add(relative, atol)
    used = _peak_of(np.divide(difference, limit))
    if not used.value <= 1.0:
        return None
    found.worst_abs, found.worst_used = peak, used
    worst_rel = _peak_of(np.divide(difference, magnitude))
    if not worst_rel.value < math.inf:  # elements whose reference is 0 have none
        shares = np.zeros_like(magnitude)
        np.divide(difference, magnitude, out=shares, where=magnitude > 0.0)
        worst_rel = _peak_of(shares)
    if worst_rel.value > 0.0:
        found.worst_rel = worst_rel
    np.subtract(difference, relative, out=relative)
    found.needed_atol = _round_up(_peak_of(relative).value)
    if peak.value > atol:
        beyond = difference > atol
        needed = (difference[beyond] - atol) / magnitude[beyond]
        found.needed_rtol = _round_up(_peak_of(needed).value)
    return found


def _peak_of(values: FloatArray) -> Peak:
    """The largest value and its index; the first NaN, if there is one."""
    index = int(values.argmax())
    return Peak(values.item(index), index)


class _Meter:
    """Two arrays, the buffers they are measured in, and the figures over the chunks so far."""

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
        """Measure all elements in ascending order, so that the first index wins."""
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
            offer(found.worst_rel, self._relative(difference, magnitude))
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

    def _relative(self, difference: FloatArray, magnitude: FloatArray) -> FloatArray:
        """Return difference / magnitude, in scratch memory; 0 where the reference is 0."""
        scratch, flags = self.scratch[: difference.size], self.flags[: difference.size]
        np.divide(difference, magnitude, out=scratch)
        if not scratch.item(scratch.argmax()) < np.inf:
            np.greater(magnitude, 0.0, out=flags)
            scratch.fill(0.0)
            np.divide(difference, magnitude, out=scratch, where=flags)
        return scratch

    def _may_exceed(
        self, difference: FloatArray, scale: FloatArray, best: float, offset: float = 0.0
    ) -> bool:
        """Whether difference / scale, less an offset, may be above the best so far anywhere."""
        if best == np.inf:
            return False
        if best == 0.0:
            return True
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

    0/0 counts as 0 and inf/inf as 1: numpy's comparison passes both, too.
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


def error_histogram(
    actual: Array, reference: Array, *, rtol: float, atol: float, chunk: int = CHUNK
) -> tuple[int, ...]:
    """Return how many elements use which share of the tolerance.

    The first count is of elements without any error, then one for each of `HISTOGRAM_EDGES`, and
    the last is of those beyond. Elements that are not finite on both sides are left out.

    Args:
        actual: Numbers of any layout.
        reference: The same shape.
        rtol: See `Tolerance`.
        atol: See `Tolerance`.
        chunk: Elements counted at a time.
    """
    load = load_for(actual.dtype, reference.dtype)
    readers = FlatReader(actual, chunk), FlatReader(reference, chunk)
    buffers = np.empty((3, min(chunk, actual.size)))
    edges = np.array((0.0, *HISTOGRAM_EDGES))
    counts = np.zeros(edges.size + 1, np.int64)
    with np.errstate(all="ignore"):
        for start in range(0, actual.size, chunk):
            stop = min(start + chunk, actual.size)
            left, right = (reader.read(start, stop) for reader in readers)
            difference, limit, shares = (buffer[: stop - start] for buffer in buffers)
            load(left, right, difference, limit)
            known = np.isfinite(left) & np.isfinite(right)
            # Not multiplied by 0: of a magnitude that overflowed it would be NaN.
            limit[:] = limit * rtol + atol if rtol else atol
            shares_of(difference, limit, shares)
            places = np.searchsorted(edges, shares[known], side="left")
            counts += np.bincount(places, minlength=counts.size)
    return tuple(int(count) for count in counts)
