from __future__ import annotations

import numpy as np
import pytest

from pytest_trt.statistics.absolute import AbsoluteLimitResult, combined, is_settled, judge_absolute


def judged(name, limit, calls, *, rounds=20, items_per_call=1.0, error=1e-4) -> AbsoluteLimitResult:
    latencies = np.asarray(calls, float).reshape(rounds, -1)
    walls = latencies.sum(axis=1) / 1e3
    return judge_absolute(name, limit, latencies, walls, items_per_call=items_per_call, error=error)


QUICK = np.full(1400, 1.0)


def slow_calls(count: int, *, seed: int = 0) -> np.ndarray:
    """1400 calls of a millisecond, so many of them, at random places, of ten."""
    places = np.random.default_rng(seed).choice(1400, count, replace=False)
    calls = QUICK.copy()
    calls[places] = 10.0
    return calls


@pytest.mark.parametrize(
    ("name", "limit", "slow", "outcome"),
    [
        ("p99_ms", 2.0, 0, "passed"),
        ("p99_ms", 2.0, 14, "inconclusive"),
        ("p99_ms", 2.0, 100, "failed"),
        ("p95_ms", 2.0, 20, "passed"),
        ("p95_ms", 2.0, 200, "failed"),
        ("p50_ms", 2.0, 200, "passed"),
        ("p50_ms", 2.0, 1200, "failed"),
    ],
)
def test_calls_beyond_the_limit_are_counted(name, limit, slow: int, outcome: str) -> None:
    found = judged(name, limit, slow_calls(slow))
    assert (found.outcome, found.violations, found.total) == (outcome, slow, 1400)


@pytest.mark.parametrize(("limit", "outcome"), [(1500.0, "passed"), (2500.0, "failed")])
def test_throughput_is_judged_by_rounds(limit: float, outcome: str) -> None:
    found = judged("min_throughput", limit, QUICK, items_per_call=2)
    assert found.outcome == outcome
    assert found.total == 20
    assert found.measured == pytest.approx(2000)


def test_too_few_calls_for_a_percentile_are_not_testable_and_no_pass() -> None:
    found = judged("p99_ms", 2.0, np.full(100, 1.0))
    assert found.outcome == "not testable"
    assert found.why == "100 calls cannot show it, 917 could"
    assert combined([found.outcome]) == "inconclusive"


def test_one_limit_that_is_exceeded_settles_all() -> None:
    passed, open_, beyond = (judged("p99_ms", 2.0, slow_calls(count)) for count in (0, 14, 100))
    assert is_settled([passed, beyond, open_])
    assert is_settled([passed])
    assert not is_settled([passed, open_])
    assert combined([one.outcome for one in (passed, open_, beyond)]) == "failed"
    assert combined([]) == "passed"
