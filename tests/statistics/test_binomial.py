from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_trt.statistics.binomial import at_most, fewest_calls, slow_calls


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
def test_calls_that_mlperf_asks_for(share, error, slow, calls) -> None:
    assert fewest_calls(share, error, slow=slow) == calls


@given(st.integers(1, 60), st.integers(-1, 61), st.floats(0.01, 0.99))
def test_the_distribution_is_binomial(calls: int, successes: int, chance: float) -> None:
    exact = sum(
        math.comb(calls, k) * chance**k * (1 - chance) ** (calls - k)
        for k in range(min(successes, calls) + 1)
    )
    assert at_most(successes, calls, chance) == pytest.approx(exact, abs=1e-9)


def test_no_slow_call_in_too_few_is_open() -> None:
    assert slow_calls([0] * 6, 70, share=0.99, error=0.01) == "open"
    assert slow_calls([0] * 7, 70, share=0.99, error=0.01) == "within"


def test_clearly_too_many_slow_calls_are_beyond() -> None:
    assert slow_calls([4] * 20, 70, share=0.99, error=1e-4) == "beyond"


def test_as_many_as_the_limit_allows_is_open() -> None:
    # 14 of 1400 is exactly one in a hundred.
    assert slow_calls([1, 0, 1, 1, 0, 1, 1, 0, 1, 1] * 2, 70, share=0.99, error=0.01) == "open"


def test_a_burst_says_less_than_the_same_number_apart() -> None:
    apart = [2] * 20
    burst = [40] + [0] * 19
    assert slow_calls(apart, 70, share=0.99, error=0.01) == "beyond"
    assert slow_calls(burst, 70, share=0.99, error=0.01) == "open"
