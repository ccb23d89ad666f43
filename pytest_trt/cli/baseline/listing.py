"""`pytest-trt baseline list` and `show`."""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Iterator
from statistics import median

import click

from pytest_trt import units
from pytest_trt.baseline.entry import Entry, StoredRun
from pytest_trt.benchmark.differences import HOST_BUSY
from pytest_trt.cli.baseline.stored import (
    Answers,
    AnyStored,
    Folders,
    Stored,
    TaskMetrics,
    age,
    complete_baselines,
    target_text,
)
from pytest_trt.cli.command import command, json_option
from pytest_trt.cli.output import echo, echo_error, echo_json
from pytest_trt.cli.table import Row, print_table
from pytest_trt.diagnostics import BaselineError, Remedy, as_typed
from pytest_trt.records import to_data
from pytest_trt.terms import METRICS
from pytest_trt.wording import count


@command(
    "list",
    short_help="List all baselines.",
    examples=["pytest-trt baseline list", "pytest-trt baseline list --json"],
    negative="a file is not valid",
)
@json_option
@click.pass_obj
def list_(folders: Folders, as_json: bool) -> None:
    """List all baselines."""
    files, errors = folders.files()
    answers, more = folders.answers()
    metrics, others = folders.metrics()
    found = [stored for listed in files for stored in listed]
    errors += more + others
    if as_json:
        entries: list[AnyStored] = [*found, *answers, *metrics]
        listed = [one.to_dict() for one in entries]
        echo_json(listed)
    elif not (found or answers or metrics or errors):
        echo(f"There are no baselines in {folders.shown}.")
        echo("Fix: Run tests with trt_benchmark, or name the folder with --baseline-dir.")
    else:
        _print(files, answers)
        _print_metrics(metrics, below=bool(found or answers))
    for error in errors:
        echo_error(error)
    if errors:
        raise SystemExit(1)


def _print(files: list[list[Stored]], answers: list[Answers]) -> None:
    found = [stored for listed in files for stored in listed]
    if found:
        titles = ("test", "mode", "P50 ms", "P99 ms", "items/s", "runs", "recorded")
        print_table(titles, [row for listed in files for row in _rows(listed)], giving_way=(0,))
        targets = len({tuple(one.file.target.items()) for one in found})
        echo(f"{count(len(found), 'baseline')} of {count(targets, 'target')}")
    if found and answers:
        echo()
    if answers:
        of_answers = ("answers of", "model", "inputs", "outputs", "recorded")
        print_table(of_answers, list(_answer_rows(answers)), giving_way=(0, 1))
        echo(f"answers of {count(len(answers), 'test')}")


def _print_metrics(metrics: list[TaskMetrics], *, below: bool) -> None:
    if not metrics:
        return
    if below:
        echo()
    print_table(
        ("metrics of", "value", "of", "recorded"), list(_metric_rows(metrics)), giving_way=(0,)
    )
    echo(f"metrics of {count(len(metrics), 'test')}")


def _metric_rows(metrics: list[TaskMetrics]) -> Iterator[Row]:
    file = None
    for one in metrics:
        if one.path != file:
            file = one.path
            yield as_typed(file)
        for name, value in one.entry.metrics.items():
            of = len(value.samples) or value.of or ""
            yield f"{one.test} {name}", f"{value.value:.5g}", str(of), age(one.entry.recorded)
        if one.entry.reason:
            yield f"  {one.entry.reason}"


def _answer_rows(answers: list[Answers]) -> Iterator[Row]:
    """Yield the rows of stored answers, the file above its tests and the reason below each."""
    file = None
    for one in answers:
        entry, (sketches, outputs) = one.entry, one.sketches
        if one.path != file:
            file = one.path
            yield as_typed(file)
        how = {0: "whole", outputs: "sketches"}.get(sketches, f"{sketches} sketches")
        yield (
            one.test,
            entry.model,
            str(len(entry.answers)),
            f"{outputs} {how}",
            age(entry.recorded),
        )
        if entry.reason:
            yield f"  {entry.reason}"


def _rows(listed: list[Stored]) -> Iterator[Row]:
    """Yield the rows of one file, the reason of each baseline below it."""
    if listed:
        yield listed[0].to_dict()["file"]
        yield f"  {target_text(listed[0].file)}"
    for stored in listed:
        entry, newest = stored.entry, stored.entry.runs[-1]
        runs, recorded = str(len(entry.runs)), age(newest.recorded)
        yield (stored.test, entry.mode, *_figures(entry), runs, recorded)
        if newest.reason:
            yield f"  {newest.reason}"


def _figures(entry: Entry) -> Iterator[str]:
    for metric in ("p50", "p99", "throughput"):
        value = entry.figure(metric)
        yield "-" if value is None else units.three_digits(value)


@command(
    short_help="Show everything stored for one test.",
    examples=[
        "pytest-trt baseline show test_speed",
        "pytest-trt baseline show 'tests/test_speed.py::test_speed[fp16]'",
    ],
)
@click.argument("test", shell_complete=complete_baselines)
@json_option
@click.pass_obj
def show(folders: Folders, test: str, as_json: bool) -> None:
    """Show all that is stored for TEST: its speed on every target, its answers and task metrics.

    TEST is its name, its node id, or a part of it that no other test has.
    """
    found = named(folders.stored(), test)
    if as_json:
        listed = [{**one.to_dict(), **to_data(one.entry)} for one in found]
        echo_json(listed)
        return
    for number, stored in enumerate(found):
        if number:
            echo()
        for line in _shown(stored):
            echo(line)


