"""The decision on `faster_than`: is the engine so many times as fast as another one?

Both run interleaved, so no baseline is needed. Median latencies of rounds are compared, with the
bounds and looks of the interleaved A/B run: the limit is exceeded if even the upper bound of the
ratio is below the factor, met if the lower one is above it, and inconclusive otherwise.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

from pytest_trt.statistics.decide import (
    LOOKS,
    check_error,
    first_rounds,
    interleaved_bounds,
    joined,
)
from pytest_trt.statistics.noise import Noise
from pytest_trt.statistics.rounds import Rounds
from pytest_trt.terms import Mode, Verdict


@dataclass(frozen=True, slots=True)
class SpeedupResult:
    """The result of one opponent of `faster_than`.

    Attributes:
        opponent: The opponent, as the limit names it.
        factor: How many times as fast as it the engine has to be.
        outcome: Passed, failed or inconclusive.
        ratio: How many times as fast it is: median latency of the opponent by that of the engine.
        least: The lower bound of the ratio.
        most: Its upper bound.
        enough: The smallest ratio that would have passed with this spread.
        opponent_ms: Median latency of the opponent, in milliseconds.
        candidate_ms: The same of the engine, in the same rounds.
        rounds: Rounds of each.
        calls: Calls in each round.
        mode: How both were timed.
        ran: What the opponent was: model, precision, architecture, toolchain.
    """

    opponent: str
    factor: float
    outcome: Verdict
    ratio: float
    least: float
    most: float
    enough: float
    opponent_ms: float
    candidate_ms: float
    rounds: int
    calls: int
    mode: Mode
    ran: str = ""


def decide_faster(
    opponent: str,
    factor: float,
    measure_interleaved: Callable[[int], tuple[Rounds, Rounds]],
    *,
    checks: int,
    mode: Mode,
    noise: Noise | None = None,
) -> SpeedupResult:
    """Measure until it is decided whether the engine is so many times as fast as another one.

    Args:
        opponent: The other engine, as the limit names it.
        factor: How many times as fast as it the engine has to be.
        measure_interleaved: Takes so many rounds of the other engine and of the engine.
        checks: Limits over all tests that were collected.
        mode: How both are measured.
        noise: What calibration measured on this machine.
    """
    error = check_error(checks)
    first = first_rounds(error)
    pairs = [measure_interleaved(first)]
    for times in LOOKS:
        if times > 1:
            pairs.append(measure_interleaved(first * times - sum(len(one) for one, _ in pairs)))
        base, candidate = joined(pairs)
        found = judge_faster(
            opponent, factor, base, candidate, error=error, mode=mode, noise=noise or Noise()
        )
        if found.outcome is not Verdict.INCONCLUSIVE:
            break
    return found


def judge_faster(
    opponent: str,
    factor: float,
    base: Rounds,
    candidate: Rounds,
    *,
    error: float,
    mode: Mode,
    noise: Noise,
) -> SpeedupResult:
    """Judge the rounds that there are at one look.

    Args:
        opponent: The other engine, as the limit names it.
        factor: How many times as fast as it the engine has to be.
        base: Rounds of the other engine.
        candidate: Rounds of the engine, interleaved with them.
        error: Probability of a false alarm at any look.
        mode: How both were measured.
        noise: What calibration measured on this machine.
    """
    opponent_ms, candidate_ms = base.median("p50"), candidate.median("p50")
    # A clock's resolution matters most for the shorter times.
    placement = noise.placement_of(candidate if candidate_ms < opponent_ms else base, mode)
    bounds = interleaved_bounds("p50", base, candidate, error, placement)
    limit, outcome = -math.log(factor), Verdict.INCONCLUSIVE
    if bounds.high < limit:
        outcome = Verdict.PASSED
    elif bounds.low > limit:
        outcome = Verdict.FAILED
    return SpeedupResult(
        opponent,
        factor,
        outcome,
        ratio=math.exp(-bounds.estimate),
        least=math.exp(-bounds.high),
        most=math.exp(-bounds.low),
        enough=factor * math.exp(bounds.high - bounds.estimate),
        opponent_ms=opponent_ms,
        candidate_ms=candidate_ms,
        rounds=len(candidate),
        calls=candidate.calls,
        mode=mode,
    )
