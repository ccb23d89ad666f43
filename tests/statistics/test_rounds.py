from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_trt.statistics.rounds import ROUND_CALLS, join, summarise
from pytest_trt.statistics.rounds import testable as metrics_told
from pytest_trt.terms import METRICS


def rounds(*latencies_ms, items_per_call=1.0):
    calls = [np.asarray(one, float) for one in latencies_ms]
    return summarise(
        calls, [float(one.sum()) / 1e3 for one in calls], items_per_call=items_per_call
    )


def test_every_metric_of_a_constant_latency_is_that_latency() -> None:
    found = rounds([2.0] * ROUND_CALLS, [2.0] * ROUND_CALLS)
    assert len(found) == 2
    for metric in METRICS:
        assert found.median(metric) == pytest.approx(2.0)


def test_throughput_is_wall_time_by_unit_of_work() -> None:
    # Ten calls in 50 ms, eight images each: 0.625 ms an image, whatever the calls themselves took.
    found = summarise([np.full(10, 3.0)], [0.05], items_per_call=8)
    assert found.median("throughput") == pytest.approx(0.625)
    assert found.median("p50") == pytest.approx(3.0)


def test_one_slow_call_moves_the_tail_alone() -> None:
    calls = [1.0] * ROUND_CALLS
    calls[13] = 9.0
    found = rounds(calls)
    assert found.median("p50") == pytest.approx(1.0)
    assert found.median("p95") == pytest.approx(1.0)  # the median over five groups
    assert found.median("p99") == pytest.approx(9.0)


def test_slow_calls_in_most_groups_move_p95() -> None:
    calls = np.ones(ROUND_CALLS)
    calls[[0, 14, 28]] = 4.0
    assert rounds(calls).median("p95") == pytest.approx(4.0)


@pytest.mark.parametrize(
    ("calls", "expected"),
    [
        (4, ()),
        (5, ("p50", "throughput")),
        (13, ("p50", "throughput")),
        (14, ("p50", "throughput", "p95")),
        (69, ("p50", "throughput", "p95")),
        (70, METRICS),
    ],
)
def test_short_rounds_give_fewer_metrics(calls: int, expected: tuple[str, ...]) -> None:
    assert metrics_told(calls) == expected
    if calls >= 5:
        assert tuple(rounds([1.0] * calls).logs) == expected


def test_half_of_all_groups_have_a_call_above_the_percentile() -> None:
    # Why groups have the size they have: the slowest of them is the percentile's median estimate.
    assert math.ceil(math.log(0.5) / math.log(0.95)) == 14
    assert math.ceil(math.log(0.5) / math.log(0.99)) in (69, 70)


@pytest.mark.parametrize("bad", [0.0, -1.0, math.nan, math.inf])
def test_anything_but_a_time_is_refused(bad: float) -> None:
    with pytest.raises(ValueError, match="not a positive, finite time"):
        summarise([np.array([1.0, bad, 1.0, 1.0, 1.0])], [0.005])


def test_rounds_of_different_lengths_are_refused() -> None:
    with pytest.raises(ValueError, match="equal length"):
        summarise([np.ones(70)], [1.0, 1.0])
    with pytest.raises(ValueError, match="different lengths"):
        join([rounds([1.0] * 70), rounds([1.0] * 14)])


def test_joined_rounds_keep_their_order() -> None:
    joined = join([rounds([1.0] * 5), rounds([2.0] * 5, [3.0] * 5)])
    np.testing.assert_allclose(np.exp(joined.logs["p50"]), [1, 2, 3])


@given(st.floats(0.01, 1e4), st.floats(0.5, 2.0))
def test_scaling_all_calls_shifts_every_log(base: float, factor: float) -> None:
    calls = base * np.linspace(1, 1.3, ROUND_CALLS)
    first, second = rounds(calls), rounds(calls * factor)
    for metric in METRICS:
        difference = second.logs[metric][0] - first.logs[metric][0]
        assert difference == pytest.approx(math.log(factor), abs=1e-9)
