"""The summary's table: engines, the share of the tolerance that they used, outcomes."""

from __future__ import annotations

import io
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from pytest_trt.report import units
from pytest_trt.report.record import ConsistencyRecord, EngineRecord

#: Cells of the bar that shows how much of the tolerance was used.
_BAR_CELLS = 10

#: Terminals at least this wide are also told the engines' sizes.
_WIDE_COLUMNS = 100


@dataclass
class Row:
    """All that the tests found of one model, architecture and precision.

    Attributes:
        engines: The engines that they asked for, one entry per test.
        checks: Their consistency checks.
        outcomes: How many tests passed, failed and were skipped.
    """

    engines: list[EngineRecord] = field(default_factory=list)
    checks: list[ConsistencyRecord] = field(default_factory=list)
    outcomes: Counter[str] = field(default_factory=Counter)


def table_lines(
    rows: Mapping[tuple[str, str, str], Row], *, width: int, color: bool
) -> Iterator[str]:
    """Yield the lines of the table: one for each model, architecture and precision.

    Args:
        rows: What is known of each, by (model, architecture, precision).
        width: Columns of the terminal.
        color: Whether escape sequences may be used.
    """
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
        table.add_row(escape(model), use, _engine(row, wide=wide), _budget(row), _outcomes(row))
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


def _engine(row: Row, *, wide: bool) -> str:
    built = [engine for engine in row.engines if not engine.cached]
    engine = (built or row.engines)[0]
    how = f"built {units.seconds(engine.build_s)}" if built else "cached"
    return f"{how}, {units.size(engine.size_bytes)}" if wide else how


def _budget(row: Row) -> str:
    if not row.checks:
        if not all(engine.runs_here for engine in row.engines):
            return "[yellow]not run here[/]"
        return "[dim]not compared[/]"
    worst = max(row.checks, key=lambda check: check.used or 0.0)
    failed = any(check.verdict != "passed" for check in row.checks)
    used = worst.used or 0.0
    filled = round(min(used, 1.0) * _BAR_CELLS)
    style = "red" if failed else ("yellow" if used > 0.8 else "green")
    bar = "█" * filled + "░" * (_BAR_CELLS - filled)
    output = escape(worst.worst_output or "")
    return f"[{style}]{bar}[/] {units.share(worst.used):>5} {output}"


def _outcomes(row: Row) -> str:
    styles = {"failed": "red", "passed": "green", "skipped": "yellow"}
    return ", ".join(
        f"[{styles[outcome]}]{row.outcomes[outcome]} {outcome}[/]"
        for outcome in styles
        if row.outcomes[outcome]
    )
