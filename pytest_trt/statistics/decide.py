"""The decision: is the candidate slower than the baseline by more than the limit?

Three steps, from cheap to dear. Each may pass; only the second and third may fail.

1. Screening: rounds of the candidate against the rounds that are stored. What is clearly within
   its limits passes, if nothing speaks against comparing with another time.
2. Confirmation by taking turns: the cached baseline engine and the candidate, round by round in
   random order, so that what disturbs the machine disturbs both. Looked at three times.
3. Where the baseline engine is gone: rounds of fresh processes of the candidate, against the stored
   ones, with the luck that processes have counted in.

A candidate that is surely quicker than the stored rounds leaves a doubt too, where turns can settle
it: either it is, or the machine was slower then, and rounds of that time would let slower engines
pass.

A metric has regressed when the lower bound of its change is beyond the limit; it has passed when
the upper bound is within. What is neither at the end is inconclusive, with the smallest change that
would have been called.

The last step that ran is the best evidence, and judges every metric, also those that an earlier
one found to be within. That costs no certainty: the error of a suite is shared out to all metrics
with a limit, times all looks at each, whether they are looked at or not, and the chance of any
false alarm is at most the sum. Screening has no share in it, as it cannot fail.

Data in, verdict out: whoever calls this takes the samples, keeps the time and rolls the dice.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal, TypeAlias

from pytest_trt.statistics.bounds import Bounds, fewest_pairs, paired, unpaired
from pytest_trt.statistics.noise import Noise, between_runs
from pytest_trt.statistics.rounds import Rounds, join
from pytest_trt.terms import METRICS, Metric, Mode

Outcome: TypeAlias = Literal["passed", "failed", "regressed", "inconclusive", "not testable"]
Step: TypeAlias = Literal["screening", "taking turns", "fresh processes", "one process", "none"]

#: Probability that a whole suite, with every engine exactly at its limit, has a false alarm.
SUITE_ERROR = 0.01

#: No check is asked for more certainty than this, however many there are.
_LEAST_ERROR = 1e-6

#: Probability that a check passes although the change is at its limit.
MISS_ERROR = 0.05

#: Rounds of screening and of the first look, and looks at twice and four times as many.
FIRST_ROUNDS = 20
LOOKS = (1, 2, 4)

#: Processes of the candidate in all, at each look. Fewer than five may all have the same bad luck.
#: Source: processes drawn from six of one plan on an H200, calls enqueued, five of them stored, 800
#: checks: 85% of changes of 10% are called, with looks at three and five 79%.
FRESH_LOOKS = (5, 8)

#: The largest error by which one process alone may be called a regression, where graphs are not
#: replayed. Bounds take its luck as normal, and single processes are further off more often.
#: Source: of 30 recorded ones, five plans on an H200, calls enqueued, one was 6% off where the
#: others had a standard deviation of 1%; at an error of 1% it was a false alarm.
ONE_PROCESS_ERROR = 1e-5


@dataclass(frozen=True, slots=True)
class MetricResult:
    """What is known of one metric.

    Attributes:
        metric: Which one.
        outcome: What it came to.
        limit: The largest change that is allowed, as a natural logarithm of time.
        step: The step that settled it, or the last one.
        bounds: The change, as natural logarithms of time; None where nothing could be compared.
        rounds: Rounds of the candidate behind it.
        detectable: The smallest change that would have been called a regression, as a natural
            logarithm of time; infinite where none would.
        why: Why it is not testable or inconclusive, where that is not the spread alone.
    """

    metric: Metric
    outcome: Outcome
    limit: float
    step: Step = "none"
    bounds: Bounds | None = None
    rounds: int = 0
    detectable: float = math.inf
    why: str = ""


@dataclass(frozen=True, slots=True)
class Decision:
    """What all metrics came to.

    Attributes:
        outcome: "regressed" if one is, else "passed" if all are, else "inconclusive".
        found: What is known of each metric that has a limit.
        candidate_rounds: All rounds of the candidate that were taken, on every step.
        unlimited: Changes that turns told of metrics without a limit; nothing rests on them.
    """

    outcome: Literal["passed", "regressed", "inconclusive"]
    found: Mapping[Metric, MetricResult] = field(default_factory=dict)
    candidate_rounds: int = 0
    unlimited: Mapping[Metric, Bounds] = field(default_factory=dict)


class Unavailable(Exception):
    """Rounds that were asked for cannot be taken; the text says why."""


@dataclass(frozen=True, slots=True)
class Samplers:
    """Where rounds come from.

    Attributes:
        screen: Takes so many rounds of the candidate in this process.
        take_turns: Takes so many rounds of baseline and candidate, in turns; None where the
            baseline engine is gone.
        fresh: Takes so many rounds of the candidate in a process of its own, or raises
            `Unavailable`: then what is open stays so. None where that cannot be.
    """

    screen: Callable[[int], Rounds]
    measure_interleaved: Callable[[int], tuple[Rounds, Rounds]] | None = None
    fresh: Callable[[int], Rounds] | None = None


def check_error(checks: int) -> float:
    """Return the error that one check may make, so that a suite of so many makes `SUITE_ERROR`.

    Args:
        checks: Metrics with a limit, over all tests that were collected.
    """
    return max(_LEAST_ERROR, SUITE_ERROR / max(checks, 1))


def first_rounds(error: float) -> int:
    """Return the rounds of a first look by which a check may make this error and no larger one."""
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
            for throughput 5% less work in the same time.
        stored: Rounds of the accepted processes, oldest first; at least one.
        samplers: Where rounds of the candidate come from.
        checks: Metrics with a limit, over all tests that were collected.
        mode: How both are measured.
        noise: What calibration measured on this machine.
        stored_comparable: Whether stored rounds may be compared at all (the same clocks and
            device); if not, only taking turns can tell.

    Raises:
        ValueError: There is no stored run.
    """
    if not stored:
        raise ValueError("a decision needs at least one stored run")
    known, error = noise or Noise(), check_error(checks)
    first = first_rounds(error)
    taken = samplers.screen(first)
    total = len(taken)
    found = {
        metric: _testable(metric, as_slowdown(metric, limits[metric]), stored, taken)
        for metric in METRICS
        if metric in limits
    }
    unlimited: dict[Metric, Bounds] = {}

    def look(
        step: Step, rounds: int, bounds: Callable[[Metric], Bounds], *, may_fail: bool = True
    ) -> None:
        for metric, one in found.items():
            if one.outcome != "not testable":
                found[metric] = _looked(one, step, rounds, bounds(metric), may_fail=may_fail)

    if stored_comparable:
        look(
            "screening",
            len(taken),
            lambda metric: against_stored(metric, stored, [taken], error, mode, known),
            may_fail=False,
        )
    if samplers.measure_interleaved is not None:
        pairs: list[tuple[Rounds, Rounds]] = []
        discount_host_noise = _is_quicker(found)
        for times in LOOKS:
            if not (discount_host_noise or _is_open(found)):
                break
            discount_host_noise = False
            have = sum(len(candidate) for _, candidate in pairs)
            pairs.append(samplers.measure_interleaved(first * times - have))
            total += len(pairs[-1][1])
            base, cand = join([a for a, _ in pairs]), join([b for _, b in pairs])
            placement = known.placement_of(base, mode)
            changes = {
                metric: paired(
                    cand.logs[metric] - base.logs[metric],
                    error_low=error / len(LOOKS),
                    error_high=MISS_ERROR,
                    floor=placement,
                )
                for metric in cand.logs
            }
            look("taking turns", len(cand), changes.__getitem__)
            unlimited = {m: bounds for m, bounds in changes.items() if m not in limits}
    elif stored_comparable:
        processes = [taken]
        looks = FRESH_LOOKS if samplers.fresh is not None else (1,)
        each = error / len(looks)
        if samplers.fresh is None and mode != "graph":
            each = min(each, ONE_PROCESS_ERROR)
        for count in looks:
            if not _is_open(found):
                break
            try:
                while samplers.fresh is not None and len(processes) < count:
                    processes.append(samplers.fresh(first))
                    total += len(processes[-1])
            except Unavailable as reason:
                for metric, one in found.items():
                    if one.outcome == "inconclusive":
                        found[metric] = replace(one, why=str(reason))
                break
            look(
                "one process" if samplers.fresh is None else "fresh processes",
                sum(map(len, processes)),
                lambda metric: against_stored(metric, stored, processes, each, mode, known),
            )
    return Decision(overall(found), found, total, unlimited)


