"""The smallest change that the gate calls: what a limit is worth on this machine.

By the very bounds of the decision, on rounds such as an engine has against itself. A change is
called when its lower bound is beyond the limit, so it has to be larger than the limit by the width
of that bound; and as its estimate has luck too, by some more to be called nine times in ten.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np
import numpy.typing as npt

from pytest_trt.statistics.bounds import paired, unpaired
from pytest_trt.statistics.calibrate import Calibrated
from pytest_trt.statistics.decide import (
    FRESH_LOOKS,
    LOOKS,
    MISS_ERROR,
    against_stored,
    as_slowdown,
    check_error,
    first_rounds,
)
from pytest_trt.statistics.discount import HOUR_LUCK
from pytest_trt.statistics.rounds import Rounds, join
from pytest_trt.terms import Metric, Mode

#: In so many of ten cases a change as large as is told is called.
POWER = 0.9

_NORMAL = NormalDist()

#: The error of a one-sided bound that is one standard deviation away.
_ONE_SIGMA = _NORMAL.cdf(-1)


@dataclass(frozen=True, slots=True)
class Detectable:
    """The smallest change for the worse that is called.

    Attributes:
        change: As a natural logarithm of time.
        calls: How many calls that takes after the first look, of both engines where there are two.
    """

    change: float
    calls: int


def by_turns(
    metric: Metric,
    limit: float,
    turns: Sequence[tuple[Rounds, Rounds]],
    measured: Calibrated,
    *,
    checks: int,
) -> tuple[Detectable, ...]:
    """Return what is detected by turns with the baseline engine, by look; empty if not testable.

    Args:
        metric: Of what.
        limit: The share by which it may be worse.
        turns: From several processes, rounds of two sessions of one engine in turns.
        measured: What calibration made of them.
        checks: Metrics with a limit, over all tests of a run.
    """
    if not all(metric in side.logs for pair in turns for side in pair):
        return ()
    error, found = check_error(checks), []
    first, calls = first_rounds(error), turns[0][0].calls
    apart = [two.logs[metric] - one.logs[metric] for one, two in turns]
    placement = measured.reckoned_placement
    for look in LOOKS:
        typical = _typical(apart, first * look)
        bounds = paired(
            typical, error_low=error / len(LOOKS), error_high=MISS_ERROR, floor=placement
        )
        width = bounds.estimate - bounds.low
        luck = math.hypot(
            _sigma(typical), math.sqrt(2) * placement, width * _unsteady(apart, first * look)
        )
        change = as_slowdown(metric, limit) + width + _often(luck)
        found.append(Detectable(change, 2 * first * look * calls))
    return tuple(found)


def by_processes(
    metric: Metric,
    limit: float,
    stored: Sequence[Rounds],
    runs: Sequence[Rounds],
    measured: Calibrated,
    *,
    checks: int,
    mode: Mode,
) -> Detectable | None:
    """Return what fresh processes detect without the baseline engine; None if not testable.

    Args:
        metric: Of what.
        limit: The share by which it may be worse.
        stored: The processes of the baseline.
        runs: As many processes of the same engine as the last look has, or fewer.
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
    of_runs = measured.noise().between_runs[metric] * math.sqrt(1 / len(stored) + 1 / len(taken))
    luck = math.hypot(alone.estimate - alone.low, of_runs)
    change = as_slowdown(metric, limit) + bounds.estimate - bounds.low + _often(luck)
    # By the host's clock so much is put down to the load of the hour.
    change += HOUR_LUCK if mode == "end_to_end" else 0.0
    return Detectable(change, FRESH_LOOKS[-1] * first_rounds(error) * taken[0].calls)


def _often(luck: float) -> float:
    """Return how far above the bound an estimate must be to stay above it in `POWER` cases."""
    return _NORMAL.inv_cdf(POWER) * luck


def _typical(apart: Sequence[npt.NDArray[np.float64]], count: int) -> npt.NDArray[np.float64]:
    """Return so many differences as pairs of one engine have: evenly out of all that were seen."""
    centred = [one - np.median(one) for one in apart]
    # Which session is which is as good as a coin: the differences are symmetric.
    both = np.concatenate([*centred, *(-one for one in centred)])
    shares = (np.arange(count) + 0.5) / count
    typical: npt.NDArray[np.float64] = np.quantile(both, shares)
    return typical


def _sigma(differences: npt.NDArray[np.float64]) -> float:
    """Return the standard deviation of the estimate that such differences give."""
    alone = paired(differences, error_low=_ONE_SIGMA, error_high=_ONE_SIGMA, floor=0.0)
    return alone.estimate - alone.low


def _unsteady(apart: Sequence[npt.NDArray[np.float64]], count: int) -> float:
    """Return by which share the width of a bound on so many differences varies between processes.

    Widths of tails vary much: a process meets a burst or it does not.
    """
    widths = [_sigma(one) for one in apart]
    mean = float(np.mean(widths))
    return float(np.std(widths)) / mean * math.sqrt(len(apart[0]) / count) if mean else 0.0
