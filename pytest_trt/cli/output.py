"""What the command prints: lines, whose text is escaped, and data, which others read."""

from __future__ import annotations

import click

from pytest_trt.diagnostics import PytestTrtError
from pytest_trt.escaping import block, terminal


def echo(line: str = "", *, err: bool = False) -> None:
    """Print one line; what a terminal would not show is escaped."""
    click.echo(terminal(line), err=err)


def echo_error(error: PytestTrtError) -> None:
    """Print an error with its remedy on standard error, like the errors of click."""
    click.echo(block(f"Error: {error}"), err=True)


def echo_data(text: str) -> None:
    """Print JSON, a schema, or a text in another format, unchanged."""
    click.echo(text, nl=not text.endswith("\n"))
