"""Runs that were taken apart: by how much they differ, and whether that is another speed."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence

from pytest_trt.statistics.bounds import Bounds, unpaired
from pytest_trt.statistics.discount import HOST_CLOCK_ALLOWANCE_LOG
from pytest_trt.statistics.limits import LEAST_RELATIVE
from pytest_trt.statistics.noise import Noise, between_runs
from pytest_trt.statistics.rounds import Rounds, join
from pytest_trt.terms import METRICS, Metric, Mode

#: Probability that a change lies outside its bounds, on each side: 95% lie within both.
SIDE_ERROR = 0.025

#: The same where runs are told to be of another speed, for which stored ones are given up.
_STRAY_ERROR = 0.005


def changes_between(
    old: Sequence[Rounds],
    new: Sequence[Rounds],
    mode: Mode,
    noise: Noise | None = None,
    *,
    error: float = SIDE_ERROR,
) -> dict[Metric, Bounds]:
    """Return by how much each metric that all runs have has changed, the luck of runs counted in.

    Args:
        old: Runs of before, at least one, with as many calls in each round as the new ones.
        new: Runs of now, at least one.
        mode: How both were measured.
        noise: What calibration measured on their machine.
        error: Probability that the change lies outside, on each side.

    Raises:
        ValueError: Rounds differ in their number of calls.
    """
    before, after = join(old), join(new)
    if before.calls != after.calls:
        raise ValueError(f"rounds of {before.calls} and of {after.calls} calls cannot be compared")
    known = noise or Noise()
    return {
        metric: unpaired(
            before.logs[metric],
            after.logs[metric],
            error_low=error,
            error_high=error,
            between_runs=between_runs(old, metric, mode, known, new)
            * math.sqrt(1 / len(old) + 1 / len(new)),
        )
        for metric in METRICS
        if metric in before.logs and metric in after.logs
    }


def drifted_metrics(
    old: Sequence[Rounds],
    new: Sequence[Rounds],
    mode: Mode,
    noise: Noise | None = None,
    *,
    metrics: Collection[Metric] = METRICS,
) -> Mapping[Metric, Bounds]:
    """Return the metrics in which new runs of one engine are surely of another speed.

    Less than the smallest limit there may be is never another speed, or few stored runs could not
    be joined by those that tell how much runs differ. By the host's clock, neither is what a busier
    host explains.

    Args:
        old: The stored runs, see `changes_between`.
        new: The runs that may join them.
        mode: How both were measured.
        noise: What calibration measured on their machine.
        metrics: Which metrics count.
    """
    allowed = HOST_CLOCK_ALLOWANCE_LOG if mode == "end_to_end" else math.log1p(LEAST_RELATIVE)
    found = changes_between(old, new, mode, noise, error=_STRAY_ERROR)
    return {
        metric: bounds
        for metric, bounds in found.items()
        if metric in metrics and (bounds.low > allowed or bounds.high < -allowed)
    }
