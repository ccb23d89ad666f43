"""A history as one HTML page that needs no network and no script."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

from pytest_trt import units
from pytest_trt.escaping import html
from pytest_trt.report.comparison.findings import Direction, Finding, Kind
from pytest_trt.report.history.chart import (
    STYLE,
    Line,
    Mark,
    Named,
    Plot,
    sparkline,
    trend_chart,
)
from pytest_trt.report.history.trends import FAILED, History, Trend, TrendPoint
from pytest_trt.report.history.words import (
    break_text,
    by_run,
    change_text,
    failing_text,
    has_drifted,
    summary,
    uncollected_texts,
    untested_text,
    when,
    where,
)
from pytest_trt.report.html.static import chip, static_page
from pytest_trt.wording import count

#: Statuses of `page.css`, marks and words.
_STATUSES = {
    Direction.WORSE: ("failed", "✕", "worse"),
    Direction.BETTER: ("passed", "✓", "better"),
    Direction.CHANGED: ("inconclusive", "≠", "changed"),
    Direction.NO_VERDICT: ("inconclusive", "?", "no verdict"),
    Direction.SAME: ("skipped", "=", "unchanged"),
}

#: Runs with changes that are listed at the top.
_LISTED = 10

_FIGURES = {"P99": "p99_ms", "P95": "p95_ms", "P50": "p50_ms", "throughput": "throughput_qps"}

_STYLE = (
    STYLE
    + """
