"""The summary section: one line for each model, precision and architecture, then what to know."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from pytest_trt.report.record import TestRecord
from pytest_trt.report.table import Row, table_lines


@dataclass(frozen=True, slots=True)
class TestResult:
    """A test's outcome beside what the plugin recorded of it.

    Attributes:
        nodeid: The test.
        outcome: "passed", "failed" or "skipped", as pytest says.
        record: What the plugin found.
    """

    __test__ = False

    nodeid: str
    outcome: str
    record: TestRecord


def summary_lines(results: Sequence[TestResult], *, width: int, color: bool) -> Iterator[str]:
    """Yield the lines of the summary section.

    Args:
        results: Every test that left a record, in any order.
        width: Columns of the terminal.
        color: Whether escape sequences may be used.
    """
    rows = _rows(results)
    yield from table_lines(rows, width=width, color=color)
    yield from _remarks(rows, results)


def _rows(results: Iterable[TestResult]) -> dict[tuple[str, str, str], Row]:
    rows: dict[tuple[str, str, str], Row] = {}
    for result in results:
        mentioned = set()
        for engine in result.record.engines:
            key = (engine.model, engine.arch, engine.precision)
            rows.setdefault(key, Row()).engines.append(engine)
            mentioned.add(key)
        for check in result.record.checks:
            key = (check.model, check.arch, check.precision)
            rows.setdefault(key, Row()).checks.append(check)
        for key in mentioned:
            rows[key].outcomes[result.outcome] += 1
    return rows


def _remarks(rows: dict[tuple[str, str, str], Row], results: Sequence[TestResult]) -> Iterator[str]:
    for (model, arch, precision), row in rows.items():
        subject = f"{model} {precision} {arch}"
        for engine in row.engines:
            if not engine.cached:
                yield f"built {subject}: {engine.reason}"
        texts = [text for engine in row.engines for text in (*engine.warnings, *engine.notes)]
        for text in dict.fromkeys(texts):
            yield f"note  {subject}: {text}"
    skipped = Counter(r.record.skipped for r in results if r.record.skipped)
    for reason, count in skipped.items():
        yield f"skipped {count} test{'s' if count > 1 else ''}: {reason}"
