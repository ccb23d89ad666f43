"""Runs of different processes: by how much they differ, and whether their speed has drifted."""

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

#: The same for drift, because of which stored runs are discarded.
_DRIFT_ERROR = 0.005

#: Metrics that rounds of any length estimate alike, and by how much they may differ, as a natural
#: logarithm of time.
#: Source: rounds of 70, 14 and 5 of the same 3,000 calls, five plans on an H200, enqueued and
#: replayed, both clocks, six processes: P50 differs by up to 0.3%, throughput by 0.7%, P95 by 2.5%.
_ANY_LENGTH: tuple[Metric, ...] = ("p50", "throughput")
ROUND_LENGTH_ALLOWANCE_LOG = math.log(1.02)


def changes_between(
    old: Sequence[Rounds],
    new: Sequence[Rounds],
    mode: Mode,
    noise: Noise | None = None,
    *,
    error: float = SIDE_ERROR,
) -> dict[Metric, Bounds]:
    """Return the change of each metric that all runs have, with the variance between runs.

    An engine that became slower has shorter rounds where it has the same time: then only the
    metrics are compared that do not depend on their length.

    Args:
        old: The old runs, at least one.
        new: The new runs, at least one.
        mode: How both were measured.
        noise: What calibration measured on their machine.
        error: Probability that the change lies outside, on each side.
    """
    before, after = join(old), join(new)
    same_length = before.calls == after.calls
    known, allowed = noise or Noise(), 0.0 if same_length else ROUND_LENGTH_ALLOWANCE_LOG
    found = {
        metric: unpaired(
            before.logs[metric],
            after.logs[metric],
            error_low=error,
            error_high=error,
            between_runs=between_runs(old, metric, mode, known, new)
            * math.sqrt(1 / len(old) + 1 / len(new)),
        )
        for metric in (METRICS if same_length else _ANY_LENGTH)
        if metric in before.logs and metric in after.logs
    }
    return {
        metric: Bounds(one.low - allowed, one.estimate, one.high + allowed)
        for metric, one in found.items()
    }


def drifted_metrics(
    old: Sequence[Rounds],
    new: Sequence[Rounds],
    mode: Mode,
    noise: Noise | None = None,
    *,
    metrics: Collection[Metric] = METRICS,
) -> Mapping[Metric, Bounds]:
    """Return the metrics in which new runs of an engine differ from stored ones with confidence.

    A change below the smallest possible limit is not drift; otherwise a few stored runs could never
    be complemented by others that show how much runs vary. By the host's clock, neither is what the
    load of the host may explain.

    Args:
        old: The stored runs, see `changes_between`.
        new: The runs that may be added to them.
        mode: How both were measured.
        noise: What calibration measured on their machine.
        metrics: Which metrics count.
    """
    allowed = HOST_CLOCK_ALLOWANCE_LOG if mode == "end_to_end" else math.log1p(LEAST_RELATIVE)
    found = changes_between(old, new, mode, noise, error=_DRIFT_ERROR)
    return {
        metric: bounds
        for metric, bounds in found.items()
        if metric in metrics and (bounds.low > allowed or bounds.high < -allowed)
    }
