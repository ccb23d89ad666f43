from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_trt.statistics.absolute import (
    AbsoluteLimitResult,
    at_most,
    combined,
    fewest_calls,
    is_settled,
    judge_absolute,
    judge_violations,
)
from pytest_trt.terms import Verdict


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


def test_too_few_calls_for_a_percentile_are_not_testable_and_do_not_pass() -> None:
    found = judged("p99_ms", 2.0, np.full(100, 1.0))
    assert found.outcome == "not measured"
    assert found.why == "100 calls are too few, it takes 917"
    assert combined([found.outcome]) == "inconclusive"


def test_one_limit_that_is_exceeded_settles_all() -> None:
    passed, open_, beyond = (judged("p99_ms", 2.0, slow_calls(count)) for count in (0, 14, 100))
    assert is_settled([passed, beyond, open_])
    assert is_settled([passed])
    assert not is_settled([passed, open_])
    assert combined([one.outcome for one in (passed, open_, beyond)]) == "failed"
    assert combined([]) == "passed"


@pytest.mark.parametrize(
    ("share", "error", "slow", "calls"),
    [
        (0.99, 0.01, 0, 459),
        (0.90, 0.01, 1, 64),
        (0.99, 0.01, 1, 662),
        (0.50, 1e-2, 0, 7),
        (0.95, 1e-3, 0, 135),
        (0.99, 1e-5, 0, 1146),
        (0.999, 1e-2, 0, 4603),
    ],
)
def test_calls_that_mlperf_requires(share, error, slow, calls) -> None:
    assert fewest_calls(share, error, slow=slow) == calls


@given(st.integers(1, 60), st.integers(-1, 61), st.floats(0.01, 0.99))
def test_the_distribution_is_binomial(calls: int, successes: int, chance: float) -> None:
    exact = sum(
        math.comb(calls, k) * chance**k * (1 - chance) ** (calls - k)
        for k in range(min(successes, calls) + 1)
    )
    assert at_most(successes, calls, chance) == pytest.approx(exact, abs=1e-9)


def test_no_slow_call_in_too_few_is_inconclusive() -> None:
    assert judge_violations([0] * 6, 70, share=0.99, error=0.01) is Verdict.INCONCLUSIVE
    assert judge_violations([0] * 7, 70, share=0.99, error=0.01) is Verdict.PASSED


def test_clearly_too_many_slow_calls_fail() -> None:
    assert judge_violations([4] * 20, 70, share=0.99, error=1e-4) is Verdict.FAILED


def test_as_many_as_the_limit_allows_is_inconclusive() -> None:
    # 14 of 1400 is exactly one in a hundred.
    assert (
        judge_violations([1, 0, 1, 1, 0, 1, 1, 0, 1, 1] * 2, 70, share=0.99, error=0.01)
        is Verdict.INCONCLUSIVE
    )


def test_a_burst_says_less_than_the_same_number_apart() -> None:
    apart = [2] * 20
    burst = [40] + [0] * 19
    assert judge_violations(apart, 70, share=0.99, error=0.01) is Verdict.FAILED
    assert judge_violations(burst, 70, share=0.99, error=0.01) is Verdict.INCONCLUSIVE
