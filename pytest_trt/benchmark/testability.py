"""Limits that cannot be tested here: calls are too few, or rounds too short.

A limit that somebody wrote and nothing can ever fail is a mistake, and fails the test with what
mends it. A default that does not fit the time of a test is left out, and that is said.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection
from dataclasses import replace

from pytest_trt.baseline.entry import Entry
from pytest_trt.benchmark.result import BenchmarkResult
from pytest_trt.benchmark.rounds import MOST_TIMES
from pytest_trt.report.speed_text import NAMES
from pytest_trt.statistics.decide import FIRST_ROUNDS
from pytest_trt.statistics.limits import Limits
from pytest_trt.statistics.rounds import GROUP_CALLS
from pytest_trt.terms import METRICS, Metric


def too_short(entry: Entry, explicit: Collection[Metric]) -> str | None:
    """Return why a baseline's rounds cannot tell a metric that is asked for, or None.

    Args:
        entry: The baseline.
        explicit: Metrics with a limit that somebody wrote.
    """
    newest = entry.runs[-1]
    for metric in METRICS:
        if metric in explicit and metric not in newest.rounds:
            needs = GROUP_CALLS.get(metric, 1)
            return f"its rounds have {newest.calls} calls, and {NAMES[metric]} takes {needs}"
    return None


def left_out(limits: Limits, told: Collection[Metric]) -> list[Metric]:
    """Return the metrics whose limits are defaults that rounds of this test do not tell."""
    return [
        m for m in METRICS if m in limits.relative and m not in limits.explicit and m not in told
    ]


def why_left_out(metrics: Collection[Metric], calls: int, call_s: float) -> str:
    """Return what is said of defaults that are not tested.

    Args:
        metrics: Their metrics, at least one.
        calls: Calls in each round.
        call_s: Seconds of one call.
    """
    last = max(metrics, key=lambda metric: GROUP_CALLS.get(metric, 1))
    be = "is" if len(metrics) == 1 else "are"
    return (
        f"{named(metrics)} {be} not tested, as rounds of {calls} calls are too short; a limit that "
        f'is named ({last}="10%") gets the {rounds_s(last, call_s):.1f} s that it takes'
    )


def named(metrics: Collection[Metric]) -> str:
    """Return the names of metrics as they are spoken: "P50, P95 and P99"."""
    *others, last = (NAMES[metric] for metric in metrics)
    return " and ".join(filter(None, [", ".join(others), last]))


def rounds_s(metric: Metric, call_s: float) -> float:
    """Return how many seconds the rounds take that a metric needs."""
    return FIRST_ROUNDS * GROUP_CALLS.get(metric, 1) * call_s


def time_for(needed_s: float) -> int:
    """Return the --trt-benchmark-time by which what somebody asked for may take so long."""
    return math.ceil(1.1 * needed_s / MOST_TIMES)  # calls do not always take the same


def all_tested(
    record: BenchmarkResult,
    limits: Limits,
    told: Collection[Metric],
    mend: Callable[[str], tuple[str, str]],
) -> BenchmarkResult:
    """Return a record that fails where a limit that somebody wrote could not be tested.

    Args:
        record: What was found.
        limits: The limits of the test.
        told: Metrics that its rounds tell.
        mend: Returns why one of them could not be, and what mends it.
    """
    names: list[str] = [m for m in METRICS if m in limits.explicit - set(told)]
    names += [one.name for one in record.limits if one.outcome == "not testable"]
    if not names or record.why or any(one.outcome == "regressed" for one in record.changes):
        return record
    why, fix = mend(names[0])
    shown = dict(NAMES).get(names[0], names[0])
    return replace(record, fails=True, why=f"{shown} cannot be tested: {why}", fix=fix)
