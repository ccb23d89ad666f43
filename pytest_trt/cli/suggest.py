"""`pytest-trt suggest`: proposals from measurements."""

from __future__ import annotations

import difflib
import importlib
import io
import json
import re
import sys
import tokenize
import traceback
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import click

from pytest_trt.cli.command import CommandGroup, FiniteRange, json_option
from pytest_trt.cli.of_a_test import SETTINGS, test_and_arguments
from pytest_trt.cli.output import echo, echo_json, steps
from pytest_trt.cli.place import opened_run
from pytest_trt.cli.table import Row, print_table
from pytest_trt.diagnostics import ConfigurationError, PytestTrtError, Remedy, as_typed
from pytest_trt.engine.builder_options import BACKEND_PRECISIONS, BUILDER_OPTIONS, check_options
from pytest_trt.engine.spec import PRECISIONS, OptionValue
from pytest_trt.files import write_output
from pytest_trt.wording import known_names

if TYPE_CHECKING:
    from pytest_trt.onnx.file import OnnxModel
    from pytest_trt.precision.samples import Sample
    from pytest_trt.precision.suggest import PrecisionSuggestion, TaskMetric
    from pytest_trt.precision.tolerance import TestTolerances
    from pytest_trt.tensors.profiles import Profile
    from pytest_trt.tensors.spec import Tensors

_file = click.Path(path_type=Path, dir_okay=False)
_data = click.Path(path_type=Path, exists=True)

_SHAPE = re.compile(r"(?P<name>.+):(?P<shape>\d+(x\d+)*)")

_STYLES = {"best": "green bold", "within tolerance": "green", "beyond tolerance": "red"}


@click.group(cls=CommandGroup)
def suggest() -> None:
    """Propose a precision, or the tolerances of a test, from measurements on this machine."""


