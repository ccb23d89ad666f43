"""How much one and the same engine differs from itself, out of fresh processes of it."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np

from pytest_trt.statistics.bounds import paired
from pytest_trt.statistics.noise import Noise
from pytest_trt.statistics.rounds import Rounds
from pytest_trt.terms import METRICS, Metric

#: A few processes can resemble each other by luck. What is believed of their spread is exceeded by
#: the true one in so many of a hundred calibrations.
_UNLUCKY = 0.10


@dataclass(frozen=True, slots=True)
class Calibrated:
    """What was measured, as standard deviations of natural logarithms.

    Attributes:
        between_runs: Between processes, by metric.
        placement: Of one session's luck with memory within a process, which taking turns does not
            cancel.
        processes: Of how many processes this is known.
    """

    between_runs: Mapping[Metric, float]
    placement: float
    processes: int

    @property
    def reckoned_placement(self) -> float:
        """The placement to be reckoned with: more than was seen, as few processes were."""
        return self.placement * _upper_end(self.processes - 1)

    def noise(self) -> Noise:
        """Return what is to be reckoned with: more than was seen, as few processes were."""
        more = _upper_end(self.processes - 1)
        return Noise(
            {metric: seen * more for metric, seen in self.between_runs.items()},
            self.reckoned_placement,
        )


def calibrated(runs: Sequence[Rounds], turns: Sequence[tuple[Rounds, Rounds]]) -> Calibrated:
    """Return how much processes of one engine differ.

    Args:
        runs: Rounds of at least two processes.
        turns: From each process that took some, rounds of two sessions of the engine in turns.

    Raises:
        ValueError: There are fewer than two processes, or none took turns.
    """
    if len(runs) < 2 or not turns:
        raise ValueError("calibration needs two processes, and turns")
    spread = {
        metric: float(np.std([np.median(run.logs[metric]) for run in runs], ddof=1))
        for metric in METRICS
        if all(metric in run.logs for run in runs)
    }
    # Each session has its luck: a difference of two has twice the variance.
    apart = [_apart(pair, "p50") ** 2 for pair in turns]
    return Calibrated(spread, math.sqrt(float(np.mean(apart)) / 2), len(runs))


def _apart(pair: tuple[Rounds, Rounds], metric: Metric) -> float:
    first, second = pair
    difference = second.logs[metric] - first.logs[metric]
    return paired(difference, error_low=0.5, error_high=0.5, floor=0.0).estimate


def _upper_end(degrees: int) -> float:
    """Return by what a standard deviation is multiplied to be exceeded in `_UNLUCKY` cases only.

    The chi-squared distribution, by the approximation of Wilson and Hilferty (1931): within 2% from
    two degrees of freedom on.
    """
    part = 2 / (9 * degrees)
    quantile = degrees * (1 - part + NormalDist().inv_cdf(_UNLUCKY) * math.sqrt(part)) ** 3
    return math.sqrt(degrees / quantile)
