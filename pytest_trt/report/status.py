"""The status of a test, from its outcomes and its record."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, TypeAlias

from pytest_trt.report.entries import Status
from pytest_trt.report.record import TestRecord
from pytest_trt.terms import Verdict

#: pytest's outcome of one phase, and of a test.
Outcome: TypeAlias = Literal["passed", "failed", "skipped"]

#: Statuses that are verdicts on the engine. An inconclusive speed is not: otherwise a fleet in
#: which every machine is noisy would pass.
VERDICTS = frozenset({Status.PASSED, Status.FAILED, Status.XFAILED})

_OF_VERDICT = {
    Verdict.PASSED.value: Status.PASSED,
    Verdict.FAILED.value: Status.FAILED,
    Verdict.REGRESSED.value: Status.FAILED,
    Verdict.INCONCLUSIVE.value: Status.INCONCLUSIVE,
    Verdict.NOT_COMPARABLE.value: Status.NOT_MEASURED,
    Verdict.NOT_MEASURED.value: Status.NOT_MEASURED,
}

#: Of several checks the first of these counts.
_PRECEDENCE = (Status.FAILED, Status.INCONCLUSIVE, Status.NOT_MEASURED, Status.PASSED)


@dataclass(frozen=True, slots=True)
class Phase:
    """pytest's report of one phase of a test.

    Attributes:
        outcome: "passed", "failed" or "skipped".
        duration_s: Seconds that it took.
        text: Why it failed or was skipped, in full.
        reason: Why, in one line.
        xfail: Why the test was expected to fail; None where it was not.
    """

    outcome: Outcome
    duration_s: float = 0.0
    text: str = ""
    reason: str = ""
    xfail: str | None = None


@dataclass(slots=True)
class PhaseOutcomes:
    """Everything that was reported of one test.

    Attributes:
        phases: Reports by phase: "setup", "call", "teardown", or "crash".
        record: What the plugin recorded.
    """

    phases: dict[str, Phase] = field(default_factory=dict)
    record: TestRecord | None = None

    @property
    def outcome(self) -> Outcome | None:
        """The test's outcome as pytest counts it; None where it did not end."""
        failed = [phase for phase in self.phases.values() if phase.outcome == "failed"]
        skipped = [phase for phase in self.phases.values() if phase.outcome == "skipped"]
        if failed or skipped:
            return "failed" if failed else "skipped"
        return "passed" if "call" in self.phases else None


def status_of(
    outcomes: PhaseOutcomes | None, *, selected: bool, checks: Sequence[str] = ()
) -> Status:
    """Return the status of a test."""
    if outcomes is None or outcomes.outcome is None:
        return Status.NOT_RUN if selected else Status.DESELECTED
    call = outcomes.phases.get("call")
    if outcomes.outcome == "failed" and (call is None or call.outcome != "failed"):
        return Status.ERROR
    of_checks = checks_status(outcomes.record)
    if call is None or call.outcome == "skipped":
        if call is None or call.xfail is None:
            return Status.SKIPPED
        # A test that fails before one of its checks judged anything says nothing of the engine.
        judged = of_checks in (Status.PASSED, Status.FAILED) or not (of_checks or checks)
        return Status.XFAILED if judged else of_checks or Status.NOT_MEASURED
    # What pytest counts as failed is failed, whatever its checks found: a reader of a report must
    # not take a run for green that was red.
    return of_checks or Status.PASSED if call.outcome == "passed" else Status.FAILED


def is_judged(outcomes: PhaseOutcomes | None, status: Status) -> bool:
    """Whether a status is a verdict on the engine.

    It is none where a check failed the test as it had nothing to compare with, was never made, or
    was inconclusive.
    """
    if status is not Status.FAILED or outcomes is None or outcomes.record is None:
        return status in VERDICTS
    record = outcomes.record
    return not record.failed_by_checks or checks_status(record) is Status.FAILED


def has_verdict(test: Mapping[str, Any]) -> bool:
    """Whether a test of a report reached a verdict."""
    return bool(test["judged"]) and Status(test["status"]) in VERDICTS


def checks_status(record: TestRecord | None, key: str | None = None) -> Status | None:
    """Return the status of a test's checks, or None where it made none."""
    if record is None:
        return None
    made = [(check.key, check.verdict.value) for check in record.checks]
    made += [(speed.key, speed.verdict) for speed in record.speeds]
    made += [(one.key, one.verdict.value) for one in record.task_metrics]
    if record.lacks_answers:
        made += [(check.key, Verdict.NOT_COMPARABLE.value) for check in record.checks]
    found = {_OF_VERDICT[verdict] for of, verdict in made if key in (None, of)}
    return min(found, key=_PRECEDENCE.index, default=None)


def counted(statuses: Mapping[str, int]) -> str:
    """Return counts by status, without zeros: "3 passed, 1 not measured"."""
    return ", ".join(f"{statuses[one.value]} {one.value}" for one in Status if statuses.get(one))
