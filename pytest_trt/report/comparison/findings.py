"""What a comparison of two runs consists of."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from enum import Enum
from typing import Any


class Kind(str, Enum):
    """What a finding is about.

    `SPEED`: one metric, in milliseconds or units of work per second. `ERROR`: one output, as the
    share of its tolerance that it uses. `SIZE` and `MEMORY`: bytes of the plan and of the device's
    scratch memory. `LAYERS`: how many there are, and what became of them. `NOTE`: why something
    could not be compared.
    """

    SPEED = "speed"
    ERROR = "error"
    SIZE = "size"
    MEMORY = "memory"
    LAYERS = "layers"
    NOTE = "note"


class Direction(str, Enum):
    """How something turned out. What is neither better nor worse, but another, is `CHANGED`."""

    WORSE = "worse"
    BETTER = "better"
    CHANGED = "changed"
    SAME = "same"


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing of one engine, then and now.

    Attributes:
        kind: What it is about.
        name: Which metric or output; empty where there is but one.
        turn: How it turned out.
        before: The figure of then.
        now: The figure of now.
        change: By which share it changed.
        least: The lower bound of the change, where it has bounds.
        most: The upper bound.
        lines: What else is to be said, a line each.
    """

    kind: Kind
    name: str
    turn: Direction
    before: float | None = None
    now: float | None = None
    change: float | None = None
    least: float | None = None
    most: float | None = None
    lines: tuple[str, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """Return the finding as JSON-simple data."""
        return {
            **asdict(self),
            "kind": self.kind.value,
            "turn": self.turn.value,
            "lines": list(self.lines),
        }


@dataclass(frozen=True, slots=True)
class TestChange:
    """One test on one engine, then and now.

    Attributes:
        test: The test, without the architecture.
        where: Model, precision and architecture.
        was: Its status then.
        status: Its status now.
        why: Why it did not pass, in a line.
        findings: What was compared.
    """

    __test__ = False  # no test of pytest's

    test: str
    where: str
    was: str
    status: str
    findings: tuple[Finding, ...]
    why: str = ""

    @property
    def turn(self) -> Direction:
        """How it turned out in all: its status first, then the gravest finding."""
        turns = [_of_status(self.was, self.status), *(one.turn for one in self.findings)]
        return next((turn for turn in Direction if turn in turns), Direction.SAME)


#: Statuses that stand for a finding. The others leave open what was asked, or did not ask: a
#: first baseline turns "not measured" into "passed", and noise "passed" into "inconclusive".
_GOOD, _BAD = {"passed", "xfailed"}, {"failed", "error"}


def _of_status(was: str, now: str) -> Direction:
    if was == now:
        return Direction.SAME
    if now in _BAD and was not in _BAD:
        return Direction.WORSE
    return Direction.BETTER if was in _BAD and now in _GOOD else Direction.CHANGED


@dataclass(frozen=True, slots=True)
class EngineChange:
    """One engine, then and now.

    Attributes:
        engine: Model, precision and architecture.
        findings: What was compared.
    """

    engine: str
    findings: tuple[Finding, ...]

    @property
    def turn(self) -> Direction:
        """Whether anything of it changed."""
        turns = [one.turn for one in self.findings]
        return next((turn for turn in Direction if turn in turns), Direction.SAME)


@dataclass(frozen=True, slots=True)
class Comparison:
    """Two runs.

    Attributes:
        old: What the older one is called.
        new: What the newer one is called.
        differences: What they were made with that is not the same, a line each.
        tests: Every test that both have, the worse ones first.
        engines: Every engine that both have.
        gone: Tests that only the older one has.
        added: Tests that only the newer one has.
    """

    old: str
    new: str
    differences: tuple[str, ...]
    tests: tuple[TestChange, ...]
    engines: tuple[EngineChange, ...]
    gone: tuple[str, ...]
    added: tuple[str, ...]

    def of(self, turn: Direction) -> Iterator[TestChange]:
        """Yield the tests that turned out so."""
        return (one for one in self.tests if one.turn is turn)

    def to_dict(self) -> dict[str, Any]:
        """Return the comparison as JSON-simple data."""
        return {
            "old": self.old,
            "new": self.new,
            "differences": list(self.differences),
            "counts": {turn.value: sum(1 for _ in self.of(turn)) for turn in Direction},
            "tests": [
                {
                    "test": one.test,
                    "where": one.where,
                    "was": one.was,
                    "status": one.status,
                    "why": one.why,
                    "turn": one.turn.value,
                    "findings": [found.to_dict() for found in one.findings],
                }
                for one in self.tests
            ],
            "engines": [
                {
                    "engine": one.engine,
                    "turn": one.turn.value,
                    "findings": [found.to_dict() for found in one.findings],
                }
                for one in self.engines
            ],
            "gone": list(self.gone),
            "added": list(self.added),
        }
