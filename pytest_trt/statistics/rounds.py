"""Rounds: consecutive calls, summarised as one number per metric.

Consecutive calls are correlated, so a thousand of them carry less information than a thousand
independent ones: rules that compare calls find differences between two runs of one plan. Rounds
are compared instead.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from pytest_trt.terms import METRICS, Metric

#: Calls of which the slowest lies above the percentile as often as below it: p**m = 1/2, so
#: m = ln(1/2) / ln(p), rounded up. The slowest of a group estimates the percentile without sorting
#: the whole run, and groups are as independent as rounds are.
#: Source: Heidelberger and Lewis, "Quantile estimation in dependent sequences", 1984.
GROUP_CALLS: Mapping[Metric, int] = {"p95": 14, "p99": 70}

#: Calls of one round of a fast engine: one group for P99, five for P95.
ROUND_CALLS = 70

#: With fewer calls, the median of a round is not meaningful.
FEWEST_CALLS = 5


def testable(calls: int) -> tuple[Metric, ...]:
    """Return the metrics that can be judged by rounds of so many calls."""
    if calls < FEWEST_CALLS:
        return ()
    return tuple(metric for metric in METRICS if calls >= GROUP_CALLS.get(metric, 0))


@dataclass(frozen=True, slots=True)
class Rounds:
    """Rounds of one process (or one side of a pair), in the order of measurement.

    Attributes:
        logs: By metric the natural logarithm of each round's number, float64 of shape (rounds,);
            larger is slower. Times are in milliseconds before the logarithm is taken.
        calls: Calls in each round.
    """

    logs: Mapping[Metric, npt.NDArray[np.float64]]
    calls: int

    def __len__(self) -> int:
        return len(next(iter(self.logs.values()), ()))

    @classmethod
    def of_figures(cls, figures: Mapping[str, Sequence[float]], calls: int) -> Rounds:
        """Return the rounds of figures, the reverse of `figures`.

        Args:
            figures: By metric a figure for each round, see `as_figure`.
            calls: Calls in each round.
        """
        return cls(
            {
                metric: np.array([as_log(metric, value) for value in figures[metric]])
                for metric in METRICS
                if metric in figures
            },
            calls,
        )

    def figures(self) -> dict[str, tuple[float, ...]]:
        """Return the rounds as figures by metric: milliseconds, and items per second."""
        return {
            metric: tuple(as_figure(metric, float(log)) for log in logs)
            for metric, logs in self.logs.items()
        }

    def median(self, metric: Metric) -> float:
        """Return the metric itself: milliseconds, for throughput milliseconds per item."""
        return math.exp(float(np.median(self.logs[metric])))


def summarise(
    latencies_ms: Sequence[npt.NDArray[np.floating]],
    walls_s: Sequence[float],
    *,
    items_per_call: float = 1.0,
) -> Rounds:
    """Return the rounds of raw latencies.

    Args:
        latencies_ms: The calls of each round, in order, all of the same number, in milliseconds.
        walls_s: How long each round took from its first call to the end of its last, in seconds.
        items_per_call: Batch items of one call, such as the batch size.

    Raises:
        ValueError: Rounds differ in length, or hold a time that is not positive.
    """
    calls = np.asarray(latencies_ms, dtype=np.float64)
    walls = np.asarray(walls_s, dtype=np.float64)
    if calls.ndim != 2 or walls.shape != calls.shape[:1] or not calls.size:
        raise ValueError(f"expected rounds of equal length, got {calls.shape} and {walls.shape}")
    if not ((calls > 0).all() and (walls > 0).all() and np.isfinite(calls).all()):
        raise ValueError("a latency is not a positive, finite time")
    count = calls.shape[1]
    logs: dict[Metric, npt.NDArray[np.float64]] = {}
    for metric in testable(count):
        if metric == "p50":
            logs[metric] = np.log(np.median(calls, axis=1))
        elif metric == "throughput":
            logs[metric] = np.log(walls * 1e3 / (count * items_per_call))
        else:
            logs[metric] = _slowest(calls, GROUP_CALLS[metric])
    return Rounds(logs, count)


def join(parts: Sequence[Rounds]) -> Rounds:
    """Return the rounds of several parts as one; all must have the same number of calls."""
    if len({part.calls for part in parts}) != 1:
        raise ValueError("rounds of different lengths cannot be joined")
    metrics = [metric for metric in METRICS if all(metric in part.logs for part in parts)]
    return Rounds(
        {metric: np.concatenate([part.logs[metric] for part in parts]) for metric in metrics},
        parts[0].calls,
    )


def _slowest(calls: npt.NDArray[np.float64], size: int) -> npt.NDArray[np.float64]:
    """Return for each round the median, over its groups, of the logarithm of the slowest call."""
    groups = calls.shape[1] // size
    grouped = calls[:, : groups * size].reshape(len(calls), groups, size)
    slowest: npt.NDArray[np.float64] = np.median(np.log(grouped.max(axis=2)), axis=1)
    return slowest


def as_figure(metric: Metric, log: float) -> float:
    """Return a round's logarithm as a figure: milliseconds, or items per second."""
    return 1e3 * math.exp(-log) if metric == "throughput" else math.exp(log)


def as_log(metric: Metric, figure: float) -> float:
    """Return the logarithm of a figure, the reverse of `as_figure`."""
    return math.log(1e3 / figure) if metric == "throughput" else math.log(figure)


def as_change(metric: Metric, log: float) -> float:
    """Return a difference of logarithms as a relative change of the metric itself.

    A slower engine has larger times and a smaller throughput: 0.1 and -0.09.
    """
    return math.expm1(-log) if metric == "throughput" else math.expm1(log)
