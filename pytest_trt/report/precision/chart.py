"""Points on two axes as inline SVG: logarithmic where values span decades, readable without colour.

Every point has a text beside it, and the page has all figures in a table as well.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from pytest_trt.escaping import html
from pytest_trt.report.html.scale import Scale

_WIDTH, _HEIGHT = 720, 380
_LEFT, _RIGHT, _TOP, _BOTTOM = 84, 120, 18, 52

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
    across = Scale([one.x for one in shown], _LEFT, _WIDTH - _RIGHT)
    up = Scale([one.y for one in shown], _HEIGHT - _BOTTOM, _TOP)
    parts = [*_grid(across, up, x, y), *_line(shown, across, up)]
    for one in shown:
        parts += _point(one, across.place(one.x), up.place(one.y))
    return (
        f'<svg class="plot" viewBox="0 0 {_WIDTH} {_HEIGHT}" role="img" '
        f'aria-label="{html(title)}. {html(summary)}"><title>{html(title)}</title>'
        f"<desc>{html(summary)}</desc>{''.join(parts)}</svg>"
    )


def _grid(across: Scale, up: Scale, x: Axis, y: Axis) -> Iterator[str]:
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


def _line(points: Sequence[Point], across: Scale, up: Scale) -> Iterator[str]:
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
