"""Baselines at the end of a run: what is written, what is not and why, and what may be accepted."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import datetime, timezone
from pathlib import Path
from typing import Any, Final, NamedTuple

from pytest_trt.accuracy.result import AccuracyResult
from pytest_trt.baseline.last_run import AnyNew, Candidate, LastRun, write_last_run
from pytest_trt.baseline.location import DEFAULT_FOLDER
from pytest_trt.baseline.staged import Staged, Writing, overtaken_error, write_staged
from pytest_trt.baseline.staged_answers import write_staged_answers, wrote_answers
from pytest_trt.baseline.staged_metrics import write_staged_metrics
from pytest_trt.benchmark.differences import HOST_BUSY
from pytest_trt.diagnostics import BaselineError, Diagnostic, Remedy, as_typed
from pytest_trt.report.record import TestRecord, TestResult
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


class _New(NamedTuple):
    """What a test may store of one kind.

    Attributes:
        staged: The new entry; None if there is none.
        wanted: Whether it is to be written.
        failed: Whether the test failed because of it, or for lack of a baseline.
        unfit: Why it may not be stored although the test did not fail otherwise; empty if it may.
    """

    staged: AnyNew | None
    wanted: bool
    failed: bool
    unfit: str = ""


@dataclass(frozen=True, slots=True)
class _Kind:
    """A kind of baseline.

    Attributes:
        name: What a test may fail because of.
        new: Returns what a test may store.
        checks: Returns the accuracy checks that must have passed.
        unchecked: Why it may not be stored if one did not.
        write: Writes new entries, each file once.
        headline: What is reported of a file with this number of new entries.
    """

    name: str
    new: Callable[[TestRecord], Iterable[_New]]
    checks: Callable[[TestRecord], Iterable[AccuracyResult]]
    unchecked: str
    write: Callable[[list[Any]], Writing[Any, Any]]
    headline: Callable[[str, int], str]


def _new_speeds(record: TestRecord) -> Iterator[_New]:
    for speed in record.speeds:
        staged, unfit = speed.staged, ""
        if staged is None:
            unfit = speed.reason.message if speed.reason else ""
        # Of an overloaded host, only a first baseline is stored, or one that the user insisted on.
        elif staged.against and not speed.update:
            busy = staged.entry.runs[-1].environment.get(HOST_BUSY)
            unfit = f"the host was overloaded ({busy})" if busy else ""
        yield _New(staged, speed.update not in ("", NOT_RECORDED), speed.failed, unfit)


def _new_answers(record: TestRecord) -> Iterator[_New]:
    if record.answers is not None:
        failed = record.failed_by_checks and _passed(_model_checks(record))
        yield _New(record.answers, record.answers.update, failed)


def _new_metrics(record: TestRecord) -> Iterator[_New]:
    if record.staged_metrics is not None:
        failed = record.failed_by_checks and _passed(record.checks)
        yield _New(record.staged_metrics, record.staged_metrics.update, failed)


def _model_checks(record: TestRecord) -> list[AccuracyResult]:
    return [one for one in record.checks if one.against == "model"]


def _passed(checks: Iterable[AccuracyResult]) -> bool:
    return all(one.verdict == Verdict.PASSED for one in checks)


_SPEEDS: Final = _Kind(
    "speed",
    _new_speeds,
    lambda record: record.checks,
    "its accuracy check did not pass",
    write_staged,
    lambda shown, count: f"wrote {shown} ({count} baseline{'s' * (count != 1)}; commit the file)",
)

_KINDS: Final = (
    _SPEEDS,
    _Kind(
        "answers",
        _new_answers,
        _model_checks,
        "its engine does not agree with its model",
        write_staged_answers,
        lambda shown, _: wrote_answers(shown),
    ),
    _Kind(
        "metrics",
        _new_metrics,
        lambda record: record.checks,
        "its accuracy check did not pass",
        write_staged_metrics,
        lambda shown, _: f"wrote {shown} (task metrics; commit the file)",
    ),
)


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
    outcome = Outcome(list(results), [], [], [], [])
    missed: list[str] = []
    for kind in _KINDS:
        to_write: list[Candidate] = []
        not_recorded: dict[str, str] = {}
        for result in results:
            for new in kind.new(result.record):
                unfit = _unfit(kind, new, result, failed.get(result.nodeid, set()))
                candidate = Candidate(result.nodeid, new.staged, unfit, new.failed)
                why = unfit or _unfinished(result, stopped=stopped)
                if new.staged is None or not new.wanted:
                    outcome.candidates.extend([candidate] * bool(new.staged or unfit))
                elif why:
                    outcome.candidates.append(candidate)
                    not_recorded[result.nodeid] = why
                else:
                    to_write.append(candidate)
        not_recorded.update(_write_new(kind, to_write, outcome, update=update))
        missed += [f"not recorded: {nodeid}: {why}" for nodeid, why in not_recorded.items()]
        outcome.results[:] = [
            _not_recorded(kind, result) if result.nodeid in not_recorded else result
            for result in outcome.results
        ]
    outcome.lines.extend(missed)
    return outcome


def _write_new(
    kind: _Kind, candidates: Sequence[Candidate], outcome: Outcome, *, update: bool
) -> dict[str, str]:
    """Write new entries, add what happened to the outcome, and return why some were not written."""
    written, errors, overtaken = kind.write([one.staged for one in candidates])
    outcome.errors.extend(errors)
    by_file: dict[str, list[Any]] = {}
    for one in written:
        by_file.setdefault(one.staged.shown, []).append(one)
    for shown, entries in by_file.items():
        outcome.lines.append(kind.headline(shown, len(entries)))
        outcome.lines.extend(_entry_lines(entries))
    outcome.warnings.extend(_second_folders(one.staged for one in written))
    not_recorded: dict[str, str] = {}
    for candidate in candidates:
        staged = candidate.staged
        assert staged is not None
        if staged in overtaken:
            not_recorded[candidate.test] = (
                f"another run changed its baseline in {staged.shown} in the meantime"
            )
            outcome.errors.extend([overtaken_error(staged)] * update)
        elif staged.shown not in by_file:
            not_recorded[candidate.test] = f"{staged.shown} could not be written"
        else:
            continue
        outcome.candidates.append(candidate)
    return not_recorded


def _entry_lines(entries: Iterable[Any]) -> Iterator[str]:
    """Yield what happened to the entries of a file; those that are new and alike have one line."""
    new = Counter(one.text for one in entries if one.old is None)
    for text, number in new.items():
        if number > 1:
            yield f"  {number} tests: {text}"
    for one in entries:
        if one.old is not None or new[one.text] == 1:
            yield f"  {one.staged.test}: {one.text}"


def _unfit(kind: _Kind, new: _New, result: TestResult, failed: set[str]) -> str:
    """Return why what a test found cannot become a baseline; empty if it can."""
    if not _passed(kind.checks(result.record)):
        return kind.unchecked
    if failed - {"call"}:
        return "its setup or teardown failed"
    if result.outcome == "skipped":  # what it would have run after that is missing
        return "the test was skipped"
    of_kind = result.record.failed_by_checks and new.failed
    if result.outcome in ("failed", "error", "xfailed") and not of_kind:
        return f"the test failed for a reason other than its {kind.name}"
    return new.unfit


def _unfinished(result: TestResult, *, stopped: bool) -> str:
    """Return why nothing of a test is written, although it may be accepted; empty if it is."""
    if result.outcome not in ("passed", "xpassed") or result.record.failed_by_checks:
        return "the test failed"
    return "the run was interrupted" if stopped else ""


def _not_recorded(kind: _Kind, result: TestResult) -> TestResult:
    """Return a result that does not claim that its new baseline of a kind was stored."""
    if kind is not _SPEEDS:
        answers = None if kind.name == "answers" else result.record.answers
        return replace(result, record=replace(result.record, answers=answers))
    speeds = tuple(
        replace(speed, update=NOT_RECORDED) if speed.update else speed
        for speed in result.record.speeds
    )
    return replace(result, record=replace(result.record, speeds=speeds))


def _second_folders(written: Iterable[object]) -> Iterator[Diagnostic]:
    """Yield a warning for each folder of baselines that was created below another one."""
    folders = {
        next(parent for parent in one.path.parents if parent.name == DEFAULT_FOLDER): one.above
        for one in written
        if isinstance(one, Staged) and one.above is not None
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
    """Store what a run measured for `pytest-trt baseline accept`, if the cache is writable."""
    finished = datetime.now(timezone.utc).isoformat(timespec="seconds")
    with suppress(OSError):
        write_last_run(last_runs, LastRun(rootdir, finished, candidates))
