"""The smallest set of nodes to keep in FP32 so that a check passes.

Nodes are ranked by the error that each alone makes; the smallest number of the worst that have to
stay is found by bisection; then each of these is tried without. All of that runs on a model whose
nodes are switched from run to run (`backends.observing.switched`), so it takes no builds. An engine
is built for what was found, and for more where that does not pass: what a builder makes of a model
is close to what was tried, not the same.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Literal, TypeAlias

#: Further nodes that an engine keeps that does not pass: twice as many each time.
_GROWTH = 2

#: Fewer entries than this are ranked one by one at once.
_FEW = 32

#: How a search ended.
Outcome: TypeAlias = Literal["passes", "found", "all", "impossible", "timeout"]


class TimeOverError(Exception):
    """A step took longer than the search may take, and was ended."""


@dataclass(frozen=True, slots=True)
class Score:
    """What the test's check makes of a set of nodes that stay in FP32.

    Attributes:
        passed: Whether all runs pass.
        error: The largest relative error ||a - r|| / ||r|| of an output of all runs.
        used: The share of the tolerance that is used; infinite where elements have no difference.
    """

    passed: bool
    error: float
    used: float = 0.0


#: Judges a set of entries of `keep_fp32`.
Judge: TypeAlias = Callable[[frozenset[str]], Score]


@dataclass(frozen=True, slots=True)
class Sensitivity:
    """What one entry does alone.

    Attributes:
        entry: The entry of `keep_fp32`.
        operator: Its operator.
        error: The error of the outputs where it alone is reduced; None where the time was over.
    """

    entry: str
    operator: str
    error: float | None


@dataclass(frozen=True, slots=True)
class Step:
    """One set that was judged.

    Attributes:
        kept: The entries.
        score: What the check made of it.
        built: Whether an engine was built for it.
    """

    kept: tuple[str, ...]
    score: Score
    built: bool


@dataclass(frozen=True, slots=True)
class Search:
    """What a search found.

    Attributes:
        outcome: "passes": nothing has to stay in FP32; "all": everything has to, which is FP32;
            "impossible": not even FP32 passes; "timeout": the time was over before an engine
            passed.
        kept: The smallest set whose engine passes; of a timeout, the smallest that should.
        ranking: All entries, those that alone make the largest error first.
        steps: What was judged, in order.
    """

    outcome: Outcome
    kept: tuple[str, ...] = ()
    ranking: tuple[Sensitivity, ...] = ()
    steps: tuple[Step, ...] = ()

    @property
    def builds(self) -> int:
        """Engines that were built."""
        return sum(one.built for one in self.steps)

    @property
    def trials(self) -> int:
        """Sets that were tried without building an engine, apart from the ranking."""
        return len(self.steps) - self.builds


@dataclass
class Tuner:
    """Searches one engine.

    Attributes:
        units: Entry and operator of everything that can stay in FP32, in the order of the model.
        tried: Judges a set without building an engine.
        built: Judges the engine of a set.
        alone: Returns the error of the outputs where some entries alone are reduced.
        fp32: What the check makes of FP32.
        has_time: Whether a further step may begin.
        may_rank: Whether a further step of the ranking may begin.
        say: Receives each step.
    """

    units: Sequence[tuple[str, str]]
    tried: Judge
    built: Judge
    alone: Callable[[Collection[str]], float]
    fp32: Score
    has_time: Callable[[], bool] = lambda: True
    may_rank: Callable[[], bool] = lambda: True
    say: Callable[[str], None] = lambda step: None
    _steps: list[Step] = field(default_factory=list)

    def search(self, none_kept: Score) -> Search:
        """Return the smallest set that was found."""
        if none_kept.passed:
            return Search("passes")
        if not self.fp32.passed:
            return Search("impossible")
        ranking = self._ranking()
        order = [one.entry for one in ranking]
        kept = self._without_spare(self._fewest(order))
        found, outcome = self._confirmed(kept, order)
        return Search(outcome, tuple(found), tuple(ranking), tuple(self._steps))

    def _ranking(self) -> list[Sensitivity]:
        """Return what each entry does alone.

        Neighbours are measured together first, and those that do most one by one first: where the
        time does not suffice, each of the others is taken to do its share.
        """
        errors: dict[str, float | None] = {}
        for together, chunk in sorted(self._chunks(), key=lambda one: -(one[0] or 0.0)):
            share = None if together is None else together / len(chunk)
            for entry in chunk:
                self.say(f"ranking: node {len(errors) + 1} of {len(self.units)}, {entry}")
                alone = self._alone([entry])
                errors[entry] = share if alone is None else alone
        found = [Sensitivity(entry, op, errors[entry]) for entry, op in self.units]
        return sorted(found, key=lambda one: -(one.error or 0.0))

    def _chunks(self) -> Iterator[tuple[float | None, list[str]]]:
        """Yield neighbours, and the error that they make together; None where it is unknown."""
        entries = [entry for entry, _ in self.units]
        size = max(1, math.isqrt(len(entries)))
        if len(entries) < _FEW:
            size = max(1, len(entries))
        for start in range(0, len(entries), size):
            chunk = entries[start : start + size]
            self.say(f"ranking: nodes {start + 1} to {start + len(chunk)} of {len(entries)}")
            together = None if size == len(entries) else self._alone(chunk)
            yield together, chunk

    def _alone(self, entries: Collection[str]) -> float | None:
        """Return the error where some entries alone are reduced; None where the time is over."""
        if not self.may_rank():
            return None
        try:
            error = self.alone(entries)
        except TimeOverError:
            return None
        return math.inf if math.isnan(error) else error

    def _fewest(self, order: Sequence[str]) -> list[str]:
        """Return the fewest of the first that pass, by bisection; all of them where none does."""
        low, high = 0, len(order)
        while low < high and self.has_time():
            middle = (low + high) // 2
            self.say(f"bisection: between {low} and {high} nodes in FP32")
            if self._try(order[:middle]).passed:
                high = middle
            else:
                low = middle + 1
        return list(order[:high])

    def _without_spare(self, kept: list[str]) -> list[str]:
        """Return a set without those that it passes without, the least sensitive tried first."""
        for entry in reversed(kept[:]):
            if len(kept) < 2 or not self.has_time():
                break
            self.say(f"trying without {entry}, of {len(kept)} nodes")
            rest = [one for one in kept if one != entry]
            if self._try(rest).passed:
                kept = rest
        return kept

    def _confirmed(self, kept: list[str], order: Sequence[str]) -> tuple[list[str], Outcome]:
        """Return the set whose engine passes: what was found, or with more of the worst.

        What the trials took for harmless may not be so in an engine, so each time more is kept.
        """
        others = [one for one in order if one not in kept]
        more = 0 if kept else 1  # that nothing is not enough is known
        while True:
            wanted = [*kept, *others[:more]]
            if more >= len(others) and self.has_time():
                return wanted, "all"
            self.say(f"building an engine with {len(wanted)} nodes in FP32")
            if self._build(wanted).passed:
                return self._fewer(wanted, len(kept), more), "found"
            if more >= len(others) or not self.has_time():
                return wanted, "timeout"
            more = min(max(1, more * _GROWTH), len(others))

    def _fewer(self, wanted: list[str], sure: int, more: int) -> list[str]:
        """Return the fewest further nodes whose engine passes, where some were needed."""
        low, high = more // _GROWTH + 1 if more > 1 else more, more
        while low < high and self.has_time():
            middle = (low + high) // 2
            self.say(f"building an engine with {sure + middle} nodes in FP32")
            if self._build(wanted[: sure + middle]).passed:
                high = middle
            else:
                low = middle + 1
        return wanted[: sure + high]

    def _try(self, kept: Iterable[str]) -> Score:
        return self._judged(kept, self.tried, built=False)

    def _build(self, kept: Iterable[str]) -> Score:
        return self._judged(kept, self.built, built=True)

    def _judged(self, kept: Iterable[str], judge: Judge, *, built: bool) -> Score:
        entries = tuple(kept)
        try:
            score = judge(frozenset(entries))
        except TimeOverError:  # nothing is known of it
            return Score(False, math.inf, math.inf)
        self._steps.append(Step(entries, score, built))
        return score


@dataclass(frozen=True, slots=True)
class TradeOff:
    """What one set costs.

    Attributes:
        label: What it is: "none", "3 nodes", "fp32".
        kept: How many entries stay in FP32.
        score: What the check makes of it.
        built: Whether it is of an engine; else of the model that is switched.
        p50_ms: Median latency of a call, in milliseconds; None where no engine was timed.
        size_bytes: Size of the plan; None without an engine.
    """

    label: str
    kept: int
    score: Score
    built: bool = False
    p50_ms: float | None = None
    size_bytes: int | None = None


@dataclass(frozen=True, slots=True)
class Tuned:
    """What was found for one engine of a test.

    Attributes:
        test: The test's node id.
        model: File name of the model.
        precision: The engine's precision.
        target: What it runs on.
        toolchain: What built it.
        before: What the test keeps in FP32 already.
        runs: Runs that have to pass.
        search: What was found.
        seconds: How long the search and the measurement of the trade-off took.
        trade_off: Sets of several sizes, the smallest first.
        disturbed: What disturbed their timing; empty if nothing did.
        problem: Why nothing could be searched; empty if something was.
        has_bodies: Whether the model has branches or loops, whose nodes are not tried.
        several: Whether the marker names other precisions that the argument would change too.
    """

    test: str
    model: str
    precision: str
    target: str
    toolchain: str
    before: tuple[str, ...]
    runs: int
    search: Search | None = None
    seconds: float = 0.0
    trade_off: tuple[TradeOff, ...] = ()
    disturbed: str = ""
    problem: str = ""
    has_bodies: bool = False
    several: bool = False

    @property
    def kept(self) -> tuple[str, ...]:
        """The argument keep_fp32 of the marker."""
        found = self.search.kept if self.search else ()
        return (*self.before, *found)
