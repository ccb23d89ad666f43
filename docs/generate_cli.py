"""The page of the `pytest-trt` command, from the commands themselves."""

from __future__ import annotations

import inspect
from collections.abc import Iterator

import click
from generate_text import formatted

from pytest_trt.cli import commands
from pytest_trt.cli.command import EXIT_STATUSES, NAME, Command, walk


def cli_page() -> str:
    """Return docs/reference/cli.md: every command with its arguments and options."""
    lines = ["# Command line", "", "## Exit status", "", "| status | meaning |", "|---|---|"]
    lines += [f"| {status} | {meaning} |" for status, meaning in EXIT_STATUSES.items()]
    lines += [
        "",
        "`pytest-trt explain exit-status` prints this table, and each command's status 1.",
    ]
    for name, command in all_commands():
        with click.Context(command, info_name=name) as context:
            usage = " ".join([name, *command.collect_usage_pieces(context)])
            lines += ["", f"## {name}", "", "```text", usage, "```"]
            lines += ["", *_text(command.help or ""), *_options(command, context)]
            if isinstance(command, Command):
                lines += ["", "```text", *command.examples, "```"]
                lines += ["", f"Exit status 1 if {command.negative}."] if command.negative else []
    return "\n".join(lines) + "\n"


def all_commands() -> Iterator[tuple[str, click.Command]]:
    """Yield the command and all below it, with their full names."""
    yield NAME, commands
    for path, command in walk(commands):
        yield " ".join((NAME, *path)), command


def _text(text: str) -> Iterator[str]:
    """Yield the lines of a help text; a paragraph that click does not wrap becomes a block."""
    for number, paragraph in enumerate(inspect.cleandoc(text).split("\n\n")):
        yield from [""] if number else []
        verbatim = paragraph.startswith("\b")
        yield f"```text\n{paragraph[1:].strip()}\n```" if verbatim else formatted(paragraph)


def _options(command: click.Command, context: click.Context) -> Iterator[str]:
    records = [one.get_help_record(context) for one in command.params]
    rows = [[part.replace("|", r"\|") for part in one] for one in records if one and one[1]]
    if rows:
        yield from ("", "| option | effect |", "|---|---|")
    for flags, text in rows:
        yield f"| `{flags}` | {formatted(text)} |"
