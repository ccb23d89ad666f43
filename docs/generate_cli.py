"""The page of the `pytest-trt` command, from the commands themselves."""

from __future__ import annotations

import inspect
from collections.abc import Iterator

import click

from pytest_trt.cli import commands


def cli_page() -> str:
    """Return docs/reference/cli.md: every command with its arguments and options."""
    lines = ["# Command line"]
    for name, command in all_commands():
        with click.Context(command, info_name=name) as context:
            usage = " ".join([name, *command.collect_usage_pieces(context)])
            lines += ["", f"## {name}", "", "```text", usage, "```"]
            lines += ["", *_text(command.help or ""), *_options(command, context)]
            lines += ["", *_text(command.epilog)] if command.epilog else []
    return "\n".join(lines) + "\n"


def all_commands(
    name: str = "pytest-trt", command: click.Command = commands
) -> Iterator[tuple[str, click.Command]]:
    """Yield a command and all below it, with their full names."""
    yield name, command
    if isinstance(command, click.Group):
        for part, below in command.commands.items():
            yield from all_commands(f"{name} {part}", below)


def _text(text: str) -> Iterator[str]:
    """Yield the lines of a help text; a paragraph that click does not wrap becomes a block."""
    for number, paragraph in enumerate(inspect.cleandoc(text).split("\n\n")):
        yield from [""] if number else []
        verbatim = paragraph.startswith("\b")
        yield f"```text\n{paragraph[1:].strip()}\n```" if verbatim else paragraph


def _options(command: click.Command, context: click.Context) -> Iterator[str]:
    records = [one.get_help_record(context) for one in command.params]
    rows = [[part.replace("|", r"\|") for part in one] for one in records if one and one[1]]
    if rows:
        yield from ("", "| option | effect |", "|---|---|")
    for flags, text in rows:
        yield f"| `{flags}` | {text} |"
