"""`pytest-trt baseline accept`: make what the last run measured the baseline."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TypeAlias

import click

from pytest_trt.baseline.answers import TARGET, read_answers
from pytest_trt.baseline.entry import StoredRun
from pytest_trt.baseline.file import read_baselines
from pytest_trt.baseline.last_run import Candidate, LastRun, read_last_run
from pytest_trt.baseline.location import BaselineLocation
from pytest_trt.baseline.metrics import read_metrics
from pytest_trt.baseline.staged import Staged, entry_digest, overtaken_error, write_staged
from pytest_trt.baseline.staged_answers import StagedAnswers, write_staged_answers
from pytest_trt.baseline.staged_metrics import StagedMetrics, write_staged_metrics
from pytest_trt.cli.baseline.stored import Folders, age
from pytest_trt.cli.output import echo
from pytest_trt.diagnostics import BaselineError, Remedy
from pytest_trt.engine.cache import EngineCache
from pytest_trt.report.baseline_text import update_text

_AnyStaged: TypeAlias = "Staged | StagedAnswers | StagedMetrics"


@click.command(short_help="Accept the results of the last run as new baselines.")
@click.argument("tests", nargs=-1)
@click.option("--all", "accept_all", is_flag=True, help="Accept every test of the last run.")
@click.option(
    "--failed",
    is_flag=True,
    help="Accept every test that failed because of its speed, answers or task metrics.",
)
@click.option(
    "--reason", help="Reason for the change, stored with the baseline. Prompted for if not given."
)
@click.pass_obj
def accept(
    folders: Folders, tests: tuple[str, ...], accept_all: bool, failed: bool, reason: str | None
) -> None:
    """Accept the results of the last run as new baselines of TESTS, without measuring again.

    TESTS are names or node ids. Tests whose accuracy check failed, or that were disturbed by other
    work on the device, are refused.

    Exit status 1 if a test was refused.
    """
    run = _last_run(folders)
    if bool(tests) + accept_all + failed != 1:
        for candidate in run.candidates:
            state = candidate.refused or f"{'failed; ' * candidate.failed}can be accepted"
            echo(f"{candidate.test}: {state}")
        raise click.UsageError("name the tests to accept, or use --failed or --all.")
    chosen = [one for one in run.candidates if accept_all or (failed and one.failed)]
    chosen += [_named(run, name) for name in tests]
    if not chosen:
        raise BaselineError(
            f"no test failed because of its speed or answers in the last run, {age(run.finished)}",
            fix="Name the tests to accept, or use --all.",
            code="TRT640",
            facts={"finished": run.finished},
        )
    accepted, refused = _sorted_out(folders, run, chosen)
    if accepted:
        _write(accepted, reason or _prompted(age(run.finished)))
    for candidate in refused:
        echo(f"Error: {candidate.test} is not accepted: {candidate.refused}", err=True)
    if refused:
        echo("Fix: Remove the cause, and run the tests again.", err=True)
        raise SystemExit(1)


def _last_run(folders: Folders) -> LastRun:
    found = None
    if folders.cache.is_dir():
        found = read_last_run(EngineCache(folders.cache).last_runs, Path.cwd())
    if found is None or not found.candidates:
        raise BaselineError(
            f"the cache {folders.cache} has no results of a run in {Path.cwd()}",
            fix=Remedy(
                "Run the tests here first. If they use another cache, name it:",
                ("pytest-trt baseline --cache-dir=DIR accept",),
            ),
            code="TRT640",
            facts={"cache": str(folders.cache), "folder": str(Path.cwd())},
        )
    return found


def _named(run: LastRun, name: str) -> Candidate:
    for candidate in run.candidates:
        if name in (candidate.test, candidate.test.partition("::")[2]):
            return candidate
    tests = [candidate.test for candidate in run.candidates]
    raise BaselineError(
        f"the last run, {age(run.finished)}, has no result of {name} to accept; it has these:",
        fix="Name one of these; baselines recorded by the run are already accepted.",
        code="TRT640",
        facts={"name": name, "tests": tests, "finished": run.finished},
        details=tests,
    )


def _sorted_out(
    folders: Folders, run: LastRun, chosen: Sequence[Candidate]
) -> tuple[list[_AnyStaged], list[Candidate]]:
    """Return what can be accepted, and what cannot with the reason."""
    accepted: list[_AnyStaged] = []
    refused = []
    for candidate in {(one.test, type(one.staged)): one for one in chosen}.values():
        if candidate.refused or candidate.staged is None:
            refused.append(candidate)
            continue
        staged = _placed(folders, run, candidate.test, candidate.staged)
        if _stored_digest(staged) != staged.against:
            why = f"its baseline in {staged.shown} has changed since that run"
            refused.append(replace(candidate, refused=why))
        else:
            accepted.append(staged)
    return accepted, refused


def _stored_digest(staged: _AnyStaged) -> str:
    """Return the digest of what is stored for a test now."""
    if isinstance(staged, StagedAnswers):
        answers = read_answers(staged.path)
        return entry_digest(answers.tests.get(staged.test) if answers else None)
    if isinstance(staged, StagedMetrics):
        metrics = read_metrics(staged.path)
        return entry_digest(metrics.tests.get(staged.test) if metrics else None)
    content = read_baselines(staged.path)
    return entry_digest(content.tests.get(staged.test) if content else None)


def _placed(folders: Folders, run: LastRun, test: str, staged: _AnyStaged) -> _AnyStaged:
    """Return a new baseline at the place that its test has: no file says where one is written.

    Raises:
        BaselineError: The run compared it with the baseline at another place.
    """
    module, _, name = test.partition("::")
    path = run.root / module
    folder = folders.baselines_of(path.parent)
    if isinstance(staged, StagedAnswers):
        # Tests of other precisions have the same.
        function = staged.test.partition("[")[0]
        target, name = TARGET, staged.test if name.partition("[")[0] == function else name
    elif isinstance(staged, StagedMetrics):
        # Tests of other architectures have the same name.
        function = staged.test.partition("[")[0]
        target = staged.target
        name = staged.test if name.partition("[")[0] == function else name
    else:
        target = staged.target
    place = BaselineLocation.of(folder, path, name, target, rootdir=run.root)
    if place.path != staged.path or place.test != staged.test:
        raise BaselineError(
            f"the last run compared {test} with {staged.shown}, and its baseline here is "
            f"{place.shown}",
            fix=Remedy(
                "Name the folder of baselines that the run used:",
                ("pytest-trt baseline --baseline-dir=DIR accept",),
            ),
            code="TRT643",
            facts={"test": test, "file": str(staged.path), "folder": str(folder.path)},
        )
    return replace(staged, path=place.path)


def _prompted(when: str) -> str:
    if not sys.stdin.isatty():
        raise _no_reason()
    answer: str = click.prompt(f"Why do you accept the results of {when}")
    return answer


def _no_reason() -> BaselineError:
    return BaselineError(
        "a new baseline needs a reason",
        fix=Remedy("Give one:", ('pytest-trt baseline accept ... --reason "twice the classes"',)),
        code="TRT642",
    )


def _write(accepted: Sequence[_AnyStaged], reason: str) -> None:
    if not any(map(str.isalnum, reason)):
        raise _no_reason()
    reason = reason.strip()
    speeds = [
        replace(one, entry=replace(one.entry, runs=_with_reason(one, reason), accepted={}))
        for one in accepted
        if isinstance(one, Staged)
    ]
    answers = [
        replace(one, entry=replace(one.entry, reason=reason))
        for one in accepted
        if isinstance(one, StagedAnswers)
    ]
    metrics = [
        replace(one, metrics=replace(one.metrics, reason=reason))
        for one in accepted
        if isinstance(one, StagedMetrics)
    ]
    written, errors, overtaken = write_staged(speeds)
    stored = write_staged_answers(answers)
    task = write_staged_metrics(metrics)
    for one in written:
        echo(f"{one.staged.test}: {update_text(**one.facts())}")
    for answer in stored.written:
        echo(f"{answer.staged.test}: {answer.text}")
    for metric in task.written:
        echo(f"{metric.staged.test}: {metric.text}")
    shown = [one.staged.shown for one in written] + [one.staged.shown for one in stored.written]
    shown += [one.staged.shown for one in task.written]
    for name in dict.fromkeys(shown):
        echo(f"wrote {name}")
    if errors or stored.errors or task.errors:
        raise (*errors, *stored.errors, *task.errors)[0]
    lost: list[_AnyStaged] = [*overtaken, *stored.overtaken, *task.overtaken]
    for each in lost:
        raise overtaken_error(each.path, each.shown, each.test)


def _with_reason(staged: Staged, reason: str) -> tuple[StoredRun, ...]:
    return tuple(replace(run, reason=reason) for run in staged.entry.runs)
