"""`pytest-trt report history`: the trend of every test over many reports."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

import click

from pytest_trt.cli.command import command, json_option
from pytest_trt.cli.output import echo, echo_json
from pytest_trt.cli.table import Row, print_table
from pytest_trt.diagnostics import ReportError
from pytest_trt.files import write_output
from pytest_trt.report.comparison.findings import Direction
from pytest_trt.report.comparison.words import cells
from pytest_trt.report.files import read_document
from pytest_trt.report.history.build import HistoryBuilder
from pytest_trt.report.history.page import page
from pytest_trt.report.history.trends import History, Trend
from pytest_trt.report.history.words import (
    break_text,
    by_run,
    change_text,
    failing_text,
    has_drifted,
    summary,
    uncollected_texts,
    untested_text,
    when,
    where,
)
from pytest_trt.wording import count

_STYLES = {Direction.WORSE: "red", Direction.BETTER: "green"}

#: Files left out that a terminal names.
_NAMED = 10


def _json(history: History) -> str:
    return json.dumps(history.to_dict(), indent=2) + "\n"


#: Functions that make the text of a history, by the suffix of its file.
_WRITERS: Mapping[str, Callable[[History], str]] = {".html": page, ".json": _json}


@command(
    name="history",
    examples=[
        "pytest-trt report history nightly",
        "pytest-trt report history nightly -o history.html",
        "pytest-trt report history monday.json tuesday.json --json > history.json",
    ],
)
@click.argument("paths", type=click.Path(path_type=Path), nargs=-1, required=True)
@click.option(
    "-o",
    "--output",
    "outputs",
    type=click.Path(path_type=Path, dir_okay=False),
    multiple=True,
    help="Write the history as .html or .json.",
)
@json_option
@click.option("--all", "everything", is_flag=True, help="Include what did not change.")
def show_history(
    paths: tuple[Path, ...], outputs: tuple[Path, ...], as_json: bool, everything: bool
) -> None:
    """Show the trend of every test over many .json reports, or folders of them.

    Runs are ordered by time. Each is compared with the one before it on the same machine, by the
    rule of `report compare`. About one in 100 histories without a change shows a false one. Runs of
    another machine, mode, spec or tolerance are not joined.

    Files in folders that are not reports are named and left out; a named file must be a report.
    """
    for output in outputs:
        if output.suffix not in _WRITERS:
            raise click.UsageError(
                f"--output {output}: expected a file name that ends in {', '.join(_WRITERS)}."
            )
    history = _read(paths)
    for output in outputs:
        write_output(output, _WRITERS[output.suffix](history))
    if as_json:
        echo_json(history.to_dict())
    else:
        _print(history, everything=everything)
    for one in history.left_out[:_NAMED]:
        echo(f"left out: {one.headline}", err=True)
    if (more := len(history.left_out) - _NAMED) > 0:
        echo(f"left out: {count(more, 'more file')}", err=True)
    for output in outputs:
        echo(f"wrote {output}", err=as_json)


def _read(paths: Sequence[Path]) -> History:
    """Return the history of reports.

    Raises:
        ReportError: A named file is not a report, or there is none.
    """
    builder = HistoryBuilder()
    for file, is_named in _files(paths):
        try:
            document = read_document(file)
        except ReportError as error:
            if is_named:
                raise
            builder.leave_out(error.diagnostic)
            continue
        builder.add(str(file), document)
    history = builder.history()
    if not history.runs:
        names = ", ".join(map(str, paths))
        raise ReportError(
            f"no report in {names}",
            fix="Name reports, or folders of them, that `pytest --trt-report=report.json` wrote.",
            code="TRT902",
            facts={"paths": [str(path) for path in paths], "left_out": len(history.left_out)},
        )
    return history


def _files(paths: Sequence[Path]) -> Iterator[tuple[Path, bool]]:
    """Yield files once each, and whether they were named; links to folders are not followed."""
    seen = set()
    for path in paths:
        if path.is_dir():
            found = [
                Path(folder, name)
                for folder, _, names in os.walk(path)
                for name in names
                if name.endswith(".json")
            ]
        else:
            found = [path]
        for file in sorted(found):
            if file.resolve() not in seen:
                seen.add(file.resolve())
                yield file, not path.is_dir()


def _print(history: History, *, everything: bool) -> None:
    rows: list[Row] = []
    for trend in history.trends:
        fails = trend.failing_since is not None
        if everything or fails or trend.direction is not Direction.SAME:
            rows += _rows(history, trend, everything=everything)
    if rows:
        print_table(("", "first", "newest", "change", "bounds", ""), rows, giving_way=(0,))
        echo("")
    for line in uncollected_texts(history):
        echo(line)
    echo(summary(history))


def _rows(history: History, trend: Trend, *, everything: bool) -> Iterator[Row]:
    yield f"{trend.test} ({where(trend)}): {count(len(trend.points), 'run')}"
    if failing := failing_text(history, trend):
        yield f"  {failing}"
    if untested := untested_text(trend):
        yield f"  {untested}"
    for finding in trend.overall:
        if everything or finding.direction in _STYLES:
            label, *middle, direction = cells(finding)
            yield (f"  {label}", *middle, (direction, _STYLES.get(finding.direction, "")))
    if has_drifted(trend):
        yield "  no two neighboring runs differ with confidence: the trend drifted"
    for changes in by_run(trend):
        yield f"  changed at {when(history.runs[changes[0].run])}:"
        for one in changes:
            yield f"    {change_text(one.finding)}: {one.finding.direction.value}"
        yield from (f"    {line}" for line in changes[0].differences)
    for broken in trend.breaks:
        yield f"  {break_text(history, broken)}"
