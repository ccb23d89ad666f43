"""`pytest-trt report export`: a report in the format of another tool."""

from __future__ import annotations

import json
from pathlib import Path

import click

from pytest_trt.cli.command import command
from pytest_trt.cli.output import echo
from pytest_trt.diagnostics import Remedy, ReportError, as_typed
from pytest_trt.files import write_output
from pytest_trt.report.files import read_document


@command(
    "export",
    examples=[
        "pytest-trt report export report.json",
        "pytest-trt report export report.json --storage .benchmarks --name nightly",
    ],
)
@click.argument("file", type=click.Path(path_type=Path, dir_okay=False))
@click.option(
    "--format",
    "form",
    type=click.Choice(["pytest-benchmark"]),
    default="pytest-benchmark",
    show_default=True,
    help="Whose format.",
)
@click.option(
    "--storage",
    type=click.Path(path_type=Path, file_okay=False),
    default=".benchmarks",
    show_default=True,
    help="The folder of pytest-benchmark's files.",
)
@click.option("--name", default="pytest-trt", show_default=True, help="Part of the file's name.")
def export_report(file: Path, form: str, storage: Path, name: str) -> None:
    """Store the speeds of a report where `pytest-benchmark list` and `compare` find them.

    Rounds become its rounds: each is the mean time of a call in consecutive calls. P99 and the
    verdict are in `extra_info`. Verdicts are still those of pytest-trt.
    """
    document = read_document(file)
    try:
        from pytest_trt.plugin.pytest_benchmark import storage_files

        found = list(storage_files(document))
    except ImportError as error:
        raise ReportError(
            "pytest-benchmark, whose format is to be written, is not installed",
            fix=Remedy("Install it:", ("pip install pytest-benchmark",)),
            code="TRT914",
            facts={"module": error.name},
        ) from error
    if not found:
        raise ReportError(
            f"the report {as_typed(file)} has no test that measured speed",
            fix="Name the report of a run with trt_benchmark tests.",
            code="TRT914",
            facts={"file": str(file)},
        )
    for machine, content in found:
        path = _next(storage / machine, name)
        write_output(path, json.dumps(content, indent=4) + "\n")
        echo(f"wrote {as_typed(path)}")


def _next(folder: Path, name: str) -> Path:
    """Return the next file of a folder, numbered as pytest-benchmark numbers its own."""
    numbers = [int(one.name[:4]) for one in folder.glob("[0-9][0-9][0-9][0-9]_*.json")]
    return folder / f"{max(numbers, default=0) + 1:04}_{name}.json"
