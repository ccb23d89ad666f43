"""The `pytest-trt` command. It needs no GPU and imports no vendor library."""

from __future__ import annotations

import importlib
import os
import sys

import click

from pytest_trt.cli.command import COMPLETE_VARIABLE, NAME, CommandGroup
from pytest_trt.diagnostics import PytestTrtError
from pytest_trt.version import __version__

__all__ = ["main"]

#: The module of each command, and its short help.
_COMMANDS = {
    "baseline": (
        "pytest_trt.cli.baseline",
        "List, compare, accept, collect, rename and prune baselines of speed and of answers.",
    ),
    "cache": ("pytest_trt.cli.cache", "List, explain, verify and clear the engine cache."),
    "completion": ("pytest_trt.cli.completion", "Print the script that completes commands."),
    "doctor": (
        "pytest_trt.cli.doctor",
        "Check this machine and the project in this folder, and show how to fix what does not "
        "work.",
    ),
    "explain": ("pytest_trt.cli.explain", "Explain a diagnostic code, or list them all."),
    "export": (
        "pytest_trt.cli.export",
        "Write the plans of engines that passed in the last run.",
    ),
    "init": ("pytest_trt.cli.init", "Write a first test module for the models of a project."),
    "inspect": ("pytest_trt.cli.inspect", "Show the contents of an ONNX model or a plan."),
    "localize": ("pytest_trt.cli.localize", "Name the layers that lose precision in TEST."),
    "options": ("pytest_trt.cli.options", "List the builder options of each backend."),
    "report": ("pytest_trt.cli.report", "Show, merge and compare reports of runs."),
    "suggest": (
        "pytest_trt.cli.suggest",
        "Propose a precision, or the tolerances of a test, from measurements.",
    ),
    "tune": ("pytest_trt.cli.tune", "Find the nodes that have to stay in FP32 for TEST to pass."),
    "verify": ("pytest_trt.cli.verify", "Verify exported plans by their manifests."),
}


@click.command(
    cls=CommandGroup, lazy=_COMMANDS, context_settings={"help_option_names": ["-h", "--help"]}
)
@click.version_option(__version__, prog_name=NAME)
def commands() -> None:
    """Write first tests, inspect caches and reports, choose a precision, check this machine.

    `pytest-trt init` is where to start.
    """


def main() -> None:
    """Run the command, and exit with one of `EXIT_STATUSES`.

    Errors are printed on standard error, those of this package with their remedy.
    """
    if instruction := os.environ.get(COMPLETE_VARIABLE):
        completion = importlib.import_module("pytest_trt.cli.completion")
        sys.exit(completion.answer(commands, instruction))
    sys.exit(_run(sys.argv[1:]))


def _run(arguments: list[str]) -> int:
    # Not click's own `main`: for Ctrl-C and closed pipes it has the status of a negative answer.
    try:
        with commands.make_context(NAME, arguments) as context:
            commands.invoke(context)
    except click.exceptions.Exit as ended:
        return ended.exit_code
    except click.ClickException as error:
        error.show()
        return error.exit_code
    except PytestTrtError as error:
        from pytest_trt.cli.output import echo_error

        echo_error(error)  # like the errors of click
        return 2
    except click.Abort:
        return _aborted(1)
    except KeyboardInterrupt:
        return _aborted(130)
    except BrokenPipeError:
        # Nothing more can be printed, also not when the interpreter ends.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 141
    except OSError as error:
        # Such as a name that is too long, or a full disk. Python's own status is 1, an answer.
        from pytest_trt.cli.output import echo

        echo(f"Error: {error}", err=True)
        return 2
    return 0


def _aborted(status: int) -> int:
    from pytest_trt.cli.output import echo

    echo("Aborted!", err=True)
    return status
