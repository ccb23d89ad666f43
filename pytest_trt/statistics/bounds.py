"""Confidence bounds on a change, from ranks: robust to outliers, without assuming a distribution.

A change is a difference of logarithms, estimated after Hodges and Lehmann. All bounds are one-sided
and deterministic.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cache
from statistics import NormalDist

import numpy as np
import numpy.typing as npt

_NORMAL = NormalDist()


@dataclass(frozen=True, slots=True)
class Bounds:
    """A change with its bounds, as differences of natural logarithms; above 0 is slower.

    Attributes:
        low: The change is at least this, except with the allowed probability of error; -inf if
            there are too few rounds.
        estimate: The change itself.
        high: The change is at most this, likewise; inf if there are too few rounds.
    """

    low: float
    estimate: float
    high: float


def paired(
    differences: npt.NDArray[np.float64], *, error_low: float, error_high: float, floor: float
) -> Bounds:
    """Return bounds on the change between two engines that were measured interleaved.

    Wilcoxon's signed-rank test, inverted to an interval: exact for differences that are symmetric
    about the change. `floor` is what interleaving does not cancel, the effect of where each engine
    lies in memory; it is added in quadrature.
    Source: Hollander, Wolfe and Chicken, "Nonparametric Statistical Methods", section 3.3.

    Args:
        differences: Candidate minus baseline by round, shape (rounds,).
        error_low: Probability that the change is below `low`.
        error_high: Probability that it is above `high`.
        floor: Standard deviation of one engine's placement effect, as a logarithm.
    """
    values = np.asarray(differences, dtype=np.float64)
    count = len(values)
    first, second = np.triu_indices(count)
    averages = np.sort((values[first] + values[second]) / 2)
    estimate = float(np.median(averages))
    low = high = math.inf
    if below := _signed_rank_index(count, error_low):
        low = estimate - float(averages[below - 1])
    if above := _signed_rank_index(count, error_high):
        high = float(averages[-above]) - estimate
    spread = math.sqrt(2) * floor
    return Bounds(
        estimate - math.hypot(low, _z(error_low) * spread),
        estimate,
        estimate + math.hypot(high, _z(error_high) * spread),
    )


def unpaired(
    baseline: npt.NDArray[np.float64],
    candidate: npt.NDArray[np.float64],
    *,
    error_low: float,
    error_high: float,
    between_runs: float,
) -> Bounds:
    """Return bounds on the change between rounds of different processes.

    The rank-sum test, inverted to an interval by its normal approximation. Rounds of one process
    have an offset in common that no number of them averages out: `between_runs` is added in
    quadrature.
    Source: Hollander, Wolfe and Chicken, "Nonparametric Statistical Methods", section 4.3.

    Args:
        baseline: Logarithms by round, shape (rounds,).
        candidate: The same of the candidate.
        error_low: Probability that the change is below `low`.
        error_high: Probability that it is above `high`.
        between_runs: Standard deviation of the difference between the processes of one engine.
    """
    differences = np.sort(np.subtract.outer(candidate, baseline).ravel())
    count = len(differences)
    estimate = float(np.median(differences))
    spread = math.sqrt(count * (len(baseline) + len(candidate) + 1) / 12)
    low = high = math.inf
    below = math.floor(count / 2 - _z(error_low) * spread)
    if below >= 1:
        low = estimate - float(differences[below - 1])
    above = math.floor(count / 2 - _z(error_high) * spread)
    if above >= 1:
        high = float(differences[-above]) - estimate
    return Bounds(
        estimate - math.hypot(low, _z(error_low) * between_runs),
        estimate,
        estimate + math.hypot(high, _z(error_high) * between_runs),
    )


def fewest_pairs(error: float) -> int:
    """Return how many rounds it takes for a paired bound to be finite: 2**-rounds <= error."""
    return math.ceil(-math.log2(error))


def _z(error: float) -> float:
    return _NORMAL.inv_cdf(1 - error)


@cache
def _signed_rank_index(count: int, error: float) -> int:
    """Return the largest k with P(W+ <= k - 1) <= error for so many pairs; 0 if there is none."""
    chances = _signed_rank_chances(count)
    return int(np.searchsorted(np.cumsum(chances), error, side="right"))


@cache
def _signed_rank_chances(count: int) -> npt.NDArray[np.float64]:
    """Return the distribution of W+ without a change: each rank counts with probability 1/2."""
    chances = np.zeros(count * (count + 1) // 2 + 1)
    chances[0] = 1.0
    for rank in range(1, count + 1):
        moved = np.zeros_like(chances)
        moved[rank:] = chances[:-rank]
        chances = (chances + moved) / 2
    return chances
