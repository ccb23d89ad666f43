"""What the command prints: lines, whose text is escaped, and data, which others read.

Text has colours and is fitted to the columns of a terminal. A pipe has neither: nothing is wrapped
or shortened there unless COLUMNS sets a width. NO_COLOR removes the colours from both, and
FORCE_COLOR adds them to both.
"""

from __future__ import annotations

import json
import os
import shutil
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import click

from pytest_trt.diagnostics import PytestTrtError
from pytest_trt.escaping import block, terminal
from pytest_trt.records import to_data

if TYPE_CHECKING:
    from rich.console import Console


def echo(line: str = "", *, err: bool = False) -> None:
    """Print one line; what a terminal would not show is escaped."""
    click.echo(terminal(line), err=err)


def echo_error(error: PytestTrtError) -> None:
    """Print an error with its remedy on standard error, like the errors of click."""
    click.echo(block(f"Error: {error}"), err=True)


def echo_data(text: str) -> None:
    """Print JSON, a schema, or a text in another format, unchanged."""
    click.echo(text, nl=not text.endswith("\n"))


def echo_json(data: object) -> None:
    """Print data as JSON; see `to_data`."""
    echo_data(json.dumps(to_data(data), indent=2))


def columns() -> int | None:
    """Return how many columns lines may have; None if they are not limited."""
    if sys.stdout.isatty() or os.environ.get("COLUMNS", "").isdecimal():
        return shutil.get_terminal_size().columns
    return None


def console(*, colors: bool = True, err: bool = False) -> Console:
    """Return what prints lines with colours, unless they are not wanted."""
    from rich.console import Console

    class Lines(Console):
        def on_broken_pipe(self) -> None:
            raise BrokenPipeError

    if not colors or os.environ.get("NO_COLOR"):
        return Lines(stderr=err, highlight=False, color_system=None)
    forced = True if os.environ.get("FORCE_COLOR") else None
    return Lines(stderr=err, highlight=False, force_terminal=forced)


@contextmanager
def steps(title: str) -> Iterator[Callable[[str], None]]:
    """Show the step of something that takes long while it lasts, where a terminal can."""
    if not sys.stderr.isatty():
        yield lambda step: None
        return
    from rich.markup import escape

    with console(err=True).status(escape(terminal(title))) as status:
        yield lambda step: status.update(escape(terminal(step)))
