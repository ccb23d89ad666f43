"""`pytest-trt localize`: the layers of a test's engines with the largest errors of their own."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import click

from pytest_trt.cli.command import command, json_option
from pytest_trt.cli.of_a_test import SETTINGS, test_and_arguments, timeout_option
from pytest_trt.cli.output import echo, echo_json
from pytest_trt.cli.table import Row, print_table

#: The code of a search that ended without an answer, and those of all searches.
_NO_ANSWER = "TRT442"
_CODES = ("TRT440", "TRT441", _NO_ANSWER)


@command(
    context_settings=SETTINGS,
    examples=[
        "pytest-trt localize tests/test_classifier.py::test_same_answers",
        "pytest-trt localize tests/test_classifier.py -k fp16 --rows 20",
    ],
    negative="the test failed",
)
@test_and_arguments
@timeout_option
@click.option(
    "--rows",
    type=click.IntRange(min=0),
    default=10,
    show_default=True,
    help="Layers to show of each engine.",
)
@json_option
def localize(
    test: str, pytest_args: tuple[str, ...], timeout_s: float, rows: int, as_json: bool
) -> None:
    """Run TEST, and show the layers of its engines with the largest errors of their own.

    TEST is a node id, as pytest takes it; PYTEST_ARGS are passed on. Engines are searched whether
    the test fails or passes.
    """
    with TemporaryDirectory(prefix="pytest-trt-") as folder:
        report = Path(folder) / "report.json"
        options = ["--trt-localize=always", f"--trt-localize-timeout={timeout_s:g}"]
        line = [sys.executable, "-m", "pytest", test, *options, f"--trt-report={report}"]
        out = 2 if as_json else None  # what pytest prints is no part of the JSON
        status = subprocess.run([*line, "-q", *pytest_args], check=False, stdout=out).returncode
        tests = json.loads(report.read_text("utf-8"))["tests"] if report.exists() else []
    found = [(one, each) for one in tests for each in _searches(one)]
    if as_json and found:
        echo_json([{"test": one["id"], **each} for one, each in found])
    for one, each in found if not as_json else ():
        # pytest has printed the details of a failure, and of a note its headline.
        _show(one["id"], each, rows, details=each not in one["diagnostics"])
    if all(each["code"] == _NO_ANSWER for _, each in found):
        ran = status in (0, 1)
        why = "the test ran none under trt_consistency" if ran else f"pytest ended with {status}"
        if found:
            why = "each search ended without an answer"
        echo(f"Error: no engine was searched: {why}.", err=True)
        raise SystemExit(2)
    raise SystemExit(1 if status else 0)


def _searches(test: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    for one in (*test["diagnostics"], *test["notes"]):
        if one["code"] in _CODES:
            yield one


def _show(test: str, found: Mapping[str, Any], rows: int, *, details: bool) -> None:
    facts = found["facts"]
    echo()
    echo(f"{test}: {found['message']} [{found['code']}]")
    for detail in found["details"] if details else ():
        echo(f"  {detail}")
    every: Sequence[Mapping[str, Any]] = facts.get("layers", ())
    # The layer to blame does most to the outputs, and others may have larger errors of their own.
    blamed = [one for one in every[rows:] if one["layer"] == facts.get("layer")]
    layers = [*every[:rows], *blamed]
    if layers:
        echo()
        titles = ("layer", "operator", "own error", "before", "after", "outputs", "range, cause")
        print_table(titles, [_row(one) for one in layers], giving_way=(0, 6))
        echo(
            "Relative errors: own is that of the layer alone, on the engine's own inputs of it; "
            "before and after are those of what it reads and of its output; outputs is what its "
            "own error alone does to the model's outputs."
        )


def _row(one: Mapping[str, Any]) -> Row:
    errors = ("own_error", "error_before", "error_after", "outputs_error")
    what = one["cause"] or f"{one['low']:.3g} to {one['high']:.3g}"
    return (one["layer"], one["operator"], *(_figure(one[name]) for name in errors), what)


def _figure(value: float | str | None) -> str:
    return "-" if value is None else f"{float(value):.2g}"
