"""`pytest-trt baseline list` and `show`."""

from __future__ import annotations

import json
from collections.abc import Iterator
from statistics import median

import click

from pytest_trt import units
from pytest_trt.baseline.checks import CALLS_OF_METRIC
from pytest_trt.baseline.entry import Entry, StoredRun
from pytest_trt.cli.baseline.places import Places, Stored, age, target_text
from pytest_trt.cli.table import Row, print_table
from pytest_trt.diagnostics import BaselineError
from pytest_trt.report.speed_text import NAMES, figure

as_json = click.option("--json", "as_json", is_flag=True, help="Print JSON, for programs.")


@click.command("list", short_help="List every baseline.")
@as_json
@click.pass_obj
def list_(places: Places, as_json: bool) -> None:
    """List every baseline; exit status 1 if a file is broken."""
    files, broken = places.files()
    found = [stored for listed in files for stored in listed]
    if as_json:
        click.echo(json.dumps([one.to_dict() for one in found], indent=2))
    elif found:
        titles = ("test", "mode", "P50 ms", "P99 ms", "per s", "runs", "age")
        print_table(titles, [row for listed in files for row in _rows(listed)], giving_way=(0,))
        targets = len({tuple(one.file.target.items()) for one in found})
        click.echo(f"{_counted(len(found), 'baseline')} of {_counted(targets, 'target')}")
    elif not broken:
        click.echo(f"There are no baselines in {places.baselines}.")
        click.echo("Fix: run tests with trt_benchmark, or name the folder: --baseline-dir.")
    for error in broken:
        click.echo(f"Error: {error}", err=True)
    if broken:
        raise SystemExit(1)


def _rows(listed: list[Stored]) -> Iterator[Row]:
    """Yield the rows of one file, the reason of each baseline below it."""
    if listed:
        yield str(listed[0].path)
        yield f"  {target_text(listed[0].file)}"
    for stored in listed:
        entry, newest = stored.entry, stored.entry.runs[-1]
        since = age(newest.recorded).removesuffix(" ago")
        yield (stored.test, entry.mode, *_figures(entry), str(len(entry.runs)), since)
        if newest.reason:
            yield f"  {newest.reason}"


def _figures(entry: Entry) -> Iterator[str]:
    for metric in ("p50", "p99", "throughput"):
        value = entry.figure(metric)
        told = "-" if value is None else figure(metric, value)
        yield told.removesuffix(" ms").removesuffix("/s")


def _counted(count: int, what: str) -> str:
    return f"{count} {what}{'' if count == 1 else 's'}"


@click.command(short_help="Show all of one baseline.")
@click.argument("test")
@as_json
@click.pass_obj
def show(places: Places, test: str, as_json: bool) -> None:
    """Show all that is stored of TEST, on every target: its name, or a part that only it has."""
    found = list(named(places.stored(), test))
    if as_json:
        listed = [{**one.to_dict(), **one.entry.to_dict()} for one in found]
        click.echo(json.dumps(listed, indent=2))
        return
    for number, stored in enumerate(found):
        if number:
            click.echo()
        for line in _lines(stored):
            click.echo(line)


def named(stored: list[Stored], name: str) -> Iterator[Stored]:
    """Yield the entries of the one test that a name means.

    Args:
        stored: All of them.
        name: A test's name or node id, or a part of one.

    Raises:
        BaselineError: It means none, or several.
    """
    exact = [one for one in stored if name in (one.test, one.nodeid)]
    found = exact or [one for one in stored if name in one.nodeid]
    tests = sorted({one.nodeid for one in found})
    if not tests:
        raise BaselineError(
            f"no baseline is called {name}.", fix="`pytest-trt baseline list` names them."
        )
    if len(tests) > 1:
        raise BaselineError(
            f"{name} may be one of {len(tests)} tests:\n  " + "\n  ".join(tests),
            fix=f'name one of them: pytest-trt baseline show "{tests[0]}"',
        )
    yield from found


def _lines(stored: Stored) -> Iterator[str]:
    entry = stored.entry
    yield stored.nodeid
    yield f"  file    {stored.path}"
    yield f"  target  {target_text(stored.file)}"
    yield f"  mode    {entry.mode}"
    yield from _labelled("spec", entry.spec.items())
    yield from _labelled("engine", _engine(entry))
    if entry.noise is not None:
        between = entry.noise.between_runs.items()
        told = ", ".join(f"{NAMES.get(m, m)} {units.percent(value)}" for m, value in between)
        yield f"  noise   between runs {told}, of {entry.noise.processes} processes"
    for number, run in enumerate(entry.runs, 1):
        yield f"  run {number} of {len(entry.runs)}, {age(run.recorded)}, {run.recorded}"
        yield from _run_lines(run)


def _labelled(title: str, fields: object) -> Iterator[str]:
    for number, (label, value) in enumerate(fields):  # type: ignore[arg-type, var-annotated]
        yield f"  {title if number == 0 else '':6}  {label} {value}"


def _engine(entry: Entry) -> Iterator[tuple[str, str]]:
    for label, value in entry.engine.items():
        in_bytes = label.endswith("_bytes") and isinstance(value, int)
        yield label.removesuffix("_bytes"), units.size(float(value)) if in_bytes else str(value)


def _run_lines(run: StoredRun) -> Iterator[str]:
    yield f"    reason      {run.reason or '-'}"
    around = [run.toolchain, *(f"{label} {value}" for label, value in run.environment.items())]
    yield f"    with        {', '.join(around)}"
    count = max(map(len, run.rounds.values()))
    yield f"    rounds      {count} of {run.calls} calls"
    for metric in CALLS_OF_METRIC:
        if metric in run.rounds:
            values = run.rounds[metric]
            least, most = figure(metric, min(values)), figure(metric, max(values))
            middle = figure(metric, median(values))
            yield f"    {NAMES[metric]:10}  {middle}, rounds from {least} to {most}"
