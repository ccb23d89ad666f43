"""Numbers as messages show them: enough digits to act on, no more."""

from __future__ import annotations

import math
from collections.abc import Iterable


def figure(value: float) -> str:
    """Return a number with up to four significant digits."""
    return f"{value:.4g}"


def scalar(value: object) -> str:
    """Return one tensor element: floats shortened, everything else as it is."""
    if isinstance(value, bool | int | str):
        return repr(value)
    if isinstance(value, complex):
        return f"{value:.4g}"
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def multiple(value: float) -> str:
    """Return how many times something is: three digits, or all that it has before the point."""
    return f"{value:,.0f}" if 1e3 <= value < 1e6 else f"{value:.3g}"


def share(pct: float) -> str:
    """Return a percentage, never rounded to 0% or 100% when it is neither."""
    if 0.0 < pct < 0.01:
        return "under 0.01%"
    if 99.9 < pct < 100.0:
        return "over 99.9%"
    return f"{pct:.3g}%"


def quoted(names: Iterable[str]) -> str:
    """Return all names, quoted: "'a'", "'a' and 'b'", "'a', 'b' and 'c'"."""
    *first, last = map(repr, names)
    return f"{', '.join(first)} and {last}" if first else last


def rounded_up(value: float, digits: int = 2) -> float:
    """Return the next number of so many significant digits that is not smaller."""
    if value <= 0.0 or not math.isfinite(value):
        return value
    exponent = math.floor(math.log10(value)) - digits + 1
    steps = math.floor(value / 10.0**exponent)
    # Division rounds either way; the decimal text decides.
    while (rounded := float(f"{steps}e{exponent}")) < value:
        steps += 1
    return rounded
