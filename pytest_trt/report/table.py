"""The table of the summary: engines, the share of the tolerance that they used, outcomes."""

from __future__ import annotations

import io
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from rich.cells import cell_len, set_cell_size
from rich.console import Console
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from pytest_trt import units
from pytest_trt.accuracy.result import AccuracyResult
from pytest_trt.engine.record import EngineRecord
from pytest_trt.escaping import terminal

#: Width of the bar that shows how much of the tolerance was used.
_BAR_CELLS = 10

#: Outcomes of tests in their order, with their colours.
_OUTCOMES = {
    "failed": "red",
    "error": "red",
    "passed": "green",
    "skipped": "yellow",
    "xfailed": "yellow",
    "xpassed": "yellow",
}

#: Width of the share next to the bar.
_SHARE_COLUMNS = 5

#: Title of the bars, where they are drawn.
_TITLE = "tolerance used"

#: Blank columns between two columns of the table.
_GAP = 2

#: Terminals at least this wide also show the engines' sizes.
_WIDE_COLUMNS = 100


@dataclass
class Row:
    """What the tests found about one model, architecture and precision.

    Attributes:
        engines: Their engines, one entry per test.
        checks: Their consistency checks.
        outcomes: Number of tests by pytest's outcome.
        unbuilt: Whether an engine could not be built.
    """

    engines: list[EngineRecord] = field(default_factory=list)
    checks: list[AccuracyResult] = field(default_factory=list)
    outcomes: Counter[str] = field(default_factory=Counter)
    unbuilt: bool = False

    @property
    def worst(self) -> AccuracyResult | None:
        """The check that used the largest share of its tolerance."""
        return max(self.checks, key=lambda check: check.used or 0.0, default=None)


@dataclass(frozen=True, slots=True)
class _Line:
    """The parts of one line, as markup where they are coloured."""

    model: str
    use: str
    engine: str
    row: Row
    tests: str

    @property
    def output(self) -> str:
        """The name next to the bar."""
        return terminal((self.row.worst and self.row.worst.worst_output) or "")


@dataclass(frozen=True, slots=True)
class _Marks:
    """Characters that not every encoding has."""

    full: str
    empty: str
    ellipsis: str


_BLOCKS = _Marks("█", "░", "…")
_ASCII = _Marks("#", ".", "...")


def table_lines(
    rows: Mapping[tuple[str, str, str], Row], *, width: int, color: bool, ascii: bool = False
) -> Iterator[str]:
    """Yield the lines of the table: one for each model, architecture and precision.

    Args:
        rows: What is known of each, by (model, architecture, precision).
        width: Columns of the terminal.
        color: Whether escape sequences may be used.
        ascii: Whether bars and ellipses have to do with ASCII.
    """
    wide = width >= _WIDE_COLUMNS
    lines = [
        _Line(
            terminal(model),
            terminal(f"{arch} {precision}"),
            _engine(row, wide=wide),
            row,
            _outcomes(row),
        )
        for (model, arch, precision), row in rows.items()
    ]
    shape, marks = _fitted(lines, width), _ASCII if ascii else _BLOCKS
    table = Table(box=None, pad_edge=False, padding=(0, _GAP, 0, 0), header_style="bold")
    for title in ("model", "for", "engine", _TITLE if shape.bar else "used", "tests"):
        table.add_column(title, no_wrap=True)
    for line in lines:
        model = escape(shortened(line.model, shape.model, marks.ellipsis))
        used = _budget(line.row, shape, marks)
        table.add_row(model, escape(line.use), line.engine, used, line.tests)
    yield from _printed(table, width=width, color=color)


def _printed(table: Table, *, width: int, color: bool) -> Iterator[str]:
    stream = io.StringIO()
    console = Console(
        file=stream,
        width=width,
        force_terminal=color,
        color_system="standard" if color else None,
        no_color=not color,
        highlight=False,
    )
    # A line longer than the terminal can be read, a table that was folded into it cannot.
    console.width = max(
        width, console.measure(table, options=console.options.update(width=1000)).maximum
    )
    console.print(table)
    for line in stream.getvalue().splitlines():
        yield line.rstrip()