.trends > details { border-top: 1px solid var(--line); padding: 0.5rem 0; overflow-wrap: anywhere; }
.trends > details > summary { width: auto; color: var(--text); display: grid; grid-template-columns: minmax(0, 1fr) 10rem 8rem 8rem; gap: 0.2rem 0.8rem; align-items: center; }
.trends > details > summary .name { font-weight: 550; }
.trends > details > summary .name::before { content: "▸ " / ""; color: var(--link); }
.trends > details[open] > summary .name::before { content: "▾ " / ""; }
.trends > details > summary .name small { display: block; }
.trends > details > :not(summary) { margin-top: 0.5rem; }
.trends .spark { width: 100%; height: 2rem; overflow: hidden; }
.trends .charts { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(100%, 22rem), 1fr)); gap: 1rem 1.5rem; margin: 0.8rem 0; }
.trends .changes { width: auto; max-width: none; }
.region { overflow-x: auto; }
.region .grid td, .region .grid th { white-space: nowrap; }
.region .news td { vertical-align: top; white-space: normal; overflow-wrap: anywhere; }
.news ul { list-style: none; padding: 0; }
.notes ul { padding-left: 1.1rem; }
@media (max-width: 760px) {
  .trends > details > summary { grid-template-columns: minmax(0, 1fr) 7rem; }
  .trends > details > summary .name { grid-column: 1 / -1; }
  .trends > details > summary .latest { display: none; }
}
"""  # noqa: E501
)


def page(history: History) -> str:
    """Return a history as a page."""
    body = "\n".join(_body(history))
    return static_page(summary(history), body, command="pytest-trt report history", style=_STYLE)


def _body(history: History) -> Iterator[str]:
    first, last = history.runs[0], history.runs[-1]
    yield (
        f"<p>From {html(when(first))} to {html(when(last))}. Each run is compared with the one "
        "before it on the same machine, with the rule of <code>report compare</code>. "
        "Filled triangles mark what became worse, hollow ones what became better; a cross is a "
        "failed run. Runs that measured different things are not joined.</p>"
    )
    if missing := [html(line) for line in uncollected_texts(history)]:
        yield f"<h2>Not collected in the newest run</h2>{_list(missing)}"
    if any(trend.changes for trend in history.trends):
        yield _news(history)
    yield '<h2>Trends</h2><div class="trends">'
    for trend in history.trends:
        yield _trend(history, trend)
    yield "</div>"
    if history.left_out:
        lines = "".join(
            f"<li><code>{html(one.code)}</code> {html(one.message)}</li>"
            for one in history.left_out
        )
        yield f"<h2>Files left out</h2><ul>{lines}</ul>"


def _news(history: History) -> str:
    """Return a table of runs with changes, the newest first."""
    found = [
        (changes[0].run, trend, changes) for trend in history.trends for changes in by_run(trend)
    ]
    found.sort(key=lambda one: -one[0])
    rows = "".join(
        f"<tr><td>{html(when(history.runs[run]))}</td>"
        f"<td>{html(trend.test)}<br><small>{html(where(trend))}</small></td>"
        f"<td>{_list([_change(one.finding) for one in changes])}</td>"
        f"<td>{_list([html(line) for line in changes[0].differences])}</td></tr>"
        for run, trend, changes in found[:_LISTED]
    )
    more = len(found) - _LISTED
    rest = f"<p>Shown with their tests: {count(more, 'earlier change')}.</p>" if more > 0 else ""
    heads = ("run", "test", "change (bounds)", "what else differs from the run before")
    return f"<h2>Changes</h2>{_table('Changes, the newest first', heads, rows, 'news')}{rest}"


def _change(finding: Finding) -> str:
    status, mark, _ = _STATUSES[finding.direction]
    return f"{chip(status, mark, finding.direction.value)} {html(change_text(finding))}"


def _list(lines: Sequence[str]) -> str:
    return f"<ul>{''.join(f'<li>{line}</li>' for line in lines)}</ul>" if lines else ""


def _table(label: str, heads: Sequence[str], rows: str, kind: str = "") -> str:
    """Return a table in a region that can be scrolled with the keyboard."""
    head = "".join(f'<th scope="col">{html(text)}</th>' for text in heads)
    return (
        f'<div class="region" role="region" tabindex="0" aria-label="{html(label)}">'
        f'<table class="grid {kind}"><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table>'
        "</div>"
    )


def _trend(history: History, trend: Trend) -> str:
    axis = [at for at, run in enumerate(history.runs) if _is_on_axis(trend, at, run.places)]
    unchanged = trend.direction is Direction.SAME and trend.failing_since is None
    opened = "" if unchanged else " open"
    plots = [one for one in (_latency(history, trend, axis), *_others(history, trend, axis)) if one]
    latest = trend.points[-1]
    figures = [text for text in (_figure("P99", latest) or _figure("P50", latest),) if text]
    figures += [units.share(latest.error)] * (latest.error is not None and not figures)
    spark = sparkline(plots[0].lines[0], axis) if plots else ""
    charts = "".join(map(trend_chart, plots))
    notes = _list([html(line) for line in _notes(history, trend)])
    return (
        f'<details{opened}><summary><span class="name">{html(trend.test)}'
        f"<small>{html(where(trend))}</small></span>{spark or '<span></span>'}"
        f'<span class="latest">{html(", ".join(figures))}</span>'
        f"{_status(trend)}</summary>"
        f'<div class="notes">{notes}</div><div class="charts">{charts}</div>'
        f"<details><summary>All figures as a table</summary>{_figures(history, trend)}</details>"
        "</details>"
    )


def _notes(history: History, trend: Trend) -> Iterator[str]:
    """Yield what charts show only to those who compare their ends, one line each."""
    if failing := failing_text(history, trend):
        yield failing
    if untested := untested_text(trend):
        yield untested
    for one in trend.overall:
        if one.direction in (Direction.WORSE, Direction.BETTER):
            yield f"newest against first: {change_text(one)}, {one.direction.value}"
    if has_drifted(trend):
        yield "no two neighboring runs differ with confidence: the trend drifted"
    for broken in trend.breaks:
        yield break_text(history, broken)


def _status(trend: Trend) -> str:
    if trend.failing_since is not None:
        return chip("failed", "✕", trend.points[-1].status)
    if trend.untested:
        return chip(*_STATUSES[Direction.NO_VERDICT])
    if len(trend.points) == 1:
        return chip("skipped", "–", "one run")
    return chip(*_STATUSES[trend.direction])


def _is_on_axis(trend: Trend, at: int, places: Sequence[str]) -> bool:
    return trend.place in places or any(point.run == at for point in trend.points)


def _figures(history: History, trend: Trend) -> str:
    changed: dict[int, list[str]] = {}
    for one in trend.changes:
        text = f"{change_text(one.finding)}: {one.finding.direction.value}"
        changed.setdefault(one.run, []).append(text)
    names = [name for name in _FIGURES if any(_figure(name, point) for point in trend.points)]
    errors = any(point.error is not None for point in trend.points)
    rows = "".join(
        f"<tr><td>{html(when(history.runs[point.run]))}</td><td>{html(point.status)}</td>"
        + "".join(f"<td>{html(_figure(name, point))}</td>" for name in names)
        + (f"<td>{html(units.share(point.error))}</td>" if errors else "")
        + f"<td>{html('; '.join(changed.get(point.run, [])))}</td></tr>"
        for point in reversed(trend.points)
    )
    heads = ["run", "status", *names, *(["tolerance used"] if errors else []), "changes"]
    return _table(f"All figures of {trend.test}, {where(trend)}", heads, rows)


def _figure(name: str, point: TrendPoint) -> str:
    value = point.figures.get(_FIGURES[name])
    metric = "throughput" if name == "throughput" else "p99"
    return "" if value is None else units.figure(metric, float(value))


def _latency(history: History, trend: Trend, axis: Sequence[int]) -> Plot | None:
    lines = [_line(trend, name, Kind.SPEED) for name in ("P99", "P50")]
    return _plot(history, trend, axis, "Latency in ms", [one for one in lines if one.values])


def _others(history: History, trend: Trend, axis: Sequence[int]) -> Iterator[Plot | None]:
    throughput = _line(trend, "throughput", Kind.SPEED)
    yield _plot(history, trend, axis, "Throughput per second", [throughput])
    error = _line(trend, "error", Kind.ERROR)
    yield _plot(history, trend, axis, "Largest error, as a share of the tolerance", [error])


def _line(trend: Trend, name: str, kind: Kind) -> Line:
    values = {}
    for point in trend.points:
        value = point.error if kind is Kind.ERROR else point.figures.get(_FIGURES[name])
        if value is not None and math.isfinite(float(value)):
            values[point.run] = float(value)
    breaks = {one.run for one in trend.breaks if one.kind is kind}
    pieces: list[list[int]] = []
    for run in values:
        crossed = pieces and any(pieces[-1][-1] < at <= run for at in breaks)
        if not pieces or crossed:
            pieces.append([])
        pieces[-1].append(run)
    return Line(name, values, pieces)


def _plot(
    history: History, trend: Trend, axis: Sequence[int], title: str, lines: Sequence[Line]
) -> Plot | None:
    lines = [line for line in lines if line.values]
    if not lines:
        return None
    names = {line.name for line in lines}
    kind = Kind.ERROR if "error" in names else Kind.SPEED
    limit = 1.0 if kind is Kind.ERROR and max(lines[0].values.values()) > 0.1 else None
    return Plot(
        title=title,
        summary=_summary(history, lines, kind),
        runs={run: history.runs[run].name for run in axis},
        lines=lines,
        text=_share if kind is Kind.ERROR else units.three_digits,
        marks=[
            Mark(
                change.run,
                _name(change.finding),
                change.finding.direction,
                units.change(change.finding.change) if change.finding.change is not None else "",
                f"{when(history.runs[change.run])}: {change_text(change.finding)}, "
                f"{change.finding.direction.value}",
            )
            for change in trend.changes
            if any(
                line.name == _name(change.finding) and change.run in line.values for line in lines
            )
        ],
        breaks=[Named(one.run, "; ".join(one.why)) for one in trend.breaks if one.kind is kind],
        failed=[
            Named(point.run, f"{when(history.runs[point.run])}: {point.status}")
            for point in trend.points
            if point.status in FAILED
        ],
        limit=limit,
    )


def _share(value: float) -> str:
    """Return a share of a tolerance as an axis needs it, which may be far below 0.1%."""
    return units.share(value) if value > 1 else units.percent(value)


def _name(finding: Finding) -> str:
    """Return the name of the line that shows a finding."""
    if finding.kind is Kind.ERROR:
        return "error"
    return finding.name if finding.name == "throughput" else finding.name.upper()


def _summary(history: History, lines: Sequence[Line], kind: Kind) -> str:
    write = _share if kind is Kind.ERROR else units.three_digits
    texts = []
    for line in lines:
        runs = list(line.values)
        ends = dict.fromkeys((runs[0], runs[-1]))
        figures = (f"{write(line.values[run])} at {history.runs[run].name}" for run in ends)
        texts.append(f"{line.name} {' to '.join(figures)}, {count(len(runs), 'run')}")
    return "; ".join(texts)
