"""Absolute limits: how many rounds they get."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from pytest_trt.benchmark.evidence import BenchmarkSettings
from pytest_trt.benchmark.gates import absolute_results
from pytest_trt.benchmark.rounds import TimedCalls
from pytest_trt.statistics.limits import Limits
from pytest_trt.terms import Verdict


class Source:
    """Takes rounds of five calls that all take a millisecond, in a time that is given."""

    can_sample, calls = True, 5
    subject = SimpleNamespace(batch=1, mode="graph")

    def __init__(self, round_s: float) -> None:
        self._round_s = round_s
        self.taken: list[TimedCalls] = []
        self.screen(20)

    def screen(self, rounds: int) -> None:
        self.taken += [TimedCalls(np.ones(self.calls), self._round_s)] * rounds

    def latencies(self) -> tuple[Any, Any]:
        return np.ones((len(self.taken), self.calls)), np.full(len(self.taken), self._round_s)

    def hidden(self, name: str) -> str:
        return ""


@pytest.mark.parametrize(
    ("limits", "round_s", "rounds", "verdict"),
    [
        ({"p50_ms": 2.0}, 0.01, 20, Verdict.PASSED),
        ({"p99_ms": 2.0}, 0.01, 120, Verdict.PASSED),  # 400 calls are too few for a P99
        ({"p99_ms": 0.5}, 0.01, 20, Verdict.FAILED),
        ({"p99_ms": 2.0}, 1.0, 80, Verdict.NOT_MEASURED),
    ],
    ids=["few calls", "one look more", "failed at once", "too slow for more"],
)
def test_a_percentile_gets_one_look_more_where_that_is_quick(
    limits: dict[Any, float], round_s: float, rounds: int, verdict: Verdict
) -> None:
    source: Any = Source(round_s)
    (found,) = absolute_results(source, Limits(absolute=limits), BenchmarkSettings(time_s=1.0))
    assert (len(source.taken), found.outcome) == (rounds, verdict)
