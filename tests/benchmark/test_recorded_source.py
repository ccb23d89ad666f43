"""Rounds out of calls that somebody else has timed."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_trt.benchmark.recorded_source import recorded_calls, recorded_rounds
from pytest_trt.benchmark.rounds import subsample_evenly
from pytest_trt.statistics.rounds import summarise


@pytest.mark.parametrize(
    ("count", "calls"), [(10_000, 70), (700, 70), (699, 14), (140, 14), (139, 5), (50, 5), (1, 5)]
)
def test_rounds_are_as_long_as_ten_of_them_allow(count: int, calls: int) -> None:
    assert recorded_calls(count) == calls


def test_rounds_hold_consecutive_calls_from_the_first_to_the_last_part() -> None:
    seconds = [0.001 * (call + 1) for call in range(70 * 200)]
    rounds = recorded_rounds(seconds, 70)
    assert len(rounds) == 80
    for one in rounds:
        assert np.allclose(np.diff(one.latencies_ms), 1.0)
        assert one.wall_s == pytest.approx(one.latencies_ms.sum() / 1e3)
    starts = [round(one.latencies_ms[0] - 1) // 70 for one in rounds]
    assert starts[0] == 0
    assert starts[-1] >= 197
    assert max(np.diff(starts)) <= 3


def test_calls_that_make_no_whole_round_make_none() -> None:
    assert recorded_rounds([0.001] * 4, 5) == []


def test_rounds_are_summarised_as_any() -> None:
    taken = recorded_rounds([0.002] * 1400, 70)
    rounds = summarise([one.latencies_ms for one in taken], [one.wall_s for one in taken])
    assert rounds.median("p99") == pytest.approx(2.0)
    assert rounds.median("throughput") == pytest.approx(2.0)


@given(st.integers(1, 500), st.integers(1, 90))
def test_values_are_taken_evenly_and_in_order(count: int, most: int) -> None:
    chosen = subsample_evenly(range(count), most)
    assert len(chosen) == min(count, most)
    assert chosen == sorted(set(chosen))
    gaps = np.diff([*chosen, count])
    assert max(gaps) - min(gaps) <= 1