@suggest.command(
    short_help="Measure every precision of MODEL, and mark the best.",
    examples=[
        "pytest-trt suggest precision models/classifier.onnx --data data",
        "pytest-trt suggest precision models/classifier.onnx --shape image:8x3x224x224",
        "pytest-trt suggest precision model.onnx --precision fp16 --html page.html",
    ],
    negative="no precision is within tolerance",
)
@click.argument("model", type=_file)
@click.option(
    "--data",
    type=_data,
    help="Inputs: an .npz or Polygraphy file, or a folder.  [default: seeded inputs]",
)
@click.option(
    "--calibration", type=_data, help="Inputs that int8 is calibrated on.  [default: the data]"
)
@click.option(
    "--shape",
    "shapes",
    multiple=True,
    metavar="NAME:1x3x224x224",
    help="Shape of a dynamic input, for seeded inputs.",
)
@click.option("--arch", default="", help="Architecture, as for --trt-arch.  [default: that here]")
@click.option(
    "--backend",
    type=click.Choice(("auto", *BACKEND_PRECISIONS)),
    default="auto",
    help="Backend, as for --trt-backend.",
)
@click.option(
    "--threads",
    type=click.IntRange(min=0),
    default=0,
    help="Threads of one inference on the CPU.",
)
@click.option(
    "--precision",
    "precisions",
    multiple=True,
    type=click.Choice(PRECISIONS),
    help="Try this precision, instead of all that the backend has; may be repeated.",
)
@click.option(
    "--builder-option",
    "options",
    multiple=True,
    metavar="NAME=VALUE",
    help="Option of the builder; may be repeated. `pytest-trt options` lists them.",
)
@click.option("--rtol", type=FiniteRange(min=0), help="Relative tolerance of all outputs.")
@click.option("--atol", type=FiniteRange(min=0), help="Absolute tolerance of all outputs.")
@click.option(
    "--metric",
    metavar="MODULE:FUNCTION",
    help="Task metric: called with the outputs of all samples and the arrays of their files.",
)
@click.option(
    "--time",
    "time_s",
    type=FiniteRange(min=0, min_open=True),
    default=5.0,
    show_default=True,
    help="Seconds to time one engine for.",
)
@click.option("--cache-dir", type=click.Path(path_type=Path), help="As for --trt-cache-dir.")
@json_option
@click.option("--html", type=_file, help="Write a page with a chart.")
@click.option("--markdown", type=_file, help="Write Markdown.")
def precision(
    model: Path,
    data: Path | None,
    calibration: Path | None,
    shapes: tuple[str, ...],
    arch: str,
    backend: str,
    threads: int,
    precisions: tuple[str, ...],
    options: tuple[str, ...],
    rtol: float | None,
    atol: float | None,
    metric: str | None,
    time_s: float,
    cache_dir: Path | None,
    as_json: bool,
    html: Path | None,
    markdown: Path | None,
) -> None:
    """Build MODEL in every precision, and show error, latency, throughput, size and memory of each.

    The error is that of the outputs against the FP32 reference. Precisions are timed interleaved.
    The best is the fastest one within its default tolerances, or within --rtol and --atol. Of
    several that are as fast, it is the most accurate.
    """
    from pytest_trt.accuracy.tolerance import Tolerance
    from pytest_trt.precision.suggest import Question, suggest_precision

    tolerance = None
    if (rtol, atol) != (None, None):
        tolerance = Tolerance(rtol or 0.0, atol or 0.0, origin="given on the command line")
    if data is not None and shapes:
        raise click.UsageError("--shape is for seeded inputs, and --data gives others.")
    task, chosen = None if metric is None else _metric(metric), _options(options)
    with (
        opened_run(arch, backend, threads, cache_dir) as run,
        steps(f"reading {model.name}") as say,
    ):
        read = run.model(model.absolute(), say)
        selected = run.selections[0]
        question = Question(
            model=read,
            arch=selected.arch,
            samples=_samples(read, data, shapes),
            source="seeded inputs, which are not representative" if data is None else str(data),
            precisions=precisions or BACKEND_PRECISIONS.get(selected.backend, PRECISIONS),
            tolerance=tolerance,
            metric=task,
            metric_name=metric.partition(":")[2] if metric else "",
            calibration=_samples(read, calibration, ()) if calibration else (),
            builder_options=chosen,
            budget_s=time_s,
        )
        found = suggest_precision(run, question, say=say)
    _show(found, as_json=as_json, html=html, markdown=markdown)
    if found.best is None:
        raise SystemExit(1)


def _options(given: Sequence[str]) -> dict[str, OptionValue]:
    """Return builder options by name.

    Raises:
        ConfigurationError: One does not exist, or has an invalid value.
    """
    options: dict[str, OptionValue] = {}
    for text in given:
        name, _, value = text.partition("=")
        known = BUILDER_OPTIONS.get(name)
        if known is not None and known.type in ("int", "bool"):
            with suppress(ValueError):
                options[name] = json.loads(value.lower())  # True, as in a marker, or true
                continue
        options[name] = value
    check_options(options, "--builder-option")
    return options


def _samples(model: OnnxModel, data: Path | None, shapes: Sequence[str]) -> tuple[Sample, ...]:
    from pytest_trt.precision.samples import read_samples, seeded_samples

    if data is not None:
        return read_samples(data, model.inputs)
    try:
        return seeded_samples(model, _profiles(model, shapes))
    except PytestTrtError as error:
        if error.diagnostic.code == "TRT226":  # here no fixture gives data, and no marker shapes
            fix = Remedy("give real inputs with --data, or smaller shapes with --shape.")
            error.diagnostic = replace(error.diagnostic, remedy=fix)
        raise


