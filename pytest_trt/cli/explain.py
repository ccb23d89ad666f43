"""`pytest-trt explain`: what a diagnostic code means and what to do about it."""

from __future__ import annotations

import json
import textwrap

import click

from pytest_trt.cli.output import echo, echo_data
from pytest_trt.codes import CODES
from pytest_trt.diagnostics import ConfigurationError, Remedy


@click.command()
@click.argument("code", required=False)
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def explain(code: str | None, as_json: bool) -> None:
    """Explain a diagnostic code, such as TRT401; without one, list them all."""
    wanted = sorted(CODES) if code is None else [_known(code)]
    if as_json:
        entries = {name: CODES[name]._asdict() for name in wanted}
        echo_data(json.dumps(entries, indent=2))
    elif code is None:
        for name in wanted:
            echo(f"{name}  {CODES[name].title}")
    else:
        for line in _text(wanted[0]):
            echo(line)


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
