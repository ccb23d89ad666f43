"""The decision rule: is the candidate slower than the baseline by more than the limit?

There are up to three steps, from cheap to expensive:

1. Screening: rounds of the candidate in this process are compared with the stored rounds. This
   can pass a test but never fail it.
2. Interleaved A/B: the cached baseline engine and the candidate are measured in one process,
   round by round in random order, so that disturbances affect both. There are up to three looks,
   at 20, 40 and 80 rounds of each.
3. Fresh processes, only if the baseline engine is not available: the candidate is measured in
   processes of its own and compared with the stored rounds; the variance between processes is
   part of the bounds.

A metric has regressed if the lower confidence bound of its change exceeds the limit, and has
passed if the upper bound is below it. Otherwise it is inconclusive: the data neither show a
regression nor rule one out. The result then has the smallest change that would have been detected.

A candidate that is faster than the stored rounds with confidence is measured interleaved as well,
where that is possible: either it is faster, or the machine was slower when the baseline was
recorded, and such a baseline would let slower engines pass.

The last step that ran is the best evidence, and judges every metric again, also those that passed
before. The error of a suite is divided among all metrics with a limit and all looks at each,
whether they are needed or not, so the probability of any false alarm is at most the sum.
Screening needs no share of it, as it cannot fail a test.

This module is pure: the caller takes the samples, keeps the time and draws the random order.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal, TypeAlias

from pytest_trt.statistics.absolute import combined
from pytest_trt.statistics.bounds import Bounds, fewest_pairs, paired, unpaired
from pytest_trt.statistics.noise import Noise, between_runs
from pytest_trt.statistics.rounds import Rounds, join
from pytest_trt.terms import METRICS, Metric, Mode, Verdict

Step: TypeAlias = Literal["screening", "interleaved", "fresh processes", "one process", "none"]

#: Probability that a whole suite, with every engine exactly at its limit, has a false alarm.
SUITE_ERROR = 0.01

#: The error of a single check is never less than this, however many there are.
_LEAST_ERROR = 1e-6

#: Probability that a check passes although the change is at its limit.
MISS_ERROR = 0.05

#: Rounds of screening and of the first look; looks take once, twice and four times as many.
FIRST_ROUNDS = 20
LOOKS = (1, 2, 4)

#: Processes of the candidate in total, at each look. Fewer than five may all be slow by chance.
#: Source: processes drawn from six of one plan on an H200, calls enqueued, five of them stored, 800
#: checks: 85% of changes of 10% are detected; with looks at three and five, 79%.
FRESH_LOOKS = (5, 8)

#: The largest error with which a single process may be judged a regression without graph replay.
#: Bounds assume that its offset is normally distributed, but outliers are more frequent.
#: Source: of 30 recorded ones, five plans on an H200, calls enqueued, one was 6% off where the
#: others had a standard deviation of 1%; at an error of 1% it was a false alarm.
ONE_PROCESS_ERROR = 1e-5


@dataclass(frozen=True, slots=True)
class MetricResult:
    """The result of one metric.

    Attributes:
        metric: Which metric.
        outcome: Passed, regressed, inconclusive or not measured.
        limit: The largest change that is allowed, as a natural logarithm of time.
        step: The step that decided it, or the last one.
        bounds: The change, as natural logarithms of time; None if nothing could be compared.
        rounds: Rounds of the candidate behind it.
        detectable: The smallest change that would have been detected as a regression, as a natural
            logarithm of time; infinite if none would.
        why: Why it is inconclusive or not measured, where that is not just the spread.
    """

    metric: Metric
    outcome: Verdict
    limit: float
    step: Step = "none"
    bounds: Bounds | None = None
    rounds: int = 0
    detectable: float = math.inf
    why: str = ""


@dataclass(frozen=True, slots=True)
class Decision:
    """The result of all metrics.

    Attributes:
        outcome: Regressed if one metric is, passed if all are, else inconclusive.
        metrics: The result of each metric that has a limit.
        candidate_rounds: All rounds of the candidate that were taken, in every step.
        unlimited: Changes of metrics without a limit, from interleaved rounds; for information.
    """

    outcome: Verdict
    metrics: Mapping[Metric, MetricResult] = field(default_factory=dict)
    candidate_rounds: int = 0
    unlimited: Mapping[Metric, Bounds] = field(default_factory=dict)


class Unavailable(Exception):
    """Rounds cannot be taken; the text is the reason."""


@dataclass(frozen=True, slots=True)
class Samplers:
    """Where rounds come from.

    Attributes:
        screen: Takes so many rounds of the candidate in this process.
        measure_interleaved: Takes so many rounds of baseline and candidate, interleaved; None if
            the baseline engine is not available.
        fresh: Takes so many rounds of the candidate in a new process, or raises `Unavailable`,
            which leaves inconclusive metrics as they are. None if that is not possible.
    """

    screen: Callable[[int], Rounds]
    measure_interleaved: Callable[[int], tuple[Rounds, Rounds]] | None = None
    fresh: Callable[[int], Rounds] | None = None


def check_error(checks: int) -> float:
    """Return the error that each check may have so that the whole suite has `SUITE_ERROR`.

    Args:
        checks: Metrics with a limit, over all tests that were collected.
    """
    return max(_LEAST_ERROR, SUITE_ERROR / max(checks, 1))


def first_rounds(error: float) -> int:
    """Return the rounds of a first look, enough for bounds of this error to be finite."""
    return max(FIRST_ROUNDS, fewest_pairs(error / len(LOOKS)))


def decide(
    limits: Mapping[Metric, float],
    stored: Sequence[Rounds],
    samplers: Samplers,
    *,
    checks: int,
    mode: Mode,
    noise: Noise | None = None,
    stored_comparable: bool = True,
) -> Decision:
    """Decide whether the candidate is slower than the baseline by more than its limits.

    Args:
        limits: By metric the largest slowdown that is allowed, as a share: 0.05 is 5% more time,
            for throughput 5% fewer items in the same time.
        stored: Rounds of the accepted processes, oldest first; at least one.
        samplers: Where rounds of the candidate come from.
        checks: Metrics with a limit, over all tests that were collected.
        mode: How both are measured.
        noise: What calibration measured on this machine.
        stored_comparable: Whether the stored rounds may be compared at all (the same clocks and
            device); if not, only interleaved rounds are.

    Raises:
        ValueError: There is no stored run.
    """
    if not stored:
        raise ValueError("a decision needs at least one stored run")
    rule = _Rule(limits, stored, samplers, check_error(checks), mode, noise or Noise())
    rule.screen(may_compare=stored_comparable)
    if samplers.measure_interleaved is not None:
        rule.interleave(samplers.measure_interleaved)
    elif stored_comparable:
        rule.add_processes()
    outcome = overall(rule.results)
    return Decision(outcome, rule.results, rule.candidate_rounds, rule.unlimited)


class _Rule:
    """The state of one decision; each step judges all metrics again.

    Attributes:
        results: The result of each metric so far.
        unlimited: Changes of metrics without a limit.
        candidate_rounds: Rounds of the candidate so far.
    """

    def __init__(
        self,
        limits: Mapping[Metric, float],
        stored: Sequence[Rounds],
        samplers: Samplers,
        error: float,
        mode: Mode,
        noise: Noise,
    ) -> None:
        self._limits, self._stored, self._samplers = limits, stored, samplers
        self._error, self._mode, self._noise = error, mode, noise
        self._first_rounds = first_rounds(error)
        self._here = samplers.screen(self._first_rounds)
        self.candidate_rounds = len(self._here)
        self.unlimited: dict[Metric, Bounds] = {}
        self.results = {
            metric: _unjudged(metric, as_slowdown(metric, limits[metric]), stored, self._here)
            for metric in METRICS
            if metric in limits
        }

    def screen(self, *, may_compare: bool) -> None:
        """Compare rounds of this process with the stored ones; this can only pass a test."""
        if may_compare:
            self._judge("screening", [self._here], self._error, may_fail=False)

    def interleave(self, measure: Callable[[int], tuple[Rounds, Rounds]]) -> None:
        """Measure interleaved until all metrics are decided, or the last look is done."""
        pairs: list[tuple[Rounds, Rounds]] = []
        for times in LOOKS:
            if not (_is_open(self.results) or (not pairs and _is_faster(self.results))):
                break
            taken = sum(len(candidate) for _, candidate in pairs)
            pairs.append(measure(self._first_rounds * times - taken))
            self.candidate_rounds += len(pairs[-1][1])
            base, candidate = joined(pairs)
            placement = self._noise.placement_of(base, self._mode)
            changes = {
                metric: interleaved_bounds(metric, base, candidate, self._error, placement)
                for metric in candidate.logs
            }
            self._update("interleaved", len(candidate), changes.__getitem__)
            self.unlimited = {m: bounds for m, bounds in changes.items() if m not in self._limits}

    def add_processes(self) -> None:
        """Measure in fresh processes until all metrics are decided, or the last look is done."""
        fresh = self._samplers.fresh
        processes, looks = [self._here], FRESH_LOOKS if fresh is not None else (1,)
        error = self._error / len(looks)
        if fresh is None and self._mode != "graph":
            error = min(error, ONE_PROCESS_ERROR)
        for count in looks:
            if not _is_open(self.results):
                return
            try:
                while fresh is not None and len(processes) < count:
                    processes.append(fresh(self._first_rounds))
                    self.candidate_rounds += len(processes[-1])
            except Unavailable as reason:
                for metric, one in self.results.items():
                    if one.outcome is Verdict.INCONCLUSIVE:
                        self.results[metric] = replace(one, why=str(reason))
                return
            step: Step = "one process" if fresh is None else "fresh processes"
            self._judge(step, processes, error)

    def _judge(
        self, step: Step, processes: Sequence[Rounds], error: float, *, may_fail: bool = True
    ) -> None:
        def bounds(metric: Metric) -> Bounds:
            return against_stored(metric, self._stored, processes, error, self._mode, self._noise)

        self._update(step, sum(map(len, processes)), bounds, may_fail=may_fail)

    def _update(
        self,
        step: Step,
        rounds: int,
        bounds: Callable[[Metric], Bounds],
        *,
        may_fail: bool = True,
    ) -> None:
        for metric, one in self.results.items():
            if one.outcome is not Verdict.NOT_MEASURED:
                self.results[metric] = _judged(one, step, rounds, bounds(metric), may_fail=may_fail)


def joined(pairs: Sequence[tuple[Rounds, Rounds]]) -> tuple[Rounds, Rounds]:
    """Return the rounds of all looks of each side."""
    return join([one for one, _ in pairs]), join([other for _, other in pairs])


def interleaved_bounds(
    metric: Metric, base: Rounds, candidate: Rounds, error: float, placement: float
) -> Bounds:
    """Return bounds on the change between two engines at one of the looks at their rounds.

    Args:
        metric: Which metric.
        base: Rounds of one engine.
        candidate: Rounds of the other, as many, each measured next to its counterpart.
        error: Probability of a false alarm at any look.
        placement: Standard deviation of the placement effect, as a logarithm.
    """
    return paired(
        candidate.logs[metric] - base.logs[metric],
        error_low=error / len(LOOKS),
        error_high=MISS_ERROR,
        floor=placement,
    )


def as_slowdown(metric: Metric, limit: float) -> float:
    """Return a limit as a logarithm of time: throughput falls by a share, times rise by one."""
    return -math.log1p(-limit) if metric == "throughput" else math.log1p(limit)


def _unjudged(
    metric: Metric, limit: float, stored: Sequence[Rounds], taken: Rounds
) -> MetricResult:
    why = ""
    if metric not in taken.logs:
        why = f"rounds of {taken.calls} calls are too short for it"
    elif not all(metric in run.logs for run in stored):
        why = "the stored rounds are too short for it"
    return MetricResult(
        metric, Verdict.NOT_MEASURED if why else Verdict.INCONCLUSIVE, limit, why=why
    )


def against_stored(
    metric: Metric,
    stored: Sequence[Rounds],
    processes: Sequence[Rounds],
    error: float,
    mode: Mode,
    noise: Noise,
) -> Bounds:
    """Return bounds on the change between stored processes and those of the candidate."""
    spread = between_runs(stored, metric, mode, noise, processes)
    return unpaired(
        join(stored).logs[metric],
        join(processes).logs[metric],
        error_low=error,
        error_high=MISS_ERROR,
        between_runs=spread * math.sqrt(1 / len(stored) + 1 / len(processes)),
    )


def _judged(
    one: MetricResult, step: Step, rounds: int, bounds: Bounds, *, may_fail: bool
) -> MetricResult:
    outcome = Verdict.INCONCLUSIVE
    if bounds.high < one.limit:
        outcome = Verdict.PASSED
    elif may_fail and bounds.low > one.limit:
        outcome = Verdict.REGRESSED
    return replace(
        one,
        outcome=outcome,
        step=step,
        bounds=bounds,
        rounds=rounds,
        # With this spread, a change whose lower bound would just reach the limit.
        detectable=one.limit + bounds.estimate - bounds.low,
    )


def _is_open(results: Mapping[Metric, MetricResult]) -> bool:
    """Whether more samples can change the verdict."""
    outcomes = [one.outcome for one in results.values()]
    return Verdict.INCONCLUSIVE in outcomes and Verdict.REGRESSED not in outcomes


def _is_faster(results: Mapping[Metric, MetricResult]) -> bool:
    """Whether some metric is faster, with confidence, than what it was compared with."""
    return any(one.bounds is not None and one.bounds.high < 0 for one in results.values())


def overall(results: Mapping[Metric, MetricResult]) -> Verdict:
    """Return the verdict on all metrics; inconclusive if there is none."""
    return combined([one.outcome for one in results.values()] or [Verdict.INCONCLUSIVE])