def _profiles(model: OnnxModel, shapes: Sequence[str]) -> tuple[Profile, ...]:
    """Return the profile of the shapes that the command line gives.

    Raises:
        ConfigurationError: A dynamic input has none, or one does not fit the model.
    """
    from pytest_trt.tensors.profiles import example_ranges, needs_profile, parse_profiles

    given = {}
    for text in shapes:
        parts = _SHAPE.fullmatch(text)
        if parts is None:
            raise click.UsageError(f"--shape {text}: expected NAME:1x3x224x224.")
        name = parts["name"]
        if name not in {one.name for one in model.inputs}:
            names = [one.name for one in model.inputs]
            raise ConfigurationError(
                f"--shape {text}: the model has no input {name!r}",
                fix=known_names("input", name, names),
                code="TRT210",
                facts={"tensor": name, "inputs": names},
            )
        given[name] = tuple(map(int, parts["shape"].split("x")))
    missing = [one for one in model.inputs if needs_profile(one) and one.name not in given]
    if missing:
        examples = example_ranges(missing)
        words = [
            f"--shape {one}:{'x'.join(map(str, opt))}" for one, (_, opt, _) in examples.items()
        ]
        raise ConfigurationError(
            f"input {missing[0]} is dynamic: seeded inputs need a shape",
            fix=Remedy("give real inputs with --data, or a shape, such as:", (" ".join(words),)),
            code="TRT211",
            facts=missing[0].facts,
        )
    return parse_profiles(given, model.inputs, where="--shape") if given else ()


def _metric(given: str) -> TaskMetric:
    """Return the function that a task metric names.

    Raises:
        ConfigurationError: There is none.
    """
    module, _, name = given.partition(":")
    sys.path.insert(0, str(Path.cwd()))
    try:
        function = getattr(importlib.import_module(module), name, None)
    except ImportError as error:
        raise _no_metric(given, str(error)) from error
    finally:
        sys.path.pop(0)
    if not callable(function):
        raise _no_metric(given, f"{module} has no function {name!r}")

    def metric(outputs: Sequence[Tensors], arrays: Sequence[Tensors]) -> float:
        try:
            return float(function(outputs, arrays))
        except Exception as error:
            place = traceback.extract_tb(error.__traceback__)[-1]
            where = f"{as_typed(Path(place.filename))}:{place.lineno}"
            raise _no_metric(
                given,
                f"{type(error).__name__}: {error} ({where})",
                "return a number from the outputs of all samples and the arrays of their files.",
            ) from error

    return metric


def _no_metric(
    given: str,
    problem: str,
    fix: str = "name a function of a module in this folder: --metric module:function.",
) -> ConfigurationError:
    return ConfigurationError(f"--metric {given}: {problem}", fix=fix, facts={"metric": given})


def _show(
    found: PrecisionSuggestion, *, as_json: bool, html: Path | None, markdown: Path | None
) -> None:
    from pytest_trt.report.precision.markdown import suggestion_markdown
    from pytest_trt.report.precision.page import suggestion_page

    if as_json:
        echo_json(found)
    else:
        _print(found)
    for path, text in ((html, suggestion_page), (markdown, suggestion_markdown)):
        if path is not None:
            write_output(path, text(found))
            echo(f"wrote {as_typed(path)}", err=as_json)


def _print(found: PrecisionSuggestion) -> None:
    from pytest_trt.report.precision.words import (
        cells,
        conditions,
        heading,
        outcome,
        problems,
        titles,
    )

    rows: list[Row] = []
    for one in found.precisions:
        if one.passed is not None:
            *figures, last = cells(one, found)
            rows.append((*figures, (last, _STYLES[outcome(one)])))
    if rows:
        print_table(titles(found), rows, giving_way=())
    for name, why in problems(found):
        echo(f"{name}: {why}")
    echo()
    for line in conditions(found):
        echo(line)
    echo()
    echo(heading(found))


