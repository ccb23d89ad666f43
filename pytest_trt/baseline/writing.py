"""Baselines at the end of a run: what is written, what is not and why, and what may be accepted."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import datetime, timezone

import pytest

from pytest_trt.baseline.last_run import Candidate, LastRun, write_last_run
from pytest_trt.baseline.staged import Staged, Written, write_staged
from pytest_trt.benchmark.differences import HOST_BUSY
from pytest_trt.benchmark.result import BenchmarkResult
from pytest_trt.diagnostics import BaselineError
from pytest_trt.plugin.state import run_of
from pytest_trt.report.baseline_text import update_text
from pytest_trt.report.record import TestResult
from pytest_trt.terms import Verdict

#: What `BenchmarkResult.update` says of a baseline that was to be written and was not.
NOT_RECORDED = "not recorded"


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of the baselines of a run.

    Attributes:
        results: The results, their updates as they came about.
        lines: What was done and what was not, for people.
        errors: Why files could not be written.
        candidates: What may be accepted later, and what may not.
    """

    results: list[TestResult]
    lines: list[str]
    errors: list[BaselineError]
    candidates: list[Candidate]


def write_baselines_of(
    results: Sequence[TestResult], failed: Mapping[str, set[str]], *, stopped: bool
) -> Outcome:
    """Write what the tests of a run have staged, each file once.

    Args:
        results: What was recorded of the tests.
        failed: Phases that failed, by test.
        stopped: Whether the run did not come to its end.
    """
    to_write: dict[str, Staged] = {}
    candidates: dict[str, Candidate] = {}
    untold: dict[str, str] = {}
    for result in results:
        for speed in result.record.speeds:
            staged = None if speed.staged is None else Staged.from_dict(speed.staged)
            refused = _refused(result, speed, staged, failed.get(result.nodeid, set()))
            if staged is not None or refused:
                candidates[result.nodeid] = Candidate(result.nodeid, staged, refused, speed.fails)
            if staged is None or not speed.update:
                continue
            passed = result.outcome in ("passed", "xpassed")
            why = refused or ("" if passed else "the test failed")
            if why or stopped:
                untold[result.nodeid] = why or "the run was stopped"
            else:
                to_write[result.nodeid] = staged
    written, errors, overtaken = write_staged(list(to_write.values()))
    done = [one.staged for one in written]
    for nodeid, staged in to_write.items():
        if staged in done:
            del candidates[nodeid]
        elif staged in overtaken:
            untold[nodeid] = f"another run has written its baseline in {staged.shown} meanwhile"
        else:
            untold[nodeid] = f"{staged.shown} could not be written"
    return Outcome(
        results=[_as_it_came(result, untold) for result in results],
        lines=[*_lines(written), *(f"not recorded: {n}: {why}" for n, why in untold.items())],
        errors=errors,
        candidates=list(candidates.values()),
    )


def _refused(
    result: TestResult, speed: BenchmarkResult, staged: Staged | None, failed: set[str]
) -> str:
    """Return why nobody can make a baseline of what a test measured, or nothing."""
    record = result.record
    if any(check.verdict != Verdict.PASSED.value for check in record.checks):
        return "its accuracy check failed"
    if failed - {"call"}:
        return "its setup or teardown failed"
    if result.outcome == "skipped":
        return "the test was skipped"
    of_speed = record.failed_by_checks and speed.fails
    if result.outcome in ("failed", "error", "xfailed") and not of_speed:
        return "the test failed for another reason than its speed"
    if staged is None:
        return speed.why
    busy = staged.entry.runs[-1].environment.get(HOST_BUSY)
    # Where there is no baseline yet, one of a busy host is better than none, and says so itself.
    return f"the host was busy: {busy}" if busy and staged.against else ""


def _as_it_came(result: TestResult, untold: Mapping[str, str]) -> TestResult:
    if result.nodeid not in untold:
        return result
    speeds = tuple(
        replace(speed, update=NOT_RECORDED) if speed.update else speed
        for speed in result.record.speeds
    )
    return replace(result, record=replace(result.record, speeds=speeds))


def _lines(written: Iterable[Written]) -> Iterable[str]:
    by_file: dict[str, list[Written]] = {}
    for one in written:
        by_file.setdefault(one.staged.shown, []).append(one)
    for shown, entries in by_file.items():
        what = "baseline" if len(entries) == 1 else "baselines"
        yield f"wrote {shown} ({len(entries)} {what}; commit the file)"
        for one in entries:
            yield f"  {one.staged.test}: {update_text(**one.facts())}"


def keep_last_run(config: pytest.Config, outcome: Outcome) -> None:
    """Keep what a run measured for `pytest-trt baseline accept`, where its cache can be written.

    Args:
        config: The run's configuration.
        outcome: What became of its baselines.
    """
    cache = run_of(config).cache
    finished = datetime.now(timezone.utc).isoformat(timespec="seconds")
    with suppress(OSError):  # a cache that can only be read keeps nothing of a run
        run = LastRun(config.rootpath, finished, outcome.candidates)
        write_last_run(cache.last_runs, run)
