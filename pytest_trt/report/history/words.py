"""The texts of a history, shared by terminal and page."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from pytest_trt.report.comparison.findings import Direction, Finding, Kind
from pytest_trt.report.comparison.words import cells
from pytest_trt.report.history.trends import (
    History,
    HistoryRun,
    Trend,
    TrendBreak,
    TrendChange,
)
from pytest_trt.wording import count

_COUNTED = {
    Direction.WORSE: "worse",
    Direction.BETTER: "better",
    Direction.CHANGED: "changed",
    Direction.NO_VERDICT: "without a verdict in the newest run",
    Direction.SAME: "unchanged",
}


def summary(history: History) -> str:
    """Return how many trends changed how: "12 runs, 3 trends: 1 worse, 2 unchanged"."""
    counts = Counter(one.direction for one in history.trends)
    shown = ", ".join(f"{counts[one]} {text}" for one, text in _COUNTED.items() if counts[one])
    trends = count(len(history.trends), "trend")
    return f"{count(len(history.runs), 'run')}, {trends}{': ' if shown else ''}{shown}"


def where(trend: Trend) -> str:
    """Return the engine and what it ran on: "digits.onnx fp16 on sm86 (NVIDIA A10)"."""
    return f"{trend.engine} on {trend.place}".lstrip()


def when(run: HistoryRun) -> str:
    """Return a run by its commit and time: "c0ffee12, 2026-11-05 10:00"."""
    time = f"{run.started[:10]} {run.started[11:16]}"
    return f"{run.commit[:8]}, {time}" if run.commit else time


def change_text(finding: Finding) -> str:
    """Return a change: "P99 1.00 ms -> 1.20 ms, +20% (+19% to +21%)"."""
    label, before, now, change, bounds, _ = cells(finding)
    return f"{label} {before} -> {now}{f', {change}' if change else ''}" + (
        f" ({bounds})" if bounds else ""
    )


def break_text(history: History, one: TrendBreak) -> str:
    """Return where and why a trend is not joined."""
    what = "speed" if one.kind is Kind.SPEED else "error"
    return f"{what} not joined at {when(history.runs[one.run])}: {'; '.join(one.why)}"


def failing_text(history: History, trend: Trend) -> str:
    """Return since when a trend's test fails; empty where its newest run did not."""
    since = trend.failing_since
    if since is None:
        return ""
    return f"{trend.points[-1].status} in every run since {when(history.runs[since])}"


def untested_text(trend: Trend) -> str:
    """Return why the newest run has no verdict; empty where it has one."""
    return f"no verdict in the newest run: {trend.untested}" if trend.untested else ""


def uncollected_texts(history: History) -> Iterator[str]:
    """Yield the files that the newest run could not collect."""
    newest = history.runs[-1]
    for file, why in newest.uncollected.items():
        yield f"{file} could not be collected at {when(newest)}: {why}"


def by_run(trend: Trend) -> Iterator[list[TrendChange]]:
    """Yield the changes of each run that has some, the newest first."""
    found: dict[tuple[int, int], list[TrendChange]] = {}
    for one in trend.changes:
        found.setdefault((one.run, one.since), []).append(one)
    return reversed(found.values())


def has_drifted(trend: Trend) -> bool:
    """Whether the newest run differs from the first, and no two neighbors do."""
    found = {one.direction for one in trend.overall}
    return not trend.changes and bool(found & {Direction.WORSE, Direction.BETTER})
