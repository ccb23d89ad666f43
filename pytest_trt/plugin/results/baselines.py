"""Baselines at the end of a run: what is written, what is not and why, and what may be accepted."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import datetime, timezone
from pathlib import Path
from typing import Final

from pytest_trt.baseline.last_run import Candidate, LastRun, write_last_run
from pytest_trt.baseline.location import DEFAULT_FOLDER
from pytest_trt.baseline.staged import Staged, Written, overtaken_error, write_staged
from pytest_trt.baseline.staged_answers import (
    StagedAnswers,
    WrittenAnswers,
    write_staged_answers,
)
from pytest_trt.baseline.staged_metrics import (
    StagedMetrics,
    WrittenMetrics,
    write_staged_metrics,
)
from pytest_trt.benchmark.differences import HOST_BUSY
from pytest_trt.benchmark.result import BenchmarkResult
from pytest_trt.diagnostics import BaselineError, Diagnostic, Remedy, as_typed
from pytest_trt.report.baseline_text import update_text
from pytest_trt.report.record import TestResult
from pytest_trt.terms import Verdict

#: `BenchmarkResult.update` of a baseline that was to be written and was not.
NOT_RECORDED: Final = "not recorded"


@dataclass(frozen=True, slots=True)
class Outcome:
    """What happened to the baselines of a run.

    Attributes:
        results: The results, with what happened to their baselines.
        lines: What was written and what was not, as text.
        warnings: What else to know about the files that were written.
        errors: Files that could not be written.
        candidates: What may be accepted later, and what may not.
    """

    results: list[TestResult]
    lines: list[str]
    warnings: list[Diagnostic]
    errors: list[BaselineError]
    candidates: list[Candidate]


def write_baselines_of(
    results: Sequence[TestResult],
    failed: Mapping[str, set[str]],
    *,
    stopped: bool,
    update: bool = False,
) -> Outcome:
    """Write the new baselines of a run's tests, each file once.

    Args:
        results: The results of the tests.
        failed: Phases that failed, by test.
        stopped: Whether the run was interrupted.
        update: Whether the run was to update baselines: one that is not updated is an error then.
    """
    to_write: dict[str, Staged] = {}
    candidates: dict[str, Candidate] = {}
    not_recorded: dict[str, str] = {}
    for result in results:
        for speed in result.record.speeds:
            staged = speed.staged
            refused = _refused(result, speed, staged, failed.get(result.nodeid, set()))
            if staged is not None or refused:
                candidates[result.nodeid] = Candidate(result.nodeid, staged, refused, speed.failed)
            if staged is None or speed.update in ("", NOT_RECORDED):
                continue
            passed = result.outcome in ("passed", "xpassed")
            why = refused or ("" if passed else "the test failed")
            if why or stopped:
                not_recorded[result.nodeid] = why or "the run was interrupted"
            else:
                to_write[result.nodeid] = staged
    answers = _write_answers(results, failed, stopped=stopped, update=update)
    metrics = _write_metrics(results, failed, stopped=stopped, update=update)
    written, errors, overtaken = write_staged(list(to_write.values()))
    done = [one.staged for one in written]
    for nodeid, staged in to_write.items():
        if staged in done:
            del candidates[nodeid]
        elif staged in overtaken:
            not_recorded[nodeid] = (
                f"another run changed its baseline in {staged.shown} in the meantime"
            )
            if update:
                errors.append(overtaken_error(staged.path, staged.shown, staged.test))
        else:
            not_recorded[nodeid] = f"{staged.shown} could not be written"
    return Outcome(
        results=[_with_update(result, not_recorded) for result in results],
        lines=[
            *_lines(written),
            *answers.lines,
            *metrics.lines,
            *(f"not recorded: {n}: {why}" for n, why in not_recorded.items()),
        ],
        warnings=list(_second_folders(written)),
        errors=[*errors, *answers.errors, *metrics.errors],
        candidates=[*candidates.values(), *answers.candidates, *metrics.candidates],
    )


def _write_answers(
    results: Sequence[TestResult],
    failed: Mapping[str, set[str]],
    *,
    stopped: bool,
    update: bool,
) -> Outcome:
    """Store the new answers of a run's tests, each file once; see `write_baselines_of`."""
    to_write: list[tuple[str, StagedAnswers]] = []
    candidates: list[Candidate] = []
    lines: list[str] = []
    for result in results:
        staged = result.record.answers
        if staged is None:
            continue
        why = _answers_refused(result, failed.get(result.nodeid, set()))
        of_answers = result.record.failed_by_checks and not why
        if staged.update and not why and not stopped and not of_answers:
            to_write.append((result.nodeid, staged))
        else:
            candidates.append(Candidate(result.nodeid, staged, why, of_answers))
            if staged.update:
                why = why or ("the run was interrupted" if stopped else "the test failed")
                lines.append(f"not recorded: {result.nodeid}: {why}")
    written, errors, overtaken = write_staged_answers([staged for _, staged in to_write])
    for nodeid, staged in to_write:
        if staged in overtaken:
            lines.append(
                f"not recorded: {nodeid}: another run changed its baseline in {staged.shown} in "
                "the meantime"
            )
            if update:
                errors.append(overtaken_error(staged.path, staged.shown, staged.test))
    by_file: dict[str, list[WrittenAnswers]] = {}
    for one in written:
        by_file.setdefault(one.staged.shown, []).append(one)
    for shown, entries in by_file.items():
        lines.append(f"wrote {shown} and the .npz beside it (commit both files)")
        lines += [f"  {one.staged.test}: {one.text}" for one in entries]
    return Outcome([], lines, [], errors, candidates)


