from __future__ import annotations

import math

import numpy as np
import pytest
from performance.processes import rounds_of

from pytest_trt.performance import Decision, Rounds, Samplers, decide, doubted

LIMITS = {"p50": 0.05, "throughput": 0.05}


def rounds(latency_ms: float, count: int = 20) -> Rounds:
    jitter = np.random.default_rng(count).normal(1, 1e-3, count * 70)
    return rounds_of(latency_ms * jitter)


def decided(slowdown: float, *, turns: bool = False) -> Decision:
    stored, candidate = rounds(1.0), 1.0 + slowdown
    return decide(
        LIMITS,
        [stored],
        Samplers(
            lambda count: rounds(candidate, count),
            (lambda count: (rounds(1.0, count), rounds(candidate, count))) if turns else None,
        ),
        checks=2,
        mode="end_to_end",
    )


def test_same_engine_that_is_slower_is_inconclusive_however_much() -> None:
    assert decided(9.0).outcome == "regressed"
    found = doubted(decided(9.0), same_engine=True)
    assert found.outcome == "inconclusive"
    assert "the machine was slower" in found.found["p50"].why
    assert found.found["p50"].detectable == math.inf


@pytest.mark.parametrize(("slowdown", "outcome"), [(0.3, "inconclusive"), (1.0, "regressed")])
def test_other_engine_must_be_slower_than_hosts_explain(slowdown: float, outcome: str) -> None:
    assert decided(slowdown).outcome == "regressed"
    found = doubted(decided(slowdown), same_engine=False)
    assert found.outcome == outcome


def test_what_turns_have_told_is_not_doubted() -> None:
    found = decided(0.3, turns=True)
    assert found.outcome == "regressed"
    assert doubted(found, same_engine=False) == found


def test_pass_stays_a_pass() -> None:
    found = decided(0.0)
    assert found.outcome == "passed"
    assert doubted(found, same_engine=True) == found
