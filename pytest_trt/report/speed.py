"""The summary's lines about speed: one for each test that was measured."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from rich.cells import cell_len

from pytest_trt import units
from pytest_trt.benchmark.result import BenchmarkResult
from pytest_trt.report.fit import shortened
from pytest_trt.report.speed_text import (
    FIGURE_OF,
    METRIC_OF,
    NAMES,
    figure,
    gravest_change,
    gravest_limit,
)
from pytest_trt.report.structure_text import leading_structure, structure_figures

_STYLES = {"passed": "32", "failed": "31", "regressed": "31", "not comparable": "31"}
_OTHER_STYLE = "33"

#: What is told of a baseline that is new; what was not recorded is no verdict of its own.
_UPDATES = {"first": "recorded", "added": "run added"}

#: Columns that the name of what was measured keeps, however narrow the terminal is.
_SUBJECT_LEAST = 12


def speed_lines(
    records: Sequence[BenchmarkResult], *, width: int, color: bool, ellipsis: str = "..."
) -> Iterator[str]:
    """Yield a line for each record: what was measured, a figure, its change, the verdict.

    Args:
        records: What the tests found.
        width: Columns of the terminal.
        color: Whether escape sequences may be used.
        ellipsis: What stands for the middle of names that are too long.
    """
    subjects = [_subject(record) for record in records]
    if len(set(subjects)) < len(subjects):  # several tests measure one: say which test each is
        subjects = [f"{record.test.rpartition('::')[2]} {record.arch}" for record in records]
    rows = [
        (subject, *_figures(record), _told(record))
        for subject, record in zip(subjects, records, strict=True)
    ]
    if not rows:
        return
    fixed = sum(max(cell_len(row[column]) for row in rows) + 2 for column in (1, 2, 3))
    room = max(width - fixed - len("speed  "), _SUBJECT_LEAST)
    subject_width = min(room, max(cell_len(row[0]) for row in rows))
    widths = [max(cell_len(row[column]) for row in rows) for column in (1, 2)]
    for row, record in zip(rows, records, strict=True):
        subject = shortened(row[0], subject_width, ellipsis)
        told = row[3]
        if color:
            told = f"\x1b[{_STYLES.get(record.verdict, _OTHER_STYLE)}m{told}\x1b[0m"
        yield (
            f"speed  {subject.ljust(subject_width)}  {row[1].ljust(widths[0])}  "
            f"{row[2].ljust(widths[1])}  {told}"
        )


def _subject(record: BenchmarkResult) -> str:
    return " ".join(filter(None, (record.model, record.precision, record.arch)))


def _figures(record: BenchmarkResult) -> tuple[str, str]:
    """The figure that says most, and how it stands to its limit."""
    structure = leading_structure(record)
    if structure is not None:
        return structure_figures(structure)
    limit, change = gravest_limit(record), gravest_change(record)
    if limit is not None and (change is None or limit.outcome == "failed"):
        metric = METRIC_OF[limit.name]
        shown = f"{NAMES[metric].lower()} {figure(metric, limit.measured)}"
        return shown, f"(limit {figure(metric, limit.limit)})"
    metric = change.metric if change else "p99" if "p99_ms" in record.candidate else "p50"
    value = record.candidate.get(FIGURE_OF[metric])
    shown = f"{NAMES[metric].lower()} {figure(metric, value)}" if value is not None else ""
    if change is None or change.change is None:
        return shown, ""
    return shown, f"{units.change(change.change)} (limit {units.percent(change.limit)})"


def _told(record: BenchmarkResult) -> str:
    if record.update and not record.fails:
        return _UPDATES.get(record.update, record.update)
    return record.verdict
