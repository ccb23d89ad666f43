"""Two engines that take turns, so that what disturbs the machine disturbs both."""

from __future__ import annotations

from random import Random

from pytest_trt.benchmark.rounds import (
    Guard,
    Stretches,
    TimedCalls,
    check_redone,
    summarised,
    undisturbed,
)
from pytest_trt.statistics.rounds import Rounds

#: Calls after a switch that are not counted: they find the caches as the other engine left them.
DROPPED_CALLS = 5


def measure_interleaved(
    baseline: Stretches,
    candidate: Stretches,
    rounds: int,
    calls: int,
    *,
    random: Random,
    items_per_call: float = 1.0,
    guard: Guard = undisturbed,
) -> tuple[Rounds, Rounds]:
    """Take so many rounds of each, in pairs whose order a coin decides.

    Args:
        baseline: Makes calls of the baseline engine.
        candidate: Makes calls of the candidate.
        rounds: How many pairs of rounds.
        calls: Calls in each round.
        random: The coin.
        items_per_call: Batch items of one call.
        guard: Asked after every pair; both halves of a disturbed one are taken again.

    Raises:
        Disturbed: Too many pairs would have to be taken again.
    """
    taken: tuple[list[TimedCalls], list[TimedCalls]] = ([], [])
    reasons: list[str] = []
    guard()
    while len(taken[0]) < rounds:
        sides = [baseline, candidate]
        order = [0, 1] if random.random() < 0.5 else [1, 0]
        pair: dict[int, TimedCalls] = {}
        for side in order:
            sides[side](DROPPED_CALLS)
            pair[side] = sides[side](calls)
        reason = guard()
        if reason is None:
            taken[0].append(pair[0])
            taken[1].append(pair[1])
            continue
        reasons.append(reason)
        check_redone(reasons, rounds)
    return summarised(taken[0], items_per_call=items_per_call), summarised(
        taken[1], items_per_call=items_per_call
    )
