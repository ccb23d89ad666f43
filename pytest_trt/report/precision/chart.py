"""Points on two axes as inline SVG: logarithmic where values span decades, readable without colour.

Every point has a text beside it, and the page has all figures in a table as well.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from pytest_trt.escaping import html

_WIDTH, _HEIGHT = 720, 380
_LEFT, _RIGHT, _TOP, _BOTTOM = 84, 120, 18, 52

#: Values closer together than this factor get a linear axis.
_DECADE = 10.0

#: Lines on a linear axis.
_STEPS = 4

STYLE = """
.plot { display: block; width: 100%; max-width: 900px; height: auto; }
.plot { font: 13px system-ui, sans-serif; }
.plot text { fill: var(--text); }
.plot .tick { fill: var(--muted); }
.plot .rule { stroke: var(--line); stroke-width: 1; }
.plot .front { fill: none; stroke: var(--now); stroke-width: 1.5; stroke-dasharray: 5 4; }
.plot .point { fill: var(--of, var(--quiet)); stroke: var(--page); stroke-width: 1.5; }
.plot .best { fill: none; stroke: var(--text); stroke-width: 2; }
"""


@dataclass(frozen=True, slots=True)
class Point:
    """One point.

    Attributes:
        label: The text beside it.
        x: Its place on the horizontal axis.
        y: Its place on the vertical axis; 0 is drawn at the lower end of a logarithmic axis.
        passed: Whether it is a disc; else it is a cross.
        on_line: Whether the line runs through it.
        ringed: Whether it is the one to choose.
    """

    label: str
    x: float
    y: float
    passed: bool = True
    on_line: bool = False
    ringed: bool = False


@dataclass(frozen=True, slots=True)
class Axis:
    """One axis.

    Attributes:
        title: What it shows, with its unit.
        text: Writes a value.
    """

    title: str
    text: Callable[[float], str] = "{:.3g}".format


def chart(points: Sequence[Point], x: Axis, y: Axis, *, title: str, summary: str) -> str:
    """Return a chart as SVG; a paragraph where nothing can be drawn.

    Args:
        points: Points; those that are not finite are left out.
        x: The horizontal axis.
        y: The vertical axis.
        title: Its title, for screen readers.
        summary: What it shows, for screen readers.
    """
    shown = [one for one in points if math.isfinite(one.x) and math.isfinite(one.y)]
    if not shown:
        return "<p>Nothing was measured that could be drawn.</p>"
    across = _Scale([one.x for one in shown], _LEFT, _WIDTH - _RIGHT)
    up = _Scale([one.y for one in shown], _HEIGHT - _BOTTOM, _TOP)
    parts = [*_grid(across, up, x, y), *_line(shown, across, up)]
    for one in shown:
        parts += _point(one, across.place(one.x), up.place(one.y))
    return (
        f'<svg class="plot" viewBox="0 0 {_WIDTH} {_HEIGHT}" role="img" '
        f'aria-label="{html(title)}. {html(summary)}"><title>{html(title)}</title>'
        f"<desc>{html(summary)}</desc>{''.join(parts)}</svg>"
    )


class _Scale:
    """Values to places on one axis."""

    def __init__(self, values: Sequence[float], start: float, end: float) -> None:
        positive = [value for value in values if value > 0]
        low, high = min(values), max(values)
        self.is_log = bool(positive) and high / min(positive) >= _DECADE and low >= 0
        self._low: float
        self._high: float
        if self.is_log:
            # Zero has no logarithm: it is drawn a decade below the smallest value.
            low = min(positive) / (_DECADE if low == 0 else 1)
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
            return [10.0**exponent for exponent in range(low, high + 1, decades)]
        step = _round_step((self._high - self._low) / _STEPS)
        first = math.ceil(self._low / step)
        return [step * number for number in range(first, math.floor(self._high / step) + 1)]


def _round_step(least: float) -> float:
    """Return the next step of 1, 2 or 5 that is not smaller."""
    unit = 10.0 ** math.floor(math.log10(least))
    return next(unit * times for times in (1, 2, 5, 10) if unit * times >= least)


def _grid(across: _Scale, up: _Scale, x: Axis, y: Axis) -> Iterator[str]:
    right, bottom = _WIDTH - _RIGHT, _HEIGHT - _BOTTOM
    for value in across.ticks():
        place = across.place(value)
        yield f'<line class="rule" x1="{place:.1f}" x2="{place:.1f}" y1="{_TOP}" y2="{bottom}"/>'
        yield _text(place, bottom + 18, x.text(value), "middle", "tick")
    for value in up.ticks():
        place = up.place(value)
        yield f'<line class="rule" x1="{_LEFT}" x2="{right}" y1="{place:.1f}" y2="{place:.1f}"/>'
        yield _text(_LEFT - 8, place + 4, y.text(value), "end", "tick")
    yield _text((_LEFT + right) / 2, _HEIGHT - 10, x.title, "middle")
    middle = (_TOP + bottom) / 2
    yield (
        f'<text text-anchor="middle" transform="translate(16 {middle:.1f}) rotate(-90)">'
        f"{html(y.title)}</text>"
    )


def _text(x: float, y: float, text: str, anchor: str, kind: str = "") -> str:
    of = f' class="{kind}"' if kind else ""
    return f'<text{of} x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">{html(text)}</text>'


def _line(points: Sequence[Point], across: _Scale, up: _Scale) -> Iterator[str]:
    through = sorted((one.x, one.y) for one in points if one.on_line)
    if len(through) > 1:
        places = " ".join(f"{across.place(x):.1f},{up.place(y):.1f}" for x, y in through)
        yield f'<polyline class="front" points="{places}"/>'


def _point(one: Point, x: float, y: float) -> Iterator[str]:
    status = "passed" if one.passed else "failed"
    shape = f'<circle cx="{x:.1f}" cy="{y:.1f}" r="6"/>'
    if not one.passed:
        corners = ((-6, -6, 6, 6), (-6, 6, 6, -6))
        shape = "".join(
            f'<path d="M{x + a:.1f} {y + b:.1f}L{x + c:.1f} {y + d:.1f}" '
            'stroke="var(--of)" stroke-width="3"/>'
            for a, b, c, d in corners
        )
    yield f'<g class="point" data-status="{status}">{shape}</g>'
    if one.ringed:
        yield f'<circle class="best" cx="{x:.1f}" cy="{y:.1f}" r="11"/>'
    yield _text(x + 15, y + 4, one.label, "start")
