"""How quantities are written for people: the one place that formats units."""

from __future__ import annotations

import math
from numbers import Integral, Real
from typing import Any

#: The name of each metric.
METRIC_NAMES = {"p50": "P50", "p95": "P95", "p99": "P99", "throughput": "throughput"}

#: A bound beyond ten times as much: more digits would not fit a row and say nothing more.
BEYOND = ">+999%"


def seconds(value_s: float) -> str:
    """Return a duration with about two significant digits: "0.3 ms", "12 ms", "3 min 5 s"."""
    if 0 < value_s < 0.000095:
        return f"{value_s * 1000:.2g} ms"
    if 0 < value_s < 0.00995:
        return f"{value_s * 1000:.1f} ms"
    if value_s < 0.9995:
        return f"{value_s * 1000:.0f} ms"
    if value_s < 99.5:
        return f"{value_s:.1f} s"
    return f"{int(value_s) // 60} min {int(value_s) % 60} s"


def age(value_s: float) -> str:
    """Return how long ago something was: "just now", "5 min ago", "3 d ago"."""
    for unit, length_s in (("d", 86400), ("h", 3600), ("min", 60)):
        if value_s >= length_s:
            return f"{value_s // length_s:.0f} {unit} ago"
    return "just now"


def size(value_bytes: float) -> str:
    """Return a size in decimal units: "345 B", "12 kB", "1.2 GB"."""
    unit = "B"
    for larger in ("kB", "MB", "GB", "TB", "PB", "EB"):
        if value_bytes < 999.5:
            break
        value_bytes, unit = value_bytes / 1000, larger
    if value_bytes >= 999.5:  # of a declared size
        return f"{value_bytes:.2g} {unit}"
    digits = 1 if unit != "B" and value_bytes < 9.95 else 0
    return f"{value_bytes:.{digits}f} {unit}"


def share(value: float | None) -> str:
    """Return a share as percent, above all of it in multiples: "0.4%", "38%", "8.85x", ">999x"."""
    if value is None or math.isnan(value):
        return "-"
    if value > 999:
        return ">999x"
    if value > 1:
        return f"{value:.2f}x" if value < 9.95 else f"{value:.0f}x"
    percent = value * 100
    if 0 < percent < 0.1:
        return "<0.1%"
    return f"{percent:.1f}%" if 0 < percent < 9.95 else f"{percent:.0f}%"


def latency(value_ms: float) -> str:
    """Return a latency in milliseconds with three significant digits: "0.0271 ms", "12.3 ms"."""
    return f"{three_digits(value_ms)} ms"


def three_digits(value: float) -> str:
    """Return a number with three significant digits or all before the point: "0.0271", "12,345"."""
    if value >= 99.95:
        return f"{value:,.0f}"
    return f"{value:#.3g}".rstrip(".")


def change(value: float | None) -> str:
    """Return a change as percent with its sign, two digits at least: "+62%", "-1.2%"."""
    if value is None or not math.isfinite(value):
        return "?"
    percent = value * 100
    return f"{percent:+.1f}%" if abs(percent) < 9.95 else f"{percent:+,.0f}%"


def percent(value: float) -> str:
    """Return a share as percent, as short as it can be: "10%", "2.5%"."""
    return f"{value * 100:.3g}%"


def percent_of(value_pct: float) -> str:
    """Return a percentage, never rounded to 0% or 100% when it is neither."""
    if 0.0 < value_pct < 0.01:
        return "under 0.01%"
    if 99.9 < value_pct < 100.0:
        return "over 99.9%"
    return f"{value_pct:.3g}%"


def multiple(value: float) -> str:
    """Return how many times something is: three digits, or all before the point: "1,250"."""
    return f"{value:,.0f}" if 1e3 <= value < 1e6 else f"{value:.3g}"


def parse_factor(value: object) -> float | None:
    """Return the factor that "1.5x" stands for; None for anything else."""
    if not isinstance(value, str) or not value.endswith("x"):
        return None
    try:
        return float(value[:-1])
    except ValueError:
        return None


def rounded_up(value: float, digits: int = 2) -> float:
    """Return the next number of so many significant digits that is not smaller."""
    if value <= 0.0 or not math.isfinite(value):
        return value
    exponent = math.floor(math.log10(value)) - digits + 1
    if exponent < -300:  # a power of ten that is no normal number
        return value
    steps = math.floor(value / 10.0**exponent)
    # Division rounds either way; the decimal text decides.
    while (rounded := float(f"{steps}e{exponent}")) < value:
        steps += 1
    return rounded


def below(value: float, limit: float) -> str:
    """Return a value to four digits, or to as many as show that it is below a limit."""
    texts = (f"{value:.{digits}g}" for digits in range(4, 17))
    return next((text for text in texts if float(text) < limit), repr(value))


def figure(metric: str, value: float) -> str:
    """Return a metric's value with its unit: "1.31 ms", for throughput "12,345/s"."""
    return f"{three_digits(value)}/s" if metric == "throughput" else latency(value)


def bound(change_: float | None) -> str:
    """Return one bound of a change: "+58%"."""
    return BEYOND if change_ is not None and change_ > 9.99 else change(change_)


def metric_change(metric: str, before: float, now: float) -> str:
    """Return how a metric has changed: "P99 1.02 -> 1.31 ms (+28%)".

    Args:
        metric: "p50", "p95", "p99" or "throughput".
        before: Milliseconds, or batch items per second.
        now: The same of now.
    """
    unit = "/s" if metric == "throughput" else " ms"
    then = figure(metric, before)[: -len(unit)]
    return f"{METRIC_NAMES[metric]} {then} -> {figure(metric, now)} ({change(now / before - 1)})"


def plain_number(value: Any) -> Any:
    """Return a real number, such as a NumPy scalar, as Python's own; anything else as it is.

    One beyond float64 becomes infinite, which no limit and no tolerance may be.
    """
    if isinstance(value, bool | float) or not isinstance(value, Real):
        return value
    try:
        number = float(value)
    except OverflowError:
        return math.inf if abs(value) == value else -math.inf
    return int(value) if isinstance(value, Integral) else number
