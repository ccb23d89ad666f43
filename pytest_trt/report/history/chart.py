"""A trend as inline SVG that fits any width: places across are percentages, texts are not scaled.

Readable without colour: what is worse is marked by a filled triangle, what is better by a hollow
one, a failed run by a cross. The page has all figures in a table as well.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

from pytest_trt import units
from pytest_trt.escaping import html
from pytest_trt.report.comparison.findings import Direction
from pytest_trt.report.html.scale import Scale

#: Heights: of the band for the names of breaks, of the plot, and of the labels of runs.
_BAND, _PLOT, _LABELS = 18, 140, 24

#: Up to so many runs each has a dot; of more, the line alone is drawn.
_DOTTED = 60

#: How far values are from the ends of the axis, and how wide labels of marks and of breaks may be,
#: as shares of the width.
_ENDS, _LABEL, _BREAK_LABEL = 0.03, 0.17, 0.5

#: Characters of the name of a break that the chart shows.
_NAME_CHARS = 22

#: An axis shows at least this much above and below its middle: noise must not look like a trend.
_LEAST_RANGE = 0.1

STYLE = """
.trend { min-width: 0; max-width: 44rem; }
.trend svg.plot { display: block; width: calc(100% - 6.4rem); margin-left: 3.4rem; overflow: visible; font: 12px system-ui, sans-serif; }
.plot svg { overflow: visible; }
.plot text { fill: var(--text); }
.plot .tick { fill: var(--muted); }
.plot .rule { stroke: var(--line); stroke-width: 1; }
.plot polyline { fill: none; stroke: var(--now); stroke-width: 1.75; vector-effect: non-scaling-stroke; }
.plot .second polyline { stroke: var(--baseline); stroke-dasharray: 6 3; }
.plot circle { fill: var(--now); }
.plot .second circle { fill: var(--baseline); }
.plot .limit { stroke: var(--bad); stroke-width: 1.5; stroke-dasharray: 4 3; }
.plot .break { stroke: var(--doubt); stroke-width: 1.5; stroke-dasharray: 2 3; }
.plot .break-name { fill: var(--doubt); }
.plot .step path { stroke: var(--of); stroke-width: 2; stroke-linejoin: round; fill: var(--of); }
.plot .step.better path { fill: var(--page); }
.plot .step text, .plot .name { font-weight: 600; paint-order: stroke; stroke: var(--page); stroke-width: 4px; }
.plot .failed path { stroke: var(--bad); stroke-width: 2.5; }
"""  # noqa: E501


@dataclass(frozen=True, slots=True)
class Line:
    """One figure over the runs.

    Attributes:
        name: What it is, next to its end.
        values: Its finite values by run.
        pieces: The runs of each piece that is joined.
    """

    name: str
    values: Mapping[int, float]
    pieces: Sequence[Sequence[int]]


@dataclass(frozen=True, slots=True)
class Mark:
    """A change that was detected.

    Attributes:
        run: The run that has it.
        line: The line that changed.
        direction: Whether that is worse or better.
        label: The change, short.
        text: All that is known of it.
    """

    run: int
    line: str
    direction: Direction
    label: str
    text: str


@dataclass(frozen=True, slots=True)
class Named:
    """A run with a text: where the line breaks, or where the test failed."""

    run: int
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Plot:
    """What a chart shows.

    Attributes:
        title: What it is about, with its unit.
        summary: What it shows, for those who cannot see it.
        runs: The label of every run on the axis, by its position in the history.
        lines: One line or two, the more important first.
        text: Writes a value.
        marks: Changes.
        breaks: Where lines are not joined.
        failed: Runs in which the test failed.
        limit: Where a limit is drawn.
    """

    title: str
    summary: str
    runs: Mapping[int, str]
    lines: Sequence[Line]
    text: Callable[[float], str] = units.three_digits
    marks: Sequence[Mark] = ()
    breaks: Sequence[Named] = ()
    failed: Sequence[Named] = ()
    limit: float | None = None


def trend_chart(plot: Plot) -> str:
    """Return a chart as a figure with its caption."""
    values = [value for line in plot.lines for value in line.values.values()]
    drawn = _Drawn(plot, _scale(values, plot.limit))
    title, summary = html(plot.title), html(plot.summary)
    return (
        f'<figure class="trend"><figcaption>{title}</figcaption>'
        f'<svg class="plot" height="{_BAND + _PLOT + _LABELS}" role="img" '
        f'aria-label="{title}. {summary}"><desc>{summary}</desc>'
        f"{''.join(drawn.parts())}</svg></figure>"
    )


def sparkline(line: Line, runs: Sequence[int]) -> str:
    """Return a line alone, as small as a word."""
    scale = _scale([*line.values.values()], None)
    across = {run: 1000 * _share(at, len(runs)) for at, run in enumerate(runs)}
    pieces = "".join(
        f'<polyline points="{_points(piece, across, line, scale, 1000 / _PLOT)}"/>'
        for piece in line.pieces
    )
    return (
        '<svg class="plot spark" viewBox="0 0 1000 1158" preserveAspectRatio="none" '
        f'aria-hidden="true">{pieces}</svg>'
    )


def _scale(values: Sequence[float], limit: float | None) -> Scale:
    low, high = min(values), max(values)
    ends = [*values, *([limit] if limit is not None else [])]
    if high > 0 and low > high * (1 - _LEAST_RANGE):
        middle = (low + high) / 2
        ends += [middle * (1 - _LEAST_RANGE / 2), middle * (1 + _LEAST_RANGE / 2)]
    return Scale(ends, _BAND + _PLOT, _BAND)


def _share(at: int, many: int) -> float:
    return 0.5 if many == 1 else _ENDS + (1 - 2 * _ENDS) * at / (many - 1)


def _label_place(share: float) -> tuple[str, float]:
    """Return how a label at a place is anchored, and where it starts."""
    if share < _LABEL / 2:
        return "start", share
    if share > 1 - _LABEL / 2:
        return "end", share - _LABEL
    return "middle", share - _LABEL / 2


def _points(
    piece: Sequence[int], across: Mapping[int, float], line: Line, scale: Scale, times: float = 1.0
) -> str:
    return " ".join(
        f"{across[run]:.1f},{scale.place(line.values[run]) * times:.1f}" for run in piece
    )


class _Drawn:
    """The parts of one chart."""

    def __init__(self, plot: Plot, scale: Scale) -> None:
        self._plot, self._scale = plot, scale
        self._across = {run: _share(at, len(plot.runs)) for at, run in enumerate(plot.runs)}

    def parts(self) -> Iterator[str]:
        yield from self._grid()
        yield from self._run_labels()
        yield from self._breaks()
        for number, line in enumerate(self._plot.lines):
            yield from self._line(line, number)
        yield from self._names()
        yield from self._failures()
        yield from self._marks()

    def _grid(self) -> Iterator[str]:
        for value in self._scale.ticks():
            y = self._scale.place(value)
            yield f'<line class="rule" x1="0" x2="100%" y1="{y:.1f}" y2="{y:.1f}"/>'
            yield (
                f'<text class="tick" x="-8" y="{y + 4:.1f}" text-anchor="end">'
                f"{html(self._plot.text(value))}</text>"
            )
        if self._plot.limit is not None:
            y = self._scale.place(self._plot.limit)
            yield f'<line class="limit" x1="0" x2="100%" y1="{y:.1f}" y2="{y:.1f}"/>'

    def _run_labels(self) -> Iterator[str]:
        runs = list(self._plot.runs)
        last = len(runs) - 1
        for at in sorted({0, last // 2, last} if last != 1 else {0, 1}):
            anchor = "middle" if 0 < at < last or last == 0 else "start" if at == 0 else "end"
            x = self._x(runs[at]) if anchor == "middle" else "0" if anchor == "start" else "100%"
            y = _BAND + _PLOT + _LABELS - 6
            yield (
                f'<text class="tick" x="{x}" y="{y}" text-anchor="{anchor}">'
                f"{html(self._plot.runs[runs[at]])}</text>"
            )

    def _line(self, line: Line, number: int) -> Iterator[str]:
        across = {run: 1000 * share for run, share in self._across.items()}
        height = _BAND + _PLOT
        yield f"<g{' class=second' * bool(number)}>"
        yield (
            f'<svg width="100%" height="{height}" viewBox="0 0 1000 {height}" '
            'preserveAspectRatio="none">'
        )
        for piece in line.pieces:
            if len(piece) > 1:
                yield f'<polyline points="{_points(piece, across, line, self._scale)}"/>'
        yield "</svg>"
        alone = {piece[0] for piece in line.pieces if len(piece) == 1}
        for run, value in line.values.items():
            if len(self._plot.runs) <= _DOTTED or run in alone:
                text = f"{line.name} {self._plot.text(value)}, {self._plot.runs[run]}"
                yield (
                    f'<circle cx="{self._x(run)}" cy="{self._y(value)}" r="3">'
                    f"<title>{html(text)}</title></circle>"
                )
        yield "</g>"

    def _names(self) -> Iterator[str]:
        """Yield the lines' names next to their ends, apart from each other."""
        if len(self._plot.lines) < 2:
            return
        ends = [self._scale.place([*line.values.values()][-1]) for line in self._plot.lines]
        order = sorted(range(len(ends)), key=ends.__getitem__)
        for upper, lower in pairwise(order):
            if (short := 15 - (ends[lower] - ends[upper])) > 0:
                ends[upper] -= short / 2
                ends[lower] += short / 2
        for line, y in zip(self._plot.lines, ends, strict=True):
            yield f'<text x="100%" dx="8" y="{y + 4:.1f}">{html(line.name)}</text>'

    def _breaks(self) -> Iterator[str]:
        free = 0.0
        for one in self._plot.breaks:
            share = self._across[one.run]
            yield (
                f'<line class="break" x1="{self._x(one.run)}" x2="{self._x(one.run)}" '
                f'y1="{_BAND - 4}" y2="{_BAND + _PLOT}"><title>{html(one.text)}</title></line>'
            )
            start = share if share <= 0.5 else max(0.0, share - _BREAK_LABEL)
            if start >= free or (share > 0.5 and share - free >= _BREAK_LABEL):
                name = one.text if len(one.text) <= _NAME_CHARS else f"{one.text[:_NAME_CHARS]}…"
                anchor = "start" if share <= 0.5 else "end"
                yield (
                    f'<text class="break-name" x="{self._x(one.run)}" y="10" '
                    f'text-anchor="{anchor}">{html(name)}</text>'
                )
                free = start + _BREAK_LABEL

    def _failures(self) -> Iterator[str]:
        for one in self._plot.failed:
            values = [line.values[one.run] for line in self._plot.lines if one.run in line.values]
            y = self._y(values[0]) if values else str(_BAND + _PLOT)
            yield (
                f'<svg class="failed" x="{self._x(one.run)}" y="{y}">'
                f"<title>{html(one.text)}</title>"
                '<path d="M-4-4L4 4M-4 4L4-4"/></svg>'
            )

    def _marks(self) -> Iterator[str]:
        """Yield marks; a label where there is room for one, that of the first line first."""
        taken: list[float] = []
        lines = {line.name: line for line in self._plot.lines}
        for one in sorted(self._plot.marks, key=lambda mark: [*lines].index(mark.line)):
            value, share = lines[one.line].values[one.run], self._across[one.run]
            before = [run for run in lines[one.line].values if run < one.run]
            rises = not before or value >= lines[one.line].values[before[-1]]
            path = "M0-7L6 4L-6 4Z" if rises else "M0 7L6-4L-6-4Z"
            label = ""
            anchor, start = _label_place(share)
            if one.label and all(abs(start - other) >= _LABEL for other in taken):
                taken.append(start)
                label = f'<text y="-11" text-anchor="{anchor}">{html(one.label)}</text>'
            status = "failed" if one.direction is Direction.WORSE else "passed"
            yield (
                f'<svg class="step {one.direction.value}" data-status="{status}" '
                f'x="{self._x(one.run)}" y="{self._y(value)}"><title>{html(one.text)}</title>'
                f'<path d="{path}"/>{label}</svg>'
            )

    def _x(self, run: int) -> str:
        return f"{100 * self._across[run]:.2f}%"

    def _y(self, value: float) -> str:
        return f"{self._scale.place(value):.1f}"