def _shown(stored: AnyStored) -> Iterator[str]:
    if isinstance(stored, Answers):
        return _answer_lines(stored)
    return _metric_lines(stored) if isinstance(stored, TaskMetrics) else _lines(stored)


def named(stored: list[AnyStored], name: str) -> list[AnyStored]:
    """Return the entries of one test: its speed on each target, its answers and task metrics.

    Args:
        stored: The entries of all tests.
        name: A test's name or node id, or a part of one.

    Raises:
        BaselineError: No test or several tests match.
    """
    exact = [one for one in stored if name in (one.test, one.nodeid)]
    found = exact or [one for one in stored if name in one.nodeid]
    speeds = {one.nodeid for one in found if not isinstance(one, Answers)}
    if len(speeds) == 1:  # answers are of all precisions, so their names are shorter
        (nodeid,) = speeds
        answers = [one for one in stored if isinstance(one, Answers) and one.is_of(nodeid)]
        found = [*(one for one in found if not isinstance(one, Answers)), *answers]
    tests = sorted(speeds or {one.nodeid for one in found})
    if not tests:
        raise BaselineError(
            f"there is no baseline of a test named {name}",
            fix=Remedy("Name a test that has one:", ("pytest-trt baseline list",)),
            code="TRT630",
            facts={"name": name},
        )
    if len(tests) > 1:
        raise BaselineError(
            f"{name} matches {len(tests)} tests",
            fix=Remedy("Name one of them:", (f"pytest-trt baseline show {shlex.quote(tests[0])}",)),
            code="TRT630",
            facts={"name": name, "tests": tests},
            details=tests,
        )
    return found


def _lines(stored: Stored) -> Iterator[str]:
    entry = stored.entry
    yield stored.nodeid
    yield f"  file    {stored.to_dict()['file']}"
    yield f"  target  {target_text(stored.file)}"
    yield f"  mode    {entry.mode}"
    yield from _labelled("spec", entry.spec.items())
    yield from _labelled("engine", _engine(entry))
    if entry.noise is not None:
        between = ", ".join(
            f"{units.METRIC_NAMES.get(metric, metric)} {units.percent(value)}"
            for metric, value in entry.noise.between_runs.items()
        )
        yield f"  noise   between runs {between}, of {entry.noise.processes} processes"
    for number, run in enumerate(entry.runs, 1):
        yield f"  run {number} of {len(entry.runs)}, {age(run.recorded)}, {run.recorded}"
        yield from _run_lines(run)


def _metric_lines(stored: TaskMetrics) -> Iterator[str]:
    entry = stored.entry
    yield stored.nodeid
    yield f"  file      {as_typed(stored.path)}"
    yield f"  arch      {stored.file.target.get('arch', '-')}"
    yield f"  with      {entry.toolchain}"
    yield f"  recorded  {age(entry.recorded)}, {entry.recorded}"
    yield f"  reason    {entry.reason or '-'}"
    for name, one in entry.metrics.items():
        trials = f" of {one.of:,} trials" if one.of else ""
        samples = f", mean of {len(one.samples):,} samples" if one.samples else ""
        better = ", lower is better" if one.lower_is_better else ""
        yield f"  metric    {name} {one.value:.6g}{trials}{samples}{better}"


def _answer_lines(stored: Answers) -> Iterator[str]:
    entry = stored.entry
    yield stored.nodeid
    yield f"  file      {as_typed(stored.path)}"
    yield f"  model     {entry.model}, {entry.model_digest[:12]}"
    yield f"  producer  {entry.producer}"
    yield f"  recorded  {age(entry.recorded)}, {entry.recorded}"
    yield f"  reason    {entry.reason or '-'}"
    for engine, errors in entry.errors.items():
        listed = ", ".join(f"{name} {value:g}" for name, value in errors.items())
        yield f"  errors    {engine}: {listed}"
    for number, answer in enumerate(entry.answers, 1):
        shapes = ", ".join(f"{name} {shape}" for name, shape in answer.shapes.items())
        yield f"  inputs {number} of {len(entry.answers)}: {shapes}"
        for name, one in answer.outputs.items():
            figures = "".join(f", {label} {value:g}" for label, value in one.figures.items())
            how = "whole" if one.stored == "all" else "sketch"
            yield f"    {name}  {one.dtype} {list(one.shape)}, {how}{figures}"


def _labelled(title: str, fields: Iterable[tuple[str, object]]) -> Iterator[str]:
    for number, (label, value) in enumerate(fields):
        yield f"  {title if number == 0 else '':6}  {label} {value}"


def _engine(entry: Entry) -> Iterator[tuple[str, str]]:
    for label, value in entry.engine.items():
        in_bytes = label.endswith("_bytes") and isinstance(value, int)
        yield label.removesuffix("_bytes"), units.size(float(value)) if in_bytes else str(value)


def _environment_text(item: tuple[str, str]) -> str:
    label, value = item
    return f"host overloaded ({value})" if label == HOST_BUSY else f"{label} {value}"


def _run_lines(run: StoredRun) -> Iterator[str]:
    yield f"    reason      {run.reason or '-'}"
    around = [run.toolchain, *map(_environment_text, run.environment.items())]
    yield f"    with        {', '.join(around)}"
    rounds = max(map(len, run.rounds.values()))
    yield f"    rounds      {rounds} of {run.calls} calls"
    for metric in METRICS:
        if metric in run.rounds:
            values = run.rounds[metric]
            least, most = units.figure(metric, min(values)), units.figure(metric, max(values))
            middle = units.figure(metric, median(values))
            yield f"    {units.METRIC_NAMES[metric]:10}  {middle}, rounds from {least} to {most}"
