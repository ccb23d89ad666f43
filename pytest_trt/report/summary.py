"""The summary section: one line for each model, precision and architecture, then what to know."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field

from pytest_trt.report import units
from pytest_trt.report.record import ConsistencyRecord, EngineRecord, TestRecord

#: Cells of the bar that shows how much of the tolerance was used.
_BAR_CELLS = 10

#: Terminals at least this wide are also told the engines' sizes.
_WIDE_COLUMNS = 100


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


@dataclass
class _Row:
    """Everything that the tests found of one engine use."""

    engines: list[EngineRecord] = field(default_factory=list)
    checks: list[ConsistencyRecord] = field(default_factory=list)
    outcomes: Counter[str] = field(default_factory=Counter)


def summary_lines(results: Sequence[TestResult], *, width: int, color: bool) -> Iterator[str]:
    """Yield the lines of the summary section.

    Args:
        results: Every test that left a record, in any order.
        width: Columns of the terminal.
        color: Whether escape sequences may be used.
    """
    rows = _rows(results)
    yield from _table(rows, width=width, color=color)
    yield from _remarks(rows, results)


def _rows(results: Iterable[TestResult]) -> dict[tuple[str, str, str], _Row]:
    rows: dict[tuple[str, str, str], _Row] = {}
    for result in results:
        mentioned = set()
        for engine in result.record.engines:
            key = (engine.model, engine.arch, engine.precision)
            rows.setdefault(key, _Row()).engines.append(engine)
            mentioned.add(key)
        for check in result.record.checks:
            key = (check.model, check.arch, check.precision)
            rows.setdefault(key, _Row()).checks.append(check)
        for key in mentioned:
            rows[key].outcomes[result.outcome] += 1
    return rows


def _table(rows: dict[tuple[str, str, str], _Row], *, width: int, color: bool) -> Iterator[str]:
    import io

    from rich.console import Console
    from rich.table import Table

    # Blank separators of one column: the whole fits into 80.
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold")
    table.add_column("model", overflow="ellipsis", no_wrap=True, max_width=max(width // 4, 12))
    for title in ("for", "engine"):
        table.add_column(title, no_wrap=True)
    table.add_column("tolerance used", overflow="ellipsis", no_wrap=True)
    table.add_column("tests", overflow="fold")
    wide = width >= _WIDE_COLUMNS
    for (model, arch, precision), row in rows.items():
        use = f"{arch} {precision}"
        table.add_row(model, use, _engine(row, wide=wide), _budget(row), _outcomes(row))
    stream = io.StringIO()
    console = Console(
        file=stream,
        width=width,
        force_terminal=color,
        color_system="standard" if color else None,
        no_color=not color,
        highlight=False,
    )
    console.print(table)
    for line in stream.getvalue().splitlines():
        yield line.rstrip()


def _engine(row: _Row, *, wide: bool) -> str:
    built = [engine for engine in row.engines if not engine.cached]
    engine = (built or row.engines)[0]
    how = f"built {units.seconds(engine.build_s)}" if built else "cached"
    return f"{how}, {units.size(engine.size_bytes)}" if wide else how


def _budget(row: _Row) -> str:
    if not row.checks:
        if not all(engine.runs_here for engine in row.engines):
            return "[yellow]not run here[/]"
        return "[dim]not compared[/]"
    worst = max(row.checks, key=lambda check: check.used or 0.0)
    failed = any(check.verdict != "passed" for check in row.checks)
    used = worst.used or 0.0
    filled = min(_BAR_CELLS, round(used * _BAR_CELLS))
    style = "red" if failed else ("yellow" if used > 0.8 else "green")
    bar = "█" * filled + "░" * (_BAR_CELLS - filled)
    return f"[{style}]{bar}[/] {units.share(worst.used):>5} {worst.worst_output}"


def _outcomes(row: _Row) -> str:
    styles = {"failed": "red", "passed": "green", "skipped": "yellow"}
    return ", ".join(
        f"[{styles[outcome]}]{row.outcomes[outcome]} {outcome}[/]"
        for outcome in styles
        if row.outcomes[outcome]
    )


def _remarks(
    rows: dict[tuple[str, str, str], _Row], results: Sequence[TestResult]
) -> Iterator[str]:
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
