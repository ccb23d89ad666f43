"""`pytest-trt report compare`: what a new version, driver, device or commit changed."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path

import click

from pytest_trt.cli.command import command, json_option
from pytest_trt.cli.output import columns, echo, echo_data, echo_error, echo_json
from pytest_trt.cli.table import Row, print_table
from pytest_trt.diagnostics import PytestTrtError, wrapped
from pytest_trt.files import write_output
from pytest_trt.report.comparison.compare import compare
from pytest_trt.report.comparison.findings import Comparison, Direction
from pytest_trt.report.comparison.markdown import markdown
from pytest_trt.report.comparison.page import page
from pytest_trt.report.comparison.words import (
    TITLES,
    cells,
    findings_of,
    shown,
    summary,
    title,
    why,
)
from pytest_trt.report.files import read_document

_file = click.Path(path_type=Path, dir_okay=False)

_STYLES = {
    Direction.WORSE: "red",
    Direction.BETTER: "green",
    Direction.CHANGED: "yellow",
    Direction.NO_VERDICT: "yellow",
    Direction.SAME: "",
    Direction.NOT_TESTED: "",
}

#: Tests of only one run that a terminal names.
_NAMED = 10


def _json(comparison: Comparison, *, everything: bool) -> str:
    return json.dumps(comparison.to_dict(), indent=2) + "\n"


#: Functions that make the text of a comparison, by the suffix of its file.
_WRITERS: Mapping[str, Callable[..., str]] = {
    ".html": page,
    ".md": markdown,
    ".json": _json,
}


@command(
    "compare",
    examples=[
        "pytest-trt report compare old.json new.json",
        "pytest-trt report compare old.json new.json --format markdown",
        "pytest-trt report compare old.json new.json --output changes.html --exit-code",
    ],
    negative="anything is worse and --exit-code is given",
)
@click.argument("old", type=_file)
@click.argument("new", type=_file)
@click.option(
    "-o",
    "--output",
    "outputs",
    type=_file,
    multiple=True,
    help="Write the comparison as .html, .md (for a comment on a pull request) or .json.",
)
@click.option(
    "--format",
    "form",
    type=click.Choice(["terminal", "markdown"]),
    default="terminal",
    help="Format of what is printed.",
)
@click.option("--all", "everything", is_flag=True, help="Include what did not change.")
@click.option(
    "--exit-code",
    is_flag=True,
    help="Exit with status 1 if anything is worse.",
)
@click.option(
    "--missing",
    type=click.Choice(["worse", "ignore"]),
    default="worse",
    show_default=True,
    help="Whether a test is worse that passed before, and is missing, skipped, deselected, "
    "xfailed, not measured or not run now.",
)
@json_option
def compare_reports(
    old: Path,
    new: Path,
    outputs: tuple[Path, ...],
    form: str,
    everything: bool,
    exit_code: bool,
    missing: str,
    as_json: bool,
) -> None:
    """Compare the .json reports of two runs: of two versions, drivers, GPUs, models or commits.

    Changes for the worse come first. A test is worse if it fails now, if it passed and has no
    verdict now, or if it checks less. A change of speed counts if it exceeds the noise of processes
    and rounds. An accuracy error is worse if it grew by 50% and exceeds 10% of the tolerance.

    About one in 100 comparisons of unchanged engines reports a false change of speed. Sizes,
    layers, tests that are inconclusive now, and tests without a verdict in both runs do not count.

    With -o, the terminal shows only the summary.
    """
    for output in outputs:
        if output.suffix not in _WRITERS:
            raise click.UsageError(
                f"--output {output}: expected a file name that ends in {', '.join(_WRITERS)}."
            )
    try:
        names = (str(old), str(new))
        documents = read_document(old), read_document(new)
        found = compare(*documents, names=names, lost_is_worse=missing == "worse")
        for output in outputs:
            write_output(output, _WRITERS[output.suffix](found, everything=everything))
    except PytestTrtError as error:
        echo_error(error)
        raise SystemExit(2) from None
    if as_json:
        echo_json(found.to_dict())
    elif form == "markdown":
        echo_data(markdown(found, everything=everything))
    elif outputs:
        echo(summary(found))
    else:
        _print(found, everything=everything)
    for output in outputs:
        echo(f"wrote {output}", err=as_json or form == "markdown")
    if exit_code and any(found.of(Direction.WORSE)):
        raise SystemExit(1)


def _print(found: Comparison, *, everything: bool) -> None:
    echo(f"{found.old} -> {found.new}")
    for line in found.differences or ("versions, devices, models and commit are the same",):
        echo(f"  {line}")
    echo("")
    rows: list[Row] = []
    for change in shown(found, everything=everything):
        rows.append(title(change))
        if why(change):
            rows += wrapped(why(change), columns(), "  ")
        for finding in findings_of(change, everything=everything):
            style = _STYLES[finding.direction]
            label, *middle, direction = cells(finding)
            rows.append((f"  {label}", *middle, (direction, style)))
            rows += [f"    {line}" for line in finding.lines]
    if rows:
        print_table(TITLES, rows, giving_way=(0,))
        echo("")
    for names, what in ((found.removed, "only before"), (found.added, "only now")):
        for name in names[:_NAMED]:
            echo(f"{what}: {name}")
        if len(names) > _NAMED:
            echo(f"{what}: and {len(names) - _NAMED} more")
    echo(summary(found))
