"""A comparison of precisions as one page: error against latency, and all figures."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from pytest_trt import units
from pytest_trt.escaping import html
from pytest_trt.precision.suggest import PrecisionResult, PrecisionSuggestion
from pytest_trt.report.html.static import chip, static_page
from pytest_trt.report.precision.chart import STYLE, Axis, Point, chart
from pytest_trt.report.precision.words import (
    cells,
    conditions,
    figure,
    heading,
    outcome,
    problems,
    titles,
)

_CHIPS = {
    "best": ("passed", "★"),
    "within tolerance": ("passed", "✓"),
    "beyond tolerance": ("failed", "✕"),
    "not measured": ("not measured", "?"),
}


def suggestion_page(suggestion: PrecisionSuggestion) -> str:
    """Return a comparison as a page."""
    body = "\n".join(_body(suggestion))
    return static_page(
        heading(suggestion), body, command="pytest-trt suggest precision", style=STYLE
    )


def _body(suggestion: PrecisionSuggestion) -> Iterator[str]:
    yield "<h2>Error against latency</h2>"
    yield chart(
        [_point(one) for one in suggestion.precisions if one.p50_ms and one.error is not None],
        Axis("P50 in ms", units.three_digits),
        Axis("relative L2 error", figure),
        title="Error against latency of each precision",
        summary=_summary(suggestion),
    )
    yield (
        "<p>Lower and further left is better. The dashed line joins the precisions that no other "
        "one beats in both (the Pareto front); the ring marks the best within tolerance; crosses "
        "are beyond it.</p>"
    )
    yield "<h2>Precisions</h2>"
    rows = [
        [*map(html, cells(one, suggestion)[:-1]), chip(*_CHIPS[outcome(one)], outcome(one))]
        for one in suggestion.precisions
        if one.passed is not None
    ]
    yield table(titles(suggestion), rows)
    missing = problems(suggestion)
    if missing:
        yield "<h2>Not measured</h2>"
        yield table(("precision", "reason"), [list(map(html, pair)) for pair in missing])
    yield "<h2>Conditions</h2>"
    yield f"<ul>{''.join(f'<li>{html(line)}</li>' for line in conditions(suggestion))}</ul>"


def _point(one: PrecisionResult) -> Point:
    return Point(
        one.precision,
        one.p50_ms or 0.0,
        one.error or 0.0,
        passed=bool(one.passed),
        on_line=one.pareto,
        ringed=one.best,
    )


def _summary(suggestion: PrecisionSuggestion) -> str:
    return "; ".join(
        f"{one.precision}: P50 {units.latency(one.p50_ms)}, relative error {figure(one.error)}, "
        f"{outcome(one)}"
        for one in suggestion.precisions
        if one.p50_ms is not None
    )


def table(names: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Return a table, whose cells are HTML."""
    head = "".join(f'<th scope="col">{html(name)}</th>' for name in names)
    lines = "".join(
        "<tr>"
        + "".join(
            f'<td data-label="{html(name)}">{cell}</td>'
            for name, cell in zip(names, row, strict=True)
        )
        + "</tr>"
        for row in rows
    )
    return (
        f'<div class="scroll"><table class="grid"><thead><tr>{head}</tr></thead>'
        f"<tbody>{lines}</tbody></table></div>"
    )
