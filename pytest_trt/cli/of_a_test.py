"""What commands that run a test share: the test, further arguments of pytest, and a time limit."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import click

from pytest_trt.cli.command import FiniteRange
from pytest_trt.cli.completion import complete_tests

_Command = TypeVar("_Command", bound=Callable[..., Any])

#: Options that a command does not have are pytest's.
SETTINGS = {"ignore_unknown_options": True}

timeout_option = click.option(
    "--timeout",
    "timeout_s",
    type=FiniteRange(min=0, min_open=True),
    default=600.0,
    show_default=True,
    help="Seconds for each engine.",
)


def test_and_arguments(command: _Command) -> _Command:
    """Add the arguments TEST and PYTEST_ARGS to a command with `SETTINGS`."""
    passed_on = click.argument("pytest_args", nargs=-1, type=click.UNPROCESSED)
    return click.argument("test", shell_complete=complete_tests)(passed_on(command))
