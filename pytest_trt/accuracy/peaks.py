"""The running figures of one comparison: what every chunk adds to."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from pytest_trt.accuracy.flat import Array


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
    """Everything that elementwise comparison measures, over the chunks seen so far.

    Attributes:
        row_length: Elements per row along axis 0, or 0 when rows are not told apart.
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
