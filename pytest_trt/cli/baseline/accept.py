"""`pytest-trt baseline accept`: make what the last run measured the baseline."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import click

from pytest_trt.baseline.answers import TARGET, read_answers
from pytest_trt.baseline.file import read_baselines
from pytest_trt.baseline.last_run import AnyNew, Candidate, LastRun, read_last_run
from pytest_trt.baseline.location import BaselineLocation
from pytest_trt.baseline.metrics import read_metrics
from pytest_trt.baseline.models import digest_in, is_of_bytes, model_of
from pytest_trt.baseline.staged import Staged, entry_digest, overtaken_error, write_staged
from pytest_trt.baseline.staged_answers import (
    StagedAnswers,
    write_staged_answers,
    wrote_answers,
)
from pytest_trt.baseline.staged_metrics import StagedMetrics, write_staged_metrics
from pytest_trt.cli.baseline.stored import Folders, age
from pytest_trt.cli.command import command
from pytest_trt.cli.completion import complete_candidates
from pytest_trt.cli.output import echo
from pytest_trt.diagnostics import BaselineError, Remedy
from pytest_trt.engine.cache import EngineCache
from pytest_trt.onnx.file import load_model
from pytest_trt.wording import count

#: How the kinds of baselines are read and written.
_KINDS: Any = {
    Staged: (read_baselines, write_staged),
    StagedAnswers: (read_answers, write_staged_answers),
    StagedMetrics: (read_metrics, write_staged_metrics),
}


@command(
    short_help="Accept the results of the last run as new baselines.",
    examples=[
        "pytest-trt baseline accept tests/test_speed.py::test_speed --reason 'twice the classes'",
        "pytest-trt baseline accept --failed --reason 'TensorRT 10.13'",
    ],
    negative="a test was refused",
)
@click.argument("tests", nargs=-1, shell_complete=complete_candidates)
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
    work on the device, are refused; the others are accepted all the same.
    """
    run = _last_run(folders)
    if bool(tests) + accept_all + failed != 1:
        for candidate in run.candidates:
            state = candidate.refused or f"{'failed; ' * candidate.failed}can be accepted"
            echo(f"{candidate.test}: {state}")
        raise click.UsageError("name the tests to accept, or use --failed or --all.")
    chosen = [one for one in run.candidates if accept_all or (failed and one.failed)]
    chosen += [_named(run, name) for name in tests]
    chosen += _sharing(run, chosen)
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
        total = count(len(accepted) + len(refused), "result")
        echo(f"accepted {len(accepted)} of {total}, refused {len(refused)}", err=True)
        raise SystemExit(1)


def _last_run(folders: Folders) -> LastRun:
    found = None
    if folders.cache.is_dir():
        found = read_last_run(EngineCache(folders.cache).last_runs, Path.cwd())
    if found is None or not found.candidates:
        what = f"the cache {folders.cache} has no results of a run in {Path.cwd()}"
        if found is not None:
            what = f"the last run, {age(found.finished)}, has nothing to accept"
        raise BaselineError(
            what,
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


def _sharing(run: LastRun, chosen: Sequence[Candidate]) -> list[Candidate]:
    """Return tests with answers of chosen ones, such as other precisions, that concerns, too.

    Accepting the answers does not let those pass that failed their check. New answers have the
    errors of the engines that are accepted with them, and no older ones.
    """
    answers = [one.staged for one in chosen if isinstance(one.staged, StagedAnswers)]
    shared = {(one.path, one.test): _replaces(one) for one in answers}
    return [
        one
        for one in run.candidates
        if one not in chosen
        and isinstance(one.staged, StagedAnswers)
        and (place := (one.staged.path, one.staged.test)) in shared
        and (one.refused or shared[place])
    ]


def _replaces(staged: StagedAnswers) -> bool:
    """Whether answers differ from those that are stored now."""
    found = read_answers(staged.path)
    old = found.tests.get(staged.test) if found else None
    return old is None or old.answers != staged.entry.answers


def _sorted_out(
    folders: Folders, run: LastRun, chosen: Sequence[Candidate]
) -> tuple[list[AnyNew], list[Candidate]]:
    """Return what can be accepted, and what cannot with the reason."""
    accepted: list[AnyNew] = []
    refused = []

    @cache
    def digest_of(model: Path) -> str:
        return load_model(model).digest

    for candidate in {(one.test, type(one.staged)): one for one in chosen}.values():
        if candidate.refused or candidate.staged is None:
            refused.append(candidate)
            continue
        staged = _placed(folders, run, candidate.test, candidate.staged)
        if _stored_digest(staged) != staged.against:
            why = f"its baseline in {staged.shown} has changed since that run"
            refused.append(replace(candidate, refused=why))
            continue
        changed = _changed_model(folders, run, candidate.test, staged, digest_of)
        if changed:
            why = f"{changed} has changed since that run"
            refused.append(replace(candidate, refused=why))
            continue
        accepted.append(staged)
    return accepted, refused


def _changed_model(
    folders: Folders, run: LastRun, test: str, staged: AnyNew, digest_of: Callable[[Path], str]
) -> str:
    """Return the model that a result is no longer of, as on another branch; empty for none.

    Of a model outside of the folder that paths are relative to, only the name is stored.
    """
    if isinstance(staged, StagedMetrics) or not digest_in(staged.entry):
        return ""
    name = model_of(staged.entry)
    file = run.root / test.partition("::")[0]
    model = folders.baselines_of(file.parent).base / name
    return name if model.is_file() and not is_of_bytes(staged.entry, digest_of(model)) else ""


def _stored_digest(staged: AnyNew) -> str:
    """Return the digest of what is stored for a test now."""
    read, _ = _KINDS[type(staged)]
    found = read(staged.path)
    return entry_digest(found.tests.get(staged.test) if found else None)


def _placed(folders: Folders, run: LastRun, test: str, staged: AnyNew) -> AnyNew:
    """Return a new baseline at the place that its test has: no file says where one is written.

    Raises:
        BaselineError: The run compared it with the baseline at another place.
    """
    module, _, name = test.partition("::")
    path = run.root / module
    folder = folders.baselines_of(path.parent)
    target = TARGET if isinstance(staged, StagedAnswers) else staged.target
    # Answers and metrics are named without the precision or the architecture.
    if not isinstance(staged, Staged) and name.partition("[")[0] == staged.test.partition("[")[0]:
        name = staged.test
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


def _write(accepted: Sequence[AnyNew], reason: str) -> None:
    if not any(map(str.isalnum, reason)):
        raise _no_reason()
    reason = reason.strip()
    written: list[Any] = []
    errors: list[BaselineError] = []
    overtaken: list[AnyNew] = []
    for kind, (_, write) in _KINDS.items():
        done, failed, late = write(
            [one.with_reason(reason) for one in accepted if type(one) is kind]
        )
        written += done
        errors += failed
        overtaken += late
    for one in written:
        echo(f"{one.staged.test}: {one.text}")
    answers = {one.staged.shown for one in written if isinstance(one.staged, StagedAnswers)}
    for name in dict.fromkeys(one.staged.shown for one in written):
        echo(wrote_answers(name) if name in answers else f"wrote {name}")
    for error in (*errors, *map(overtaken_error, overtaken)):
        raise error
