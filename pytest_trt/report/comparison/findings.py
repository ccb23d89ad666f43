"""What a comparison of two runs consists of."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum
from typing import Any

from pytest_trt.records import to_data


class Kind(str, Enum):
    """What a finding is about.

    `SPEED`: one metric, in milliseconds or items per second. `SPEEDUP`: how many times as fast as
    an engine of `faster_than`. `ERROR`: one output, as the share of
    its tolerance that it uses. `METRIC`: a metric of outputs, shown where the status changed.
    `SIZE` and `MEMORY`: bytes of the plan and of the device's scratch memory. `LAYERS`: their
    number and how they changed. `CHECKS`: what is no longer checked. `NOTE`: why something was not
    compared.
    """

    SPEED = "speed"
    SPEEDUP = "speedup"
    ERROR = "error"
    METRIC = "metric"
    SIZE = "size"
    MEMORY = "memory"
    LAYERS = "layers"
    CHECKS = "checks"
    NOTE = "note"


class Direction(str, Enum):
    """The direction of a change; `CHANGED` is neither better nor worse.

    `NO_VERDICT`: nothing changed, but neither run could judge the test. `NOT_TESTED`: neither run
    was to run it.
    """

    WORSE = "worse"
    BETTER = "better"
    CHANGED = "changed"
    NO_VERDICT = "no verdict"
    SAME = "same"
    NOT_TESTED = "not tested"


#: The status of a test, or of an engine in it, in the report that does not have it.
MISSING = "missing"


@dataclass(frozen=True, slots=True)
class Finding:
    """One property of one engine, before and now.

    Attributes:
        kind: What it is about.
        name: The metric, output or other engine; empty where there is only one.
        direction: Whether it is better or worse.
        before: The older figure.
        now: The newer figure.
        change: Relative change.
        least: The lower bound of the change, where it has bounds.
        most: The upper bound.
        lines: Further details, one line each.
        looser: Whether its limit or tolerance allows more than before.
        detail: What distinguishes it from others of its kind and name.
    """

    kind: Kind
    name: str
    direction: Direction
    before: float | None = None
    now: float | None = None
    change: float | None = None
    least: float | None = None
    most: float | None = None
    lines: tuple[str, ...] = ()
    looser: bool = False
    detail: str = ""


@dataclass(frozen=True, slots=True)
class TestChange:
    """One test on one engine, before and now, or a file that cannot be collected now.

    Attributes:
        test: The test, without the architecture; of a file its path.
        where: Model, precision and architecture; "file" of a file.
        was: Its older status; "missing" if only the newer report has it.
        status: Its newer status; "missing" if the newer report has no such test.
        why: Why it did not pass, in one line.
        findings: What was compared.
        lost_is_worse: Whether a test that passed and has no verdict any more is worse.
    """

    __test__ = False  # not a test class, whatever its name says

    test: str
    where: str
    was: str
    status: str
    findings: tuple[Finding, ...]
    why: str = ""
    lost_is_worse: bool = True

    @property
    def direction(self) -> Direction:
        """The worst of its status and its findings: the one place that decides."""
        directions = {one.direction for one in self.findings} | {self._of_status()}
        return next(one for one in Direction if one in directions)

    @property
    def lost(self) -> bool:
        """Whether it passed, and nothing shows any more whether it would.

        Inconclusive is no loss: it was measured, and noise alone changes "passed" to it.
        """
        return self.was == "passed" and self.status in _LOST

    @property
    def passes_looser(self) -> bool:
        """Whether it failed, and passes by a looser tolerance or limit."""
        looser = any(one.looser for one in self.findings)
        return self.was in BAD and self.status == "passed" and looser

    def _of_status(self) -> Direction:
        was, now = self.was, self.status
        if now in BAD and was not in BAD:
            return Direction.WORSE
        if self.lost:
            return Direction.WORSE if self.lost_is_worse else Direction.CHANGED
        if {was, now} <= _UNTESTED:
            return Direction.NOT_TESTED
        if was == now:
            return Direction.NO_VERDICT if now in _UNJUDGED else Direction.SAME
        # Other statuses leave open whether a change is good: a first baseline changes "not
        # measured" to "passed".
        is_better = was in BAD and now == "passed" and not self.passes_looser
        return Direction.BETTER if is_better else Direction.CHANGED


#: Statuses of a test that failed.
BAD = {"failed", "error"}

#: Statuses of a test that was to run and has no verdict.
_UNJUDGED = {"inconclusive", "not measured", "error"}

#: Statuses of a test that did not run, and all that show no more whether it passes.
_UNTESTED = {"skipped", "deselected", "not run"}
_LOST = _UNTESTED | {"xfailed", "not measured", MISSING}


@dataclass(frozen=True, slots=True)
class EngineChange:
    """One engine, before and now.

    Attributes:
        engine: Model, precision and architecture.
        findings: What was compared.
    """

    engine: str
    findings: tuple[Finding, ...]

    @property
    def direction(self) -> Direction:
        """Whether anything about it changed."""
        directions = [one.direction for one in self.findings]
        return next(
            (direction for direction in Direction if direction in directions), Direction.SAME
        )


@dataclass(frozen=True, slots=True)
class Comparison:
    """Two runs.

    Attributes:
        old: Name of the older report.
        new: Name of the newer report.
        differences: Differences in versions, devices, models and commits, one line each.
        tests: Every test that both have, those that passed and are missing, unless that is
            ignored, and those that failed and are new; the worse ones first.
        engines: Every engine that both have.
        removed: Other tests that only the older one has.
        added: Other tests that only the newer one has.
    """

    old: str
    new: str
    differences: tuple[str, ...]
    tests: tuple[TestChange, ...]
    engines: tuple[EngineChange, ...]
    removed: tuple[str, ...]
    added: tuple[str, ...]

    def of(self, direction: Direction) -> Iterator[TestChange]:
        """Yield the tests that changed in this direction."""
        return (one for one in self.tests if one.direction is direction)

    def to_dict(self) -> dict[str, Any]:
        """Return the comparison as JSON-simple data."""
        return {
            **to_data(self),
            "counts": {one.value: sum(1 for _ in self.of(one)) for one in Direction},
            "tests": [{**to_data(one), "direction": one.direction.value} for one in self.tests],
            "engines": [{**to_data(one), "direction": one.direction.value} for one in self.engines],
        }
