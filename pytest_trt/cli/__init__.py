"""The `pytest-trt` command. It needs no GPU and imports no vendor library."""

from __future__ import annotations

import sys

import click

from pytest_trt import __version__
from pytest_trt.cli.baseline import baseline
from pytest_trt.cli.cache import cache
from pytest_trt.cli.doctor import doctor
from pytest_trt.cli.inspect import inspect
from pytest_trt.cli.report import report
from pytest_trt.diagnostics import PytestTrtError

__all__ = ["main"]


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="pytest-trt")
def commands() -> None:
    """Look into what pytest-trt keeps and reads."""


commands.add_command(baseline)
commands.add_command(cache)
commands.add_command(doctor)
commands.add_command(inspect)
commands.add_command(report)


def main() -> None:
    """Run the command; a package error is its text on standard error and exit status 2.

    Status 1 is for answers that are no: a difference, a missing verdict, something that is broken.
    """
    try:
        commands()
    except PytestTrtError as error:
        click.echo(f"Error: {error}", err=True)  # as click begins its own
        sys.exit(2)
