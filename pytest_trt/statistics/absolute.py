"""The decision on absolute limits: service objectives, which need no baseline.

"P99 at most 12 ms" holds if at most one call in a hundred is slower. Throughput is judged by
rounds: at most half of them may be below the limit. Both are counts, so the binomial rule tells.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from pytest_trt.statistics.binomial import fewest_calls, slow_calls
from pytest_trt.statistics.decide import Outcome
from pytest_trt.statistics.limits import Absolute

#: Share of calls that must be within the limit; for throughput, of rounds.
_SHARES: Mapping[Absolute, float] = {
    "p50_ms": 0.5,
    "p95_ms": 0.95,
    "p99_ms": 0.99,
    "min_throughput": 0.5,
}


@dataclass(frozen=True, slots=True)
class AbsoluteLimitResult:
    """What is known of one absolute limit.

    Attributes:
        name: Which one.
        limit: The figure that was allowed.
        measured: The same figure of these calls, pooled.
        outcome: "passed", "failed", "inconclusive" or "not testable".
        violations: How many calls (for throughput, rounds) were beyond the limit.
        total: Of how many.
        why: Why it is inconclusive or not testable.
    """

    name: Absolute
    limit: float
    measured: float
    outcome: Outcome
    violations: int
    total: int
    why: str = ""


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
    verdict = slow_calls([int(n) for n in by_round], calls, share=share, error=error)
    outcomes: Mapping[str, Outcome] = {"within": "passed", "beyond": "failed"}
    outcome, why = outcomes.get(verdict, "inconclusive"), ""
    needed = fewest_calls(share, error)
    if verdict == "open" and rounds * calls < needed:
        outcome = "not testable"
        what = "rounds" if calls == 1 and name == "min_throughput" else "calls"
        why = f"{rounds * calls} {what} cannot show it, {needed} could"
    elif verdict == "open":
        why = "too near to its limit to tell; more calls would (--trt-benchmark-time)"
    return AbsoluteLimitResult(
        name, limit, measured, outcome, int(by_round.sum()), rounds * calls, why
    )


def calls_needed(limits: Collection[Absolute], error: float) -> int:
    """Return how many calls it takes to tell all percentiles among these limits."""
    shares = (_SHARES[name] for name in limits if name != "min_throughput")
    return max((fewest_calls(share, error) for share in shares), default=0)


def combined(outcomes: Sequence[Outcome]) -> Outcome:
    """Return what several limits come to: one that is exceeded is enough, all must be kept."""
    if "failed" in outcomes:
        return "failed"
    if "regressed" in outcomes:
        return "regressed"
    return "passed" if set(outcomes) <= {"passed"} else "inconclusive"


def is_settled(kept: Sequence[AbsoluteLimitResult]) -> bool:
    """Whether more calls can change nothing: one limit is exceeded, or none is open."""
    outcomes = [one.outcome for one in kept]
    return "failed" in outcomes or set(outcomes) <= {"passed"}
