"""What the command prints: lines, whose text is escaped, and data, which others read."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import click
from rich.console import Console
from rich.markup import escape

from pytest_trt.diagnostics import PytestTrtError, ReportError
from pytest_trt.escaping import block, terminal
from pytest_trt.files import atomic_write


def echo(line: str = "", *, err: bool = False) -> None:
    """Print one line; what a terminal would not show is escaped."""
    click.echo(terminal(line), err=err)


def echo_error(error: PytestTrtError) -> None:
    """Print an error with its remedy on standard error, like the errors of click."""
    click.echo(block(f"Error: {error}"), err=True)


def echo_data(text: str) -> None:
    """Print JSON, a schema, or a text in another format, unchanged."""
    click.echo(text, nl=not text.endswith("\n"))


def write_text(path: Path, text: str | bytes) -> None:
    """Write a file that the user named; text as UTF-8.

    Raises:
        ReportError: It cannot be written.
    """
    try:
        atomic_write(path, text)
    except OSError as error:
        raise ReportError(
            f"{path} cannot be written: {error.strerror}",
            fix="Name a file in a writable folder.",
            code="TRT901",
            facts={"file": str(path), "error": error.strerror},
        ) from error


@contextmanager
def steps(title: str) -> Iterator[Callable[[str], None]]:
    """Show the step of something that takes long while it lasts, where a terminal can."""
    with Console(stderr=True).status(escape(terminal(title))) as status:
        yield lambda step: status.update(escape(terminal(step)))
