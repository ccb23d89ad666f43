"""The `pytest-trt` command. It needs no GPU and imports no vendor library."""

from __future__ import annotations

import sys

import click

from pytest_trt.cli.baseline import baseline
from pytest_trt.cli.cache import cache
from pytest_trt.cli.doctor import doctor
from pytest_trt.cli.explain import explain
from pytest_trt.cli.export import export
from pytest_trt.cli.inspect import inspect
from pytest_trt.cli.localize import localize
from pytest_trt.cli.options import options
from pytest_trt.cli.output import echo_error
from pytest_trt.cli.report import report
from pytest_trt.cli.suggest import suggest
from pytest_trt.cli.tune import tune
from pytest_trt.cli.verify import verify
from pytest_trt.diagnostics import PytestTrtError
from pytest_trt.version import __version__

__all__ = ["main"]


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="pytest-trt")
def commands() -> None:
    """Inspect caches and reports, export tested plans, choose a precision, check this machine."""


commands.add_command(baseline)
commands.add_command(cache)
commands.add_command(doctor)
commands.add_command(explain)
commands.add_command(export)
commands.add_command(inspect)
commands.add_command(localize)
commands.add_command(options)
commands.add_command(report)
commands.add_command(suggest)
commands.add_command(tune)
commands.add_command(verify)


def main() -> None:
    """Run the command; an error of this package is printed on standard error with exit status 2.

    Status 1 is a negative answer: a difference, a missing verdict, something that does not work.
    """
    try:
        commands()
    except PytestTrtError as error:
        echo_error(error)  # like the errors of click
        sys.exit(2)
