"""Axes of charts: logarithmic where values span decades, with ticks at round values."""

from __future__ import annotations

import math
from collections.abc import Sequence

#: Values closer together than this factor get a linear axis.
_DECADE = 10.0

#: Lines on a linear axis.
_STEPS = 4


class Scale:
    """Values to places on one axis.

    Args:
        values: What is to be shown, all finite, at least one.
        start: Where the axis begins.
        end: Where it ends.
    """

    def __init__(self, values: Sequence[float], start: float, end: float) -> None:
        positive = [value for value in values if value > 0]
        low, high = min(values), max(values)
        self.is_log = bool(positive) and high / min(positive) >= _DECADE and low >= 0
        self._low: float
        self._high: float
        self._zero = False
        if self.is_log:
            # Zero has no logarithm: it is drawn a decade below the smallest value.
            self._zero = low == 0
            low = min(positive) / (_DECADE if self._zero else 1)
            self._low = math.floor(math.log10(low))
            self._high = max(math.ceil(math.log10(high)), self._low + 1)
        else:
            room = (high - low) * 0.1 or abs(high) * 0.1 or 1.0
            self._low, self._high = (max(0.0, low - room) if low >= 0 else low - room), high + room
        self._start, self._end = start, end

    def place(self, value: float) -> float:
        """Return where a value lies."""
        if self.is_log:
            value = math.log10(value) if value > 0 else self._low
        share = (value - self._low) / (self._high - self._low)
        return self._start + share * (self._end - self._start)

    def ticks(self) -> list[float]:
        """Return the values that have a line."""
        if self.is_log:
            low, high = int(self._low), int(self._high)
            decades = max(1, (high - low) // 6)
            found = [10.0**exponent for exponent in range(low, high + 1, decades)]
            return [0.0, *found[1:]] if self._zero else found
        step = _round_step((self._high - self._low) / _STEPS)
        first = math.ceil(self._low / step)
        return [step * number for number in range(first, math.floor(self._high / step) + 1)]


def _round_step(least: float) -> float:
    """Return the next step of 1, 2 or 5 that is not smaller."""
    unit = 10.0 ** math.floor(math.log10(least))
    return next(unit * times for times in (1, 2, 5, 10) if unit * times >= least)