def as_slowdown(metric: Metric, limit: float) -> float:
    """Return a limit as a logarithm of time: throughput falls by a share, times rise by one."""
    return -math.log1p(-limit) if metric == "throughput" else math.log1p(limit)


def _testable(
    metric: Metric, limit: float, stored: Sequence[Rounds], taken: Rounds
) -> MetricResult:
    why = ""
    if metric not in taken.logs:
        why = f"rounds of {taken.calls} calls are too short for it"
    elif not all(metric in run.logs for run in stored):
        why = "the stored rounds are too short for it"
    return MetricResult(metric, "not testable" if why else "inconclusive", limit, why=why)


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


def _looked(
    one: MetricResult, step: Step, rounds: int, bounds: Bounds, *, may_fail: bool
) -> MetricResult:
    outcome: Outcome = "inconclusive"
    if bounds.high < one.limit:
        outcome = "passed"
    elif may_fail and bounds.low > one.limit:
        outcome = "regressed"
    return replace(
        one,
        outcome=outcome,
        step=step,
        bounds=bounds,
        rounds=rounds,
        # With this spread, a change whose lower bound would just reach the limit.
        detectable=one.limit + bounds.estimate - bounds.low,
    )


def _is_open(found: Mapping[Metric, MetricResult]) -> bool:
    """Whether sampling on can still change the verdict."""
    outcomes = [one.outcome for one in found.values()]
    return "inconclusive" in outcomes and "regressed" not in outcomes


def _is_quicker(found: Mapping[Metric, MetricResult]) -> bool:
    """Whether some metric is surely quicker than what it was compared with."""
    return any(one.bounds is not None and one.bounds.high < 0 for one in found.values())


def overall(found: Mapping[Metric, MetricResult]) -> Literal["passed", "regressed", "inconclusive"]:
    """Return what all metrics come to: one regression is enough, all must pass."""
    outcomes = {one.outcome for one in found.values()}
    if "regressed" in outcomes:
        return "regressed"
    return "passed" if outcomes == {"passed"} else "inconclusive"