@suggest.command(
    short_help="Propose tolerances for TEST from what it runs.",
    context_settings=SETTINGS,
    examples=[
        "pytest-trt suggest tolerance tests/test_classifier.py",
        "pytest-trt suggest tolerance tests/test_classifier.py::test_same_answers --data data",
        "pytest-trt suggest tolerance tests/test_classifier.py --margin 3 --write",
    ],
    negative="there is an output for which nothing can be proposed, or a test failed",
)
@test_and_arguments
@click.option(
    "--data", type=_data, help="Inputs to run as well: an .npz or Polygraphy file, or a folder."
)
@click.option(
    "--margin",
    type=FiniteRange(min=1),
    default=2.0,
    show_default=True,
    help="How many times what the runs needed is allowed.",
)
@click.option("--write", is_flag=True, help="Change the test files.")
@json_option
def tolerance(
    test: str,
    pytest_args: tuple[str, ...],
    data: Path | None,
    margin: float,
    write: bool,
    as_json: bool,
) -> None:
    """Run TEST, and propose the tolerances of each output and the limits of each metric.

    TEST is a file or node id, as pytest takes it; PYTEST_ARGS are passed on. The proposal is a diff
    of the test file. Nothing is proposed that would test nothing any more.
    """
    from pytest_trt.plugin.recording import refuse_failed, run_recorded
    from pytest_trt.plugin.tolerances import ToleranceGatherer

    gatherer = ToleranceGatherer(None if data is None else data.absolute())
    run_recorded(gatherer.recorder, [test, *pytest_args])
    found, failed = gatherer.proposals(margin), gatherer.failed
    if not found:
        refuse_failed(failed)
        raise ConfigurationError(
            f"{test} ran no engine under trt_consistency",
            fix="Name a test that has the marker and runs an engine.",
            code="TRT450",
            facts={"reason": "no engine", "test": test},
        )
    if as_json:
        echo_json(found)
    for proposed in found if not as_json else ():
        _print_tolerances(proposed)
    for file in dict.fromkeys(proposed.file for proposed in found):
        tests = [proposed for proposed in found if proposed.file == file]
        _propose(file, tests, write=write, quiet=as_json)
    for name, why in failed.items():
        echo(f"nothing is proposed for {name}, which failed: {why}", err=True)
    if failed or not all(one.fields for proposed in found for one in proposed.outputs):
        raise SystemExit(1)


def _print_tolerances(test: TestTolerances) -> None:
    from pytest_trt.report.precision.words import (
        TOLERANCE_TITLES,
        limit_lines,
        tolerance_cells,
        tolerance_notes,
    )

    echo(f"{test.test}")
    print_table(TOLERANCE_TITLES, [tolerance_cells(one) for one in test.outputs], giving_way=(0,))
    for line in (*tolerance_notes(test), *limit_lines(test)):
        echo(f"  {line}")
    echo()


def _propose(file: Path, tests: Sequence[TestTolerances], *, write: bool, quiet: bool) -> None:
    """Print the diff of a file, and write it if that is wanted; else the markers' arguments."""
    from pytest_trt.precision.tolerance import edit

    content = file.read_bytes()
    encoding, _ = tokenize.detect_encoding(io.BytesIO(content).readline)
    before = io.TextIOWrapper(io.BytesIO(content), encoding).read()
    text, unchanged = edit(before, tests)
    name = as_typed(file)
    for test in tests if not quiet else ():
        if test.test in unchanged and test.arguments():
            echo(
                f"The marker of {test.test} was not edited: {unchanged[test.test]}. Its arguments:"
            )
            echo(f"    trt_consistency({test.arguments()})")
        elif test.limits_left:
            names = ", ".join(test.limits_left)
            echo(f"Not edited, as it is also that of other precisions: the limit of {names}")
    lines = difflib.unified_diff(
        before.splitlines(keepends=True), text.splitlines(keepends=True), name, name
    )
    if not quiet:
        for line in lines:
            echo(line.rstrip("\n"))
    if write and text != before:
        end = "\r\n" if b"\r\n" in content else "\n"
        write_output(file, text.replace("\n", end).encode(encoding))
        echo(f"wrote {name}", err=quiet)
