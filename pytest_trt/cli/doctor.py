"""`pytest-trt doctor`: what works on this machine, what does not, and how to fix it."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Sequence
from itertools import groupby
from pathlib import Path

import click
from rich.text import Text

from pytest_trt.cli.command import FiniteRange, command
from pytest_trt.cli.ini import named_folder
from pytest_trt.cli.output import columns, console, echo_data, echo_json
from pytest_trt.diagnostics import ConfigurationError
from pytest_trt.doctor.abilities import Ability
from pytest_trt.doctor.examine import examine
from pytest_trt.doctor.finding import (
    SECTIONS,
    Examination,
    Finding,
    Level,
    schema_text,
    to_document,
)
from pytest_trt.doctor.products import MODULES
from pytest_trt.doctor.requirements import WORDS, parse_requirements
from pytest_trt.escaping import terminal
from pytest_trt.terms import described

_STYLES = {Level.OK: "green", Level.NOTE: "dim", Level.WARN: "yellow", Level.ERROR: "bold red"}

_TITLES = {
    "machine": "Machine",
    "gpu": "GPUs",
    "backends": "Backends",
    "plugin": "Plugin",
    "places": "Folders",
    "required": "Required",
}

#: What --require takes, a line each.
_REQUIREMENTS = {
    **WORDS,
    "sm86, cpu": "engines of this architecture can be built and run here",
    "sm86:build": "engines of this architecture can be built here",
}

_HELP = """Check this machine and the project in this folder, and show how to fix problems.

A machine without a GPU is fine, unless --require names one of these that it lacks:

\b
""" + "\n".join(f"{word:<13} {meaning}" for word, meaning in _REQUIREMENTS.items())


@command(
    help=_HELP,
    examples=[
        "pytest-trt doctor",
        "pytest-trt doctor --require sm86",
        "pytest-trt doctor --require sm86:build,speed",
        "pytest-trt doctor --json",
    ],
    negative="something does not work that --require or the project's options request, or that "
    "every run uses",
)
@click.option(
    "--require",
    "required",
    multiple=True,
    metavar="WHAT",
    help="Fail unless this machine has it. Repeatable, or separated by commas.",
)
@click.option(
    "--cache-dir",
    type=click.Path(path_type=Path, file_okay=False),
    help="Folder of the engine cache.  [default: that of this project, or else of the user]",
)
@click.option(
    "--baseline-dir",
    type=click.Path(path_type=Path, file_okay=False),
    help="Folder of the baselines.  [default: that of this project]",
)
@click.option(
    "--timeout",
    "timeout_s",
    type=FiniteRange(min=0, min_open=True),
    default=60.0,
    show_default=True,
    help="Time limit of each check in seconds: an import, the driver, a file system.",
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON that conforms to --json-schema.")
@click.option("--json-schema", is_flag=True, help="Print the schema of the JSON and exit.")
@click.option("--no-color", is_flag=True, help="Disable colours, like NO_COLOR.")
def doctor(
    required: tuple[str, ...],
    cache_dir: Path | None,
    baseline_dir: Path | None,
    timeout_s: float,
    as_json: bool,
    json_schema: bool,
    no_color: bool,
) -> None:
    """Show what works on this machine, and fail if something that is required does not."""
    if json_schema:
        echo_data(schema_text())
        return
    try:
        requests = parse_requirements(required)
    except ConfigurationError as error:
        raise click.UsageError(str(error)) from error
    cache = named_folder(str(cache_dir), "--cache-dir") if cache_dir else None
    baselines = named_folder(str(baseline_dir), "--baseline-dir") if baseline_dir else None
    found = examine(requests, cache_dir=cache, baseline_dir=baselines, timeout_s=timeout_s)
    if as_json:
        echo_json(to_document(found))
    else:
        _print(found, colors=not no_color)
    raise SystemExit(found.exit_status)


def _print(found: Examination, *, colors: bool) -> None:
    printer = console(colors=colors)
    for line in lines(found, columns()):
        printer.print(line, soft_wrap=True)


def lines(found: Examination, width: int | None) -> Iterator[Text]:
    """Yield an examination as text.

    Args:
        found: The examination.
        width: The width of lines; None for no limit. Words and commands are not broken.
    """
    names = max(len(finding.name) for finding in found.findings)
    for section in SECTIONS:
        of_section = [one for one in found.findings if one.section == section]
        if section == "required":
            yield from _ability_lines(found.abilities, names, width)
        if of_section:
            yield Text(_TITLES[section], style="bold")
        for finding in of_section:
            yield from _finding_lines(finding, names, width)
    yield Text()
    yield _last_line(found)


def _finding_lines(finding: Finding, names: int, width: int | None) -> Iterator[Text]:
    style = _STYLES[finding.level]
    head = Text(f"  {finding.level.value:<5} ", style=style)
    first, *more = _wrapped(finding.what, width, 9 + names)
    yield head + Text(f"{finding.name:<{names}} {first}", style="")
    indent = 9 + names
    rest = [*more]
    if finding.why:
        rest += _wrapped(finding.why, width, indent)
    yield from (Text(f"{'':<{indent}}{line}") for line in rest)
    yield from (Text(line, style="cyan") for line in _remedy_lines(finding, indent, width))


def _remedy_lines(finding: Finding, indent: int, width: int | None) -> Iterator[str]:
    remedy = finding.remedy
    if not remedy:
        return
    code = f" [{finding.code}]" if finding.code else ""

    def prose(text: str) -> Iterator[str]:
        return (f"{'':<{indent}}{line}" for line in _wrapped(text, width, indent))

    yield from prose(f"Fix{code}: {remedy.text}")
    for line in remedy.commands:
        # To be copied, so never broken: a long one starts further left.
        left = indent + 4 if width is None else max(2, min(indent + 4, width - len(line)))
        yield f"{'':<{left}}{terminal(line)}"
    for other in remedy.alternatives:
        yield from prose(f"- {other}")


def _ability_lines(able: Sequence[Ability], names: int, width: int | None) -> Iterator[Text]:
    yield Text("Testable architectures", style="bold")

    def kind(one: Ability) -> tuple[bool, bool, str, str, str]:
        return (not one.runs, not one.builds, one.backend, one.option, one.why)

    for key, group in groupby(sorted(able, key=kind), kind):
        ones = sorted(group, key=able.index)
        verb = "build, run" if not key[0] else "build only" if not key[1] else "no"
        archs = ", ".join(described(one.arch) if one.runs else one.arch for one in ones)
        by = f" by {MODULES[key[2]]}" if key[2] else ""
        option = f" with {key[3]}" if key[3] else ""
        what = f"{archs}{by}{option}: {key[4]}"
        indent = 9 + names
        first, *more = _wrapped(what, width, indent)
        yield Text(f"  {verb:<{indent - 2}}{first}", style="" if not key[1] else "dim")
        yield from (
            Text(f"{'':<{indent}}{line}", style="" if not key[1] else "dim") for line in more
        )


def _last_line(found: Examination) -> Text:
    counts = {level: sum(one.level is level for one in found.findings) for level in Level}
    counted = [
        f"{count} {noun}{'s' if count > 1 else ''}"
        for count, noun in ((counts[Level.ERROR], "error"), (counts[Level.WARN], "warning"))
        if count
    ]
    return Text(", ".join(counted) or "No problems found.", style=_STYLES[found.level])


def _wrapped(text: str, width: int | None, indent: int) -> list[str]:
    text = terminal(" ".join(text.split()))
    if width is None:
        return [text]
    return textwrap.wrap(
        text, max(width - indent, 20), break_long_words=False, break_on_hyphens=False
    ) or [""]
