"""The smallest change that is detected: what a limit is worth on this machine.

Calculated with the bounds of the decision, on rounds of an engine against itself. A change is
detected if its lower bound exceeds the limit, so it must exceed the limit by the width of that
bound, and by a margin for the variance of the estimate to be detected nine times in ten.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np
import numpy.typing as npt

from pytest_trt.statistics.bounds import paired, unpaired
from pytest_trt.statistics.decide import (
    FRESH_LOOKS,
    LOOKS,
    MISS_ERROR,
    against_stored,
    as_slowdown,
    check_error,
    first_rounds,
)
from pytest_trt.statistics.discount import FRESH_PROCESSES_ALLOWANCE_LOG
from pytest_trt.statistics.noise import MeasuredNoise
from pytest_trt.statistics.rounds import Rounds, join
from pytest_trt.terms import Metric, Mode

#: Probability that a change of the reported size is detected.
POWER = 0.9

_NORMAL = NormalDist()

#: The error of a one-sided bound at a distance of one standard deviation.
_ONE_SIGMA = _NORMAL.cdf(-1)


@dataclass(frozen=True, slots=True)
class Detectable:
    """The smallest slowdown that is detected.

    Attributes:
        change: The slowdown, as a natural logarithm of time.
        calls: How many calls that takes after screening, of both engines if there are two.
    """

    change: float
    calls: int


def by_interleaving(
    metric: Metric,
    limit: float,
    pairs: Sequence[tuple[Rounds, Rounds]],
    measured: MeasuredNoise,
    *,
    checks: int,
) -> tuple[Detectable, ...]:
    """Return what interleaving with the baseline engine detects at each look.

    Empty if the rounds are too short for the metric.

    Args:
        metric: Which metric.
        limit: Its limit, as a share.
        pairs: Interleaved rounds of two sessions of one engine, from several processes.
        measured: What calibration made of them.
        checks: Metrics with a limit, over all tests of a run.
    """
    if not all(metric in side.logs for pair in pairs for side in pair):
        return ()
    error, detectable = check_error(checks), []
    first, calls = first_rounds(error), pairs[0][0].calls
    apart = [two.logs[metric] - one.logs[metric] for one, two in pairs]
    placement = measured.upper_placement
    for look in LOOKS:
        typical = _typical(apart, first * look)
        bounds = paired(
            typical, error_low=error / len(LOOKS), error_high=MISS_ERROR, floor=placement
        )
        width = bounds.estimate - bounds.low
        spread = math.hypot(
            _sigma(typical), math.sqrt(2) * placement, width * _width_spread(apart, first * look)
        )
        change = as_slowdown(metric, limit) + width + _power_margin(spread)
        detectable.append(Detectable(change, 2 * first * look * calls))
    return tuple(detectable)


def by_processes(
    metric: Metric,
    limit: float,
    stored: Sequence[Rounds],
    runs: Sequence[Rounds],
    measured: MeasuredNoise,
    *,
    checks: int,
    mode: Mode,
) -> Detectable | None:
    """Return what fresh processes detect without the baseline engine.

    None if the rounds are too short for the metric.

    Args:
        metric: Which metric.
        limit: Its limit, as a share.
        stored: The processes of the baseline.
        runs: Processes of the same engine, at most as many as at the last look.
        measured: What calibration made of them.
        checks: Metrics with a limit, over all tests of a run.
        mode: How they were measured.
    """
    taken = runs[: FRESH_LOOKS[-1]]
    if not all(metric in run.logs for run in (*stored, *taken)):
        return None
    error = check_error(checks)
    allowed = error / len(FRESH_LOOKS)
    bounds = against_stored(metric, stored, taken, allowed, mode, measured.noise())
    alone = unpaired(
        join(stored).logs[metric],
        join(taken).logs[metric],
        error_low=_ONE_SIGMA,
        error_high=_ONE_SIGMA,
        between_runs=0.0,
    )
    between = measured.noise().between_runs[metric] * math.sqrt(1 / len(stored) + 1 / len(taken))
    spread = math.hypot(alone.estimate - alone.low, between)
    change = as_slowdown(metric, limit) + bounds.estimate - bounds.low + _power_margin(spread)
    # By the host's clock, so much is attributed to the load of the host.
    change += FRESH_PROCESSES_ALLOWANCE_LOG if mode == "end_to_end" else 0.0
    return Detectable(change, FRESH_LOOKS[-1] * first_rounds(error) * taken[0].calls)


def _power_margin(spread: float) -> float:
    """Return how far a change must exceed a threshold for its estimate to do so with `POWER`."""
    return _NORMAL.inv_cdf(POWER) * spread


def _typical(apart: Sequence[npt.NDArray[np.float64]], count: int) -> npt.NDArray[np.float64]:
    """Return typical differences of pairs of one engine: evenly spaced quantiles of all."""
    centred = [one - np.median(one) for one in apart]
    # The order of two sessions is arbitrary: the differences are symmetric.
    both = np.concatenate([*centred, *(-one for one in centred)])
    shares = (np.arange(count) + 0.5) / count
    typical: npt.NDArray[np.float64] = np.quantile(both, shares)
    return typical


def _sigma(differences: npt.NDArray[np.float64]) -> float:
    """Return the standard deviation of the estimate from such differences."""
    alone = paired(differences, error_low=_ONE_SIGMA, error_high=_ONE_SIGMA, floor=0.0)
    return alone.estimate - alone.low


def _width_spread(apart: Sequence[npt.NDArray[np.float64]], count: int) -> float:
    """Return the relative standard deviation, between processes, of the width of a bound.

    Widths of tails vary much: a process meets a burst of slow calls or it does not.
    """
    widths = [_sigma(one) for one in apart]
    mean = float(np.mean(widths))
    return float(np.std(widths)) / mean * math.sqrt(len(apart[0]) / count) if mean else 0.0
