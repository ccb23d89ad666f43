"""The decision on absolute limits: service objectives, which need no baseline.

"P99 at most 12 ms" holds if at most one call in a hundred is slower. Throughput is judged by
rounds: at most half of them may be below the limit. How many of n calls violate a limit is
binomial, so both verdicts have exact error rates.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from pytest_trt.statistics.limits import Absolute
from pytest_trt.terms import Verdict

#: Share of calls that must be within the limit; for throughput, of rounds.
_SHARES: Mapping[Absolute, float] = {
    "p50_ms": 0.5,
    "p95_ms": 0.95,
    "p99_ms": 0.99,
    "min_throughput": 0.5,
}


@dataclass(frozen=True, slots=True)
class AbsoluteLimitResult:
    """The result of one absolute limit.

    Attributes:
        name: Which limit.
        limit: The figure that is allowed.
        measured: The same figure of these calls, pooled.
        outcome: Passed, failed, inconclusive or not measured.
        violations: How many calls (for throughput, rounds) violated the limit.
        total: Of how many.
        why: Why it is inconclusive or not measured.
        needs_calls: Whether more calls would decide it.
    """

    name: Absolute
    limit: float
    measured: float
    outcome: Verdict
    violations: int
    total: int
    why: str = ""
    needs_calls: bool = False


def judge_absolute(
    name: Absolute,
    limit: float,
    latencies_ms: npt.NDArray[np.float64],
    walls_s: npt.NDArray[np.float64],
    *,
    items_per_call: float,
    error: float,
) -> AbsoluteLimitResult:
    """Judge one absolute limit.

    Args:
        name: Which limit.
        limit: Milliseconds, or items per second.
        latencies_ms: Every call, shape (rounds, calls).
        walls_s: How long each round took, shape (rounds,).
        items_per_call: Batch items of one call.
        error: Probability of each wrong verdict.
    """
    rounds, calls = latencies_ms.shape
    share = _SHARES[name]
    if name == "min_throughput":
        figures, calls = calls * items_per_call / walls_s[:, None], 1
        violated, measured = figures < limit, float(np.median(figures))
    else:
        violated = latencies_ms > limit
        measured = float(np.quantile(latencies_ms, share, method="inverted_cdf"))
    by_round = violated.sum(axis=1)
    outcome = judge_violations([int(n) for n in by_round], calls, share=share, error=error)
    why, needed = "", fewest_calls(share, error)
    if outcome is Verdict.INCONCLUSIVE and rounds * calls < needed:
        outcome = Verdict.NOT_MEASURED
        what = "rounds" if name == "min_throughput" else "calls"
        why = f"{rounds * calls} {what} are too few, it takes {needed}"
    elif outcome is Verdict.INCONCLUSIVE:
        why = "too close to its limit; more calls would decide it (--trt-benchmark-time)"
    return AbsoluteLimitResult(
        name, limit, measured, outcome, int(by_round.sum()), rounds * calls, why, bool(why)
    )


def calls_needed(limits: Collection[Absolute], error: float) -> int:
    """Return how many calls it takes to judge all percentiles among these limits."""
    shares = (_SHARES[name] for name in limits if name != "min_throughput")
    return max((fewest_calls(share, error) for share in shares), default=0)


def combined(outcomes: Sequence[Verdict]) -> Verdict:
    """Return the verdict on several limits: one violation is enough, and all have to pass."""
    for verdict in (Verdict.FAILED, Verdict.REGRESSED):
        if verdict in outcomes:
            return verdict
    return Verdict.PASSED if set(outcomes) <= {Verdict.PASSED} else Verdict.INCONCLUSIVE


def is_settled(results: Sequence[AbsoluteLimitResult]) -> bool:
    """Whether more calls cannot change the verdict: one limit has failed, or all have passed."""
    return combined([one.outcome for one in results]) is not Verdict.INCONCLUSIVE


def judge_violations(
    by_round: Sequence[int], round_calls: int, *, share: float, error: float
) -> Verdict:
    """Judge an absolute limit on a percentile: passed, failed or inconclusive.

    Slow calls come in bursts, so n of them carry less information than n independent ones: the
    number of calls is divided by the ratio of the variance between rounds to a binomial one.

    Args:
        by_round: How many calls of each round violated the limit.
        round_calls: Calls in each round.
        share: Share of calls that must be within the limit, 0.99 for P99.
        error: Probability of each wrong verdict.
    """
    inflation = _variance_inflation(by_round, round_calls)
    calls = len(by_round) * round_calls / inflation
    violations = sum(by_round) / inflation
    if 1 - at_most(math.ceil(violations - 1e-9) - 1, calls, 1 - share) <= error:
        return Verdict.FAILED
    if at_most(violations, calls, 1 - share) <= error:
        return Verdict.PASSED
    return Verdict.INCONCLUSIVE


def _variance_inflation(by_round: Sequence[int], round_calls: int) -> float:
    rounds = len(by_round)
    mean = sum(by_round) / rounds if rounds else 0.0
    binomial = mean * (1 - mean / round_calls)
    if rounds < 2 or binomial <= 0:
        return 1.0
    variance = sum((count - mean) ** 2 for count in by_round) / (rounds - 1)
    return max(1.0, variance / binomial)


def fewest_calls(share: float, error: float, *, slow: int = 0) -> int:
    """Return how many calls, so many slow ones among them, show that `share` of all are fast.

    As in MLPerf's early stopping: at an error of 1% 459 for a share of 0.99 without a slow call,
    662 with one.
    Source: MLPerf Inference, loadgen/early_stopping.cc.

    Args:
        share: Share of calls that must be within the limit, 0.99 for P99.
        error: Probability of a wrong pass.
        slow: Calls over the limit.
    """
    low, high = slow + 1, 2 * (slow + 1)
    while at_most(slow, high, 1 - share) > error:
        low, high = high, 2 * high
    while low < high:
        middle = (low + high) // 2
        if at_most(slow, middle, 1 - share) <= error:
            high = middle
        else:
            low = middle + 1
    return low


def at_most(successes: float, calls: float, chance: float) -> float:
    """Return P(X <= successes) for X binomial over `calls`; both are rounded to whole calls."""
    count, whole = round(calls), math.floor(successes + 1e-9)
    if whole < 0:
        return 0.0
    if whole >= count:
        return 1.0
    log_chance, log_rest = math.log(chance), math.log1p(-chance)
    logs = (
        math.lgamma(count + 1)
        - math.lgamma(k + 1)
        - math.lgamma(count - k + 1)
        + k * log_chance
        + (count - k) * log_rest
        for k in range(whole + 1)
    )
    return min(1.0, math.fsum(map(math.exp, logs)))
