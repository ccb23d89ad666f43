"""`pytest-trt report import`: files of other tools as a report."""

from __future__ import annotations

from pathlib import Path
from typing import cast

import click

from pytest_trt.cli.command import FiniteRange, command
from pytest_trt.cli.output import echo
from pytest_trt.diagnostics import as_typed
from pytest_trt.report.files import check_suffix, write_report
from pytest_trt.report.importing.document import Named, imported_document
from pytest_trt.report.importing.files import read_files
from pytest_trt.report.importing.trtexec import WARM_UP_MS
from pytest_trt.terms import Mode, parse_arch
from pytest_trt.wording import count

#: The architecture, where none is given.
_UNKNOWN = "unknown"


@command(
    "import",
    examples=[
        "pytest-trt report import times.json layers.json profile.json -o before.json --arch sm86",
        "pytest-trt report import inputs.json outputs.json -o polygraphy.html",
    ],
)
@click.argument("files", type=click.Path(path_type=Path), nargs=-1, required=True)
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path, dir_okay=False),
    required=True,
    help="Write the report as .json, .html or .prom.",
)
@click.option(
    "--name",
    default="imported",
    show_default=True,
    help="The test to compare with, such as test_it.py::test_speed[fp16].",
)
@click.option("--model", default="", help="File name of the model.")
@click.option("--precision", default="", help="The engine's precision.")
@click.option("--arch", help="The architecture that it ran on, such as sm86.")
@click.option(
    "--mode",
    type=click.Choice(["enqueue", "graph"]),
    default="enqueue",
    show_default=True,
    help="How trtexec ran: graph with --useCudaGraph, and by default from TensorRT 11 on.",
)
@click.option("--batch", type=click.IntRange(1), default=1, help="Batch items of one query.")
@click.option(
    "--warm-up",
    "warm_up_ms",
    type=FiniteRange(0),
    default=WARM_UP_MS,
    show_default=True,
    help="Leave out queries that started in the first milliseconds, as trtexec does.",
)
def import_files(
    files: tuple[Path, ...],
    output: Path,
    name: str,
    model: str,
    precision: str,
    arch: str | None,
    mode: str,
    batch: int,
    warm_up_ms: float,
) -> None:
    """Make a report of what trtexec and Polygraphy measured, as evidence that is not judged.

    FILES are recognised by what they hold: --exportTimes, --exportLayerInfo and --exportProfile
    of trtexec, and inputs and outputs that Polygraphy saved. Outputs of several runners are
    compared with those of the first.
    """
    try:
        check_suffix(output)
    except ValueError as error:
        raise click.UsageError(f"--output {output}: expected {error}.") from error
    found = read_files(files, warm_up_ms=warm_up_ms)
    on = parse_arch(arch) if arch else _UNKNOWN
    named = Named(name, model, precision, on, cast(Mode, mode), batch)
    document = imported_document(found, named)
    write_report(output, document)
    echo(f"wrote {as_typed(output)}: {count(len(document['tests']), 'test')}, not judged")
