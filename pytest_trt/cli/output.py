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
    """Print data as JSON."""
    echo_data(json.dumps(data, indent=2, default=dict))


def columns() -> int | None:
    """Return how many columns lines may have; None if they are not limited."""
    if sys.stdout.isatty() or os.environ.get("COLUMNS", "").isdecimal():
        return shutil.get_terminal_size().columns
    return None


def console(*, colors: bool = True) -> Console:
    """Return what prints lines with colours, unless they are not wanted."""
    from rich.console import Console

    class Lines(Console):
        def on_broken_pipe(self) -> None:
            raise BrokenPipeError

    if not colors or os.environ.get("NO_COLOR"):
        return Lines(highlight=False, color_system=None)
    return Lines(highlight=False, force_terminal=True if os.environ.get("FORCE_COLOR") else None)


@contextmanager
def steps(title: str) -> Iterator[Callable[[str], None]]:
    """Show the step of something that takes long while it lasts, where a terminal can."""
    if not sys.stderr.isatty():
        yield lambda step: None
        return
    from rich.console import Console
    from rich.markup import escape

    colors = None if os.environ.get("NO_COLOR") else "auto"
    with Console(stderr=True, color_system=colors).status(escape(terminal(title))) as status:  # type: ignore[arg-type]
        yield lambda step: status.update(escape(terminal(step)))
