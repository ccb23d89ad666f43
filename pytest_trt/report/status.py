"""What became of a test, in one word. Only some of the words are a verdict."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum

from pytest_trt.report.record import TestRecord
from pytest_trt.terms import Verdict


class Status(str, Enum):
    """What became of a test, or of one engine in it.

    - passed: every check was made and is kept.
    - failed: a check was made and is not kept, or the test failed by itself.
    - xfailed: it failed, and was expected to.
    - error: setting it up or tearing it down failed; a build that fails does.
    - inconclusive: speed was measured, and cannot be told from its baseline's.
    - not measured: a check had nothing to compare with, or was never made.
    - skipped: it was skipped, by itself or because its engine cannot run here.
    - deselected: it was collected, and left out by `-k`, `-m` or `--deselect`.
    - not run: the run ended before it.
    """

    PASSED = "passed"
    FAILED = "failed"
    XFAILED = "xfailed"
    ERROR = "error"
    INCONCLUSIVE = "inconclusive"
    NOT_MEASURED = "not measured"
    SKIPPED = "skipped"
    DESELECTED = "deselected"
    NOT_RUN = "not run"


#: What says something of the engine. An inconclusive speed does not: what it was asked, whether
#: the engine is slower, is left open, and a fleet in which every machine is noisy would pass.
VERDICTS = frozenset({Status.PASSED, Status.FAILED, Status.XFAILED})

_OF_VERDICT = {
    Verdict.PASSED.value: Status.PASSED,
    Verdict.FAILED.value: Status.FAILED,
    Verdict.REGRESSED.value: Status.FAILED,
    Verdict.INCONCLUSIVE.value: Status.INCONCLUSIVE,
    Verdict.NOT_COMPARABLE.value: Status.NOT_MEASURED,
    Verdict.NOT_MEASURED.value: Status.NOT_MEASURED,
}

#: Of several checks the gravest speaks for all.
_GRAVITY = (Status.FAILED, Status.INCONCLUSIVE, Status.NOT_MEASURED, Status.PASSED)


@dataclass(frozen=True, slots=True)
class Phase:
    """What pytest said of one phase of a test.

    Attributes:
        outcome: "passed", "failed" or "skipped".
        duration_s: Seconds that it took.
        text: Why it failed or was skipped, in full.
        reason: The same in a line.
        xfail: Why the test was expected to fail; None where it was not.
    """

    outcome: str
    duration_s: float = 0.0
    text: str = ""
    reason: str = ""
    xfail: str | None = None


@dataclass(slots=True)
class PhaseOutcomes:
    """All that was told of one test.

    Attributes:
        phases: What pytest said, by phase: "setup", "call", "teardown", or "crash".
        record: What the plugin recorded.
    """

    phases: dict[str, Phase] = field(default_factory=dict)
    record: TestRecord | None = None

    @property
    def outcome(self) -> str | None:
        """The test's outcome as pytest counts it; None where it did not end."""
        failed = [phase for phase in self.phases.values() if phase.outcome == "failed"]
        skipped = [phase for phase in self.phases.values() if phase.outcome == "skipped"]
        if failed or skipped:
            return "failed" if failed else "skipped"
        return "passed" if "call" in self.phases else None


def status_of(told: PhaseOutcomes | None, *, selected: bool) -> Status:
    """Return what became of a test.

    Args:
        told: What was told of it; None where nothing was.
        selected: Whether it was left in when tests were selected.
    """
    if told is None or told.outcome is None:
        return Status.NOT_RUN if selected else Status.DESELECTED
    call = told.phases.get("call")
    if told.outcome == "failed" and (call is None or call.outcome != "failed"):
        return Status.ERROR
    if call is None or call.outcome == "skipped":
        return Status.XFAILED if call and call.xfail is not None else Status.SKIPPED
    of_checks = checks_status(told.record)
    if call.outcome == "passed":
        return of_checks or Status.PASSED
    if told.record is None or not told.record.failed_by_checks:
        return Status.FAILED
    # Checks that pass cannot have failed it: one was never made.
    return Status.NOT_MEASURED if of_checks in (None, Status.PASSED) else of_checks


def checks_status(record: TestRecord | None, key: str | None = None) -> Status | None:
    """Return what the checks of a test came to, or None where it made none.

    Args:
        record: What was recorded of it.
        key: Only checks of the engine with this key.
    """
    if record is None:
        return None
    made = [(check.key, check.verdict.value) for check in record.checks]
    made += [(speed.key, speed.verdict) for speed in record.speeds]
    found = {_OF_VERDICT[verdict] for of, verdict in made if key in (None, of)}
    return min(found, key=_GRAVITY.index, default=None)


def counted(statuses: Mapping[str, int]) -> str:
    """Return counts by status in words, none of them 0: "3 passed, 1 not measured"."""
    return ", ".join(f"{statuses[one.value]} {one.value}" for one in Status if statuses.get(one))