def _write_metrics(
    results: Sequence[TestResult],
    failed: Mapping[str, set[str]],
    *,
    stopped: bool,
    update: bool,
) -> Outcome:
    """Store the new task metrics of a run's tests, each file once; see `write_baselines_of`."""
    to_write: list[tuple[str, StagedMetrics]] = []
    candidates: list[Candidate] = []
    lines: list[str] = []
    for result in results:
        staged = result.record.staged_metrics
        if staged is None:
            continue
        why = _metrics_refused(result, failed.get(result.nodeid, set()))
        of_metrics = result.record.failed_by_checks and not why
        if staged.update and not why and not stopped and not of_metrics:
            to_write.append((result.nodeid, staged))
        else:
            candidates.append(Candidate(result.nodeid, staged, why, of_metrics))
            if staged.update:
                why = why or ("the run was interrupted" if stopped else "the test failed")
                lines.append(f"not recorded: {result.nodeid}: {why}")
    written, errors, overtaken = write_staged_metrics([staged for _, staged in to_write])
    for nodeid, staged in to_write:
        if staged in overtaken:
            lines.append(
                f"not recorded: {nodeid}: another run changed its baseline in {staged.shown} in "
                "the meantime"
            )
            if update:
                errors.append(overtaken_error(staged.path, staged.shown, staged.test))
    by_file: dict[str, list[WrittenMetrics]] = {}
    for one in written:
        by_file.setdefault(one.staged.shown, []).append(one)
    for shown, entries in by_file.items():
        lines.append(f"wrote {shown} (task metrics; commit the file)")
        lines += [f"  {one.staged.test}: {one.text}" for one in entries]
    return Outcome([], lines, [], errors, candidates)


def _metrics_refused(result: TestResult, failed: set[str]) -> str:
    """Return why the task metrics of a test cannot become a baseline; empty if they can."""
    if any(one.verdict != Verdict.PASSED for one in result.record.checks):
        return "its accuracy check did not pass"
    if failed - {"call"}:
        return "its setup or teardown failed"
    if result.outcome == "skipped":  # what it would have run after that is missing
        return "the test was skipped"
    if result.outcome in ("failed", "error", "xfailed") and not result.record.failed_by_checks:
        return "the test failed for a reason other than its metrics"
    return ""


def _answers_refused(result: TestResult, failed: set[str]) -> str:
    """Return why the answers of a test cannot become a baseline; empty if they can."""
    record = result.record
    if any(one.against == "model" and one.verdict != Verdict.PASSED for one in record.checks):
        return "its engine does not agree with its model"
    if failed - {"call"}:
        return "its setup or teardown failed"
    if result.outcome == "skipped":  # what it would have run after that is missing
        return "the test was skipped"
    if result.outcome in ("failed", "error", "xfailed") and not record.failed_by_checks:
        return "the test failed for a reason other than its answers"
    return ""


def _refused(
    result: TestResult, speed: BenchmarkResult, staged: Staged | None, failed: set[str]
) -> str:
    """Return why a measurement cannot become a baseline; empty if it can."""
    record = result.record
    if any(check.verdict != Verdict.PASSED.value for check in record.checks):
        return "its accuracy check did not pass"
    if failed - {"call"}:
        return "its setup or teardown failed"
    if result.outcome == "skipped":
        return "the test was skipped"
    of_speed = record.failed_by_checks and speed.failed
    if result.outcome in ("failed", "error", "xfailed") and not of_speed:
        return "the test failed for a reason other than its speed"
    if staged is None:
        return speed.reason.message if speed.reason else ""
    busy = staged.entry.runs[-1].environment.get(HOST_BUSY)
    # Of an overloaded host, only a first baseline is stored, or one that the user insisted on.
    refused = busy and staged.against and not speed.update
    return f"the host was overloaded ({busy})" if refused else ""


def _with_update(result: TestResult, not_recorded: Mapping[str, str]) -> TestResult:
    if result.nodeid not in not_recorded:
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


def _second_folders(written: Iterable[Written]) -> Iterable[Diagnostic]:
    """Yield a warning for each folder of baselines that was created below another one."""
    folders = {
        next(parent for parent in one.staged.path.parents if parent.name == DEFAULT_FOLDER): above
        for one in written
        if (above := one.staged.above) is not None
    }
    for folder, above in folders.items():
        yield Diagnostic(
            "TRT610",
            f"created the baseline folder {as_typed(folder)}, but {above} exists already",
            {"folder": str(folder), "above": str(above)},
            remedy=Remedy(
                "Unless both are intended, remove the new folder and set in the ini file:",
                (f"trt_baseline_dir = {above}",),
            ),
            severity="warning",
        )


def store_last_run(last_runs: Path, rootdir: Path, candidates: Sequence[Candidate]) -> None:
    """Store what a run measured for `pytest-trt baseline accept`, if the cache is writable.

    Args:
        last_runs: The engine cache's folder for it.
        rootdir: pytest's root folder.
        candidates: What may be accepted, and what may not.
    """
    finished = datetime.now(timezone.utc).isoformat(timespec="seconds")
    with suppress(OSError):
        write_last_run(last_runs, LastRun(rootdir, finished, candidates))
