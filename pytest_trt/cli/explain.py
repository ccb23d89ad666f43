"""`pytest-trt explain`: what a diagnostic code means and what to do about it."""

from __future__ import annotations

import textwrap

import click

from pytest_trt.cli.command import EXIT_STATUSES, Command, command, json_option, walk
from pytest_trt.cli.completion import complete_codes
from pytest_trt.cli.output import echo, echo_json
from pytest_trt.cli.table import print_table
from pytest_trt.codes import CODES
from pytest_trt.diagnostics import ConfigurationError, Remedy

#: What may be explained besides codes.
EXIT_STATUS = "exit-status"


@command(
    examples=[
        "pytest-trt explain TRT401",
        "pytest-trt explain exit-status",
        "pytest-trt explain --json",
    ],
)
@click.argument("code", required=False, shell_complete=complete_codes)
@json_option
def explain(code: str | None, as_json: bool) -> None:
    """Explain a diagnostic code, such as TRT401; without one, list them all.

    "exit-status" lists what each exit status of each command means.
    """
    if code == EXIT_STATUS:
        _explain_statuses(as_json=as_json)
        return
    wanted = sorted(CODES) if code is None else [_known(code)]
    if as_json:
        entries = {name: CODES[name]._asdict() for name in wanted}
        echo_json(entries)
    elif code is None:
        for name in wanted:
            echo(f"{name}  {CODES[name].title}")
    else:
        for line in _text(wanted[0]):
            echo(line)


def _explain_statuses(*, as_json: bool) -> None:
    from pytest_trt.cli import commands

    negative = {
        " ".join(path): one.negative
        for path, one in walk(commands)
        if isinstance(one, Command) and one.negative
    }
    if as_json:
        echo_json({"statuses": EXIT_STATUSES, "status_1": negative})
        return
    rows = [(str(status), meaning) for status, meaning in EXIT_STATUSES.items()]
    print_table(("status", "meaning"), rows, giving_way=())
    echo()
    print_table(("command", "status 1 if"), list(negative.items()), giving_way=())


def _known(code: str) -> str:
    name = code.upper()
    if name in CODES:
        return name
    raise ConfigurationError(
        f"unknown diagnostic code {code!r}",
        fix=Remedy("Run this to list all codes:", ("pytest-trt explain",)),
        code="TRT101",
        facts={"code": code},
    )


def _text(name: str) -> list[str]:
    entry = CODES[name]
    lines = [f"{name}: {entry.title}", ""]
    for part in (entry.meaning, entry.action):
        lines += textwrap.wrap(part, 80)
        lines.append("")
    return lines[:-1]
