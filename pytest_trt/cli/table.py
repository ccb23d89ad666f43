"""Tables that never wrap: on a narrow terminal names are shortened, in a pipe nothing is."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeAlias

from rich.cells import cell_len
from rich.text import Text

from pytest_trt.cli.output import columns, console
from pytest_trt.escaping import terminal
from pytest_trt.report.table import shortened

#: A cell: its text, alone or with its colour.
Cell: TypeAlias = "str | tuple[str, str]"

#: A row: its cells, or a line across all columns.
Row: TypeAlias = "str | Sequence[Cell]"

_GAP = "  "

#: Columns that a name has at least.
_LEAST = 9


def print_table(titles: Sequence[str], rows: Sequence[Row], *, giving_way: Sequence[int]) -> None:
    """Print rows under their titles.

    A pipe has no width, so nothing is shortened there unless COLUMNS sets one.
    """
    lines, room = console(), columns()
    celled = [row for row in rows if not isinstance(row, str)]
    widths = [
        max(map(cell_len, (title, *(_plain(row[column]) for row in celled))))
        for column, title in enumerate(map(terminal, titles))
    ]
    if room is not None:
        _narrow(widths, room - len(_GAP) * (len(titles) - 1), giving_way)
    ellipsis = "…" if lines.encoding.lower().startswith("utf") else "..."

    def put(row: Sequence[Cell], style: str = "") -> None:
        line = Text()
        for cell, width in zip(row, widths, strict=True):
            plain = shortened(_plain(cell), width, ellipsis)
            line.append(plain, style if isinstance(cell, str) else cell[1])
            line.append(" " * (width - cell_len(plain)) + _GAP)
        line.rstrip()
        lines.print(line, soft_wrap=True)

    put(titles, "bold")
    for row in rows:
        if isinstance(row, str):
            lines.print(Text(terminal(row)), soft_wrap=True)
        else:
            put(row)


def _plain(cell: Cell) -> str:
    return terminal(cell if isinstance(cell, str) else cell[0])


def _narrow(widths: list[int], room: int, giving_way: Sequence[int]) -> None:
    """Narrow the widest of the columns that may be shortened, until the row fits."""
    while giving_way and sum(widths) > room:
        longest = max(giving_way, key=lambda column: widths[column])
        if widths[longest] <= _LEAST:
            return
        widths[longest] -= 1
