"""Reports of many runs, one a day, for tests of histories."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone
from typing import Any

from builders_report import document, target
from report.comparison.test_compare import timed

from pytest_trt.report.document import Document
from pytest_trt.report.history.build import HistoryBuilder
from pytest_trt.report.history.trends import History
from pytest_trt.report.status import PhaseOutcomes

_FIRST = datetime(2026, 10, 1, 3, 0, tzinfo=timezone.utc)


def commit(day: int) -> str:
    """The commit that was tested on a day, counted from 0."""
    return f"{day:08x}".ljust(40, "0")


def on_day(
    day: int, tests: dict[str, PhaseOutcomes | None], *, id: str = "", **of: Any
) -> Document:
    """The report of a day, counted from 0."""
    started = _FIRST + timedelta(days=day)
    facts = {"commit": commit(day), "targets": [target()], **of}
    return document(
        tests,
        id=id or f"day {day}",
        started=started.isoformat(),
        started_s=started.timestamp(),
        **facts,
    )


def stepped(days: int, at: int, factor: float = 1.2, **of: Any) -> list[Document]:
    """Reports of a test that takes longer from one day on."""
    return [
        on_day(day, {"test_it": timed(factor if day >= at else 1.0, seed=day)}, **of)
        for day in range(days)
    ]


def history_of(*reports: Document) -> History:
    """The history of reports, in files of their position."""
    builder = HistoryBuilder()
    for number, report in enumerate(reports):
        builder.add(f"{number}.json", report)
    return builder.history()
