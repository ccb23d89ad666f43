"""Calls over an absolute limit, by the binomial distribution.

A service objective such as "P99 at most 12 ms" holds if at most one call in a hundred is slower.
How many of n calls were slower is binomial, so both verdicts have exact error rates.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Literal


def fewest_calls(share: float, error: float, *, slow: int = 0) -> int:
    """Return how many calls, so many slow ones among them, show that `share` of all are quick.

    What MLPerf's early stopping asks for: at an error of 1% 459 for a share of 0.99 without a slow
    call, 662 with one.
    Source: MLPerf Inference, loadgen/early_stopping.cc.

    Args:
        share: Share of calls that must be within the limit, as 0.99 for P99.
        error: Probability of showing it although it is not so.
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


def slow_calls(
    over_by_round: Sequence[int], round_calls: int, *, share: float, error: float
) -> Literal["within", "beyond", "open"]:
    """Judge an absolute limit on a percentile.

    Slow calls come in bursts, so that n of them say less than n independent ones: the number of
    calls is divided by how much more the counts vary between rounds than binomial ones would.

    Args:
        over_by_round: How many calls of each round were slower than the limit.
        round_calls: Calls in each round.
        share: Share of calls that must be within the limit, as 0.99 for P99.
        error: Probability of each wrong verdict.

    Returns:
        "within" or "beyond" the limit, or "open" when these calls cannot tell.
    """
    rounds = len(over_by_round)
    over, calls = sum(over_by_round), rounds * round_calls
    inflation = _variance_inflation(over_by_round, round_calls)
    effective_calls = calls / inflation
    effective_over = over / inflation
    chance = 1 - share
    if 1 - at_most(math.ceil(effective_over - 1e-9) - 1, effective_calls, chance) <= error:
        return "beyond"
    if at_most(effective_over, effective_calls, chance) <= error:
        return "within"
    return "open"


def _variance_inflation(over_by_round: Sequence[int], round_calls: int) -> float:
    rounds = len(over_by_round)
    mean = sum(over_by_round) / rounds if rounds else 0.0
    binomial = mean * (1 - mean / round_calls)
    if rounds < 2 or binomial <= 0:
        return 1.0
    seen = sum((over - mean) ** 2 for over in over_by_round) / (rounds - 1)
    return max(1.0, seen / binomial)