def _fitted(lines: Sequence[_Line], width: int) -> Fit:
    def longest(*texts: str) -> int:
        return max(map(cell_len, texts), default=0)

    fixed = (
        longest("for", *(line.use for line in lines))
        + longest("engine", *(Text.from_markup(line.engine).plain for line in lines))
        + longest("tests", *(Text.from_markup(line.tests).plain for line in lines))
    )
    output = longest(*(line.output for line in lines))
    unchecked = longest(*(_not_checked(line.row) for line in lines))
    return fit(
        width - fixed - 4 * _GAP,
        model=longest("model", *(line.model for line in lines)),
        output=output + 1 if output else 0,
        bar=_BAR_CELLS + 1 + _SHARE_COLUMNS if output else max(len(_TITLE), unchecked),
        least=max(_SHARE_COLUMNS, unchecked),
    )


def _engine(row: Row, *, wide: bool) -> str:
    if not row.engines:
        return "[red]not built[/]"
    built = [engine for engine in row.engines if not engine.cached]
    engine = (built or row.engines)[0]
    how = f"built {units.seconds(engine.build_s or 0)}" if built else "cached"
    if engine.plan:
        how = "finished plan"
    sized = wide and engine.size_bytes is not None
    return f"{how}, {units.size(engine.size_bytes or 0)}" if sized else how


def _not_checked(row: Row) -> str:
    """Return what is shown instead of the share where no check was made."""
    if row.checks or not row.engines:
        return ""
    can_run = all(engine.runs_here for engine in row.engines)
    return "not compared" if can_run else "not run here"


def _budget(row: Row, shape: Fit, marks: _Marks) -> str:
    worst = row.worst
    if worst is None:
        text = _not_checked(row)
        return f"[{'dim' if text == 'not compared' else 'yellow'}]{text}[/]"
    failed = any(check.verdict != "passed" for check in row.checks)
    used = worst.used or 0.0
    style = "red" if failed else ("yellow" if used > 0.8 else "green")
    share = units.share(worst.used).rjust(_SHARE_COLUMNS)
    if not shape.bar:
        return f"[{style}]{share}[/]"
    filled = round(min(used, 1.0) * _BAR_CELLS)
    bar = marks.full * filled + marks.empty * (_BAR_CELLS - filled)
    used_by = ""
    if shape.output:
        name = shortened(terminal(worst.worst_output or ""), shape.output - 1, marks.ellipsis)
        used_by = f" {escape(name)}"
    return f"[{style}]{bar}[/] {share}{used_by}"


def _outcomes(row: Row) -> str:
    return ", ".join(
        f"[{style}]{row.outcomes[outcome]} {outcome}[/]"
        for outcome, style in _OUTCOMES.items()
        if row.outcomes[outcome]
    )


#: Columns that a name has at least, as long as anything else can be shortened.
_MODEL_LEAST = 12
_OUTPUT_LEAST = 9

#: Columns that a model's name has at least, even if the line is then wider than the terminal.
_MODEL_FLOOR = 4


@dataclass(frozen=True, slots=True)
class Fit:
    """How the parts of a line are shown.

    Attributes:
        model: Width of the model's name.
        output: Width of the name of the worst output; 0 leaves it out.
        bar: Whether the bar is drawn.
    """

    model: int
    output: int
    bar: bool


def fit(room: int, *, model: int, output: int, bar: int, least: int) -> Fit:
    """Return how the parts of a line share their columns; the least important is shortened first.

    Args:
        room: Columns for all of them.
        model: Width of the longest model name.
        output: Width of the longest output name, with the space before it.
        bar: Width of the bar and the share next to it.
        least: Width of what remains without the bar.
    """
    shortest = min(output, _OUTPUT_LEAST)
    # The model in full, and as much of the output as that leaves.
    shown = min(output, room - model - bar)
    if shown >= shortest:
        return Fit(model, shown, True)
    least_model = min(model, _MODEL_LEAST)
    for shown in (shortest, 0):
        if room - bar - shown >= least_model:
            return Fit(min(room - bar - shown, model), shown, True)
    return Fit(max(min(room - least, model), _MODEL_FLOOR), 0, False)


def shortened(text: str, columns: int, mark: str) -> str:
    """Return a text shortened to a width: both of its ends, and a mark between them."""
    if cell_len(text) <= columns:
        return text
    room = max(columns - cell_len(mark), 0)
    tail = room // 2
    end = set_cell_size(text[::-1], tail)[::-1].strip()
    return f"{set_cell_size(text, room - tail).strip()}{mark}{end}"
