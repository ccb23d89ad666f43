from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_trt.statistics.bounds import fewest_pairs, paired, unpaired


def brute_force_chance(differences: np.ndarray) -> float:
    """Return P(W+ >= seen) over all signs, for a few differences without ties."""
    order = np.argsort(np.abs(differences))
    ranks = np.empty(len(differences))
    ranks[order] = np.arange(1, len(differences) + 1)
    seen = ranks[differences > 0].sum()
    count = len(differences)
    signs = (np.arange(2**count)[:, None] >> np.arange(count)) & 1
    return float(((signs * ranks).sum(axis=1) >= seen - 1e-9).mean())


@pytest.mark.parametrize("error", [0.01, 0.05, 0.2])
def test_the_lower_bound_is_above_zero_where_the_exact_signed_rank_test_rejects(error) -> None:
    rejected = 0
    for seed in range(100):
        random = np.random.default_rng(seed)
        differences = random.normal(random.uniform(-0.5, 2), 1, 10)
        bounds = paired(differences, error_low=error, error_high=0.05, floor=0.0)
        expected = brute_force_chance(differences) <= error
        assert (bounds.low > 0) == expected
        rejected += expected
    assert 10 < rejected < 90


def test_too_few_rounds_bound_nothing() -> None:
    assert fewest_pairs(1e-4 / 3) == 15
    bounds = paired(np.full(14, 0.5), error_low=1e-4 / 3, error_high=0.05, floor=0.0)
    assert bounds.low == -math.inf
    assert bounds.high == bounds.estimate == 0.5
    bounds = paired(np.full(15, 0.5), error_low=1e-4 / 3, error_high=0.05, floor=0.0)
    assert bounds.low == 0.5


def test_the_floor_widens_bounds_that_are_tight() -> None:
    tight = paired(np.full(20, 0.05), error_low=1e-4, error_high=0.05, floor=0.0)
    floored = paired(np.full(20, 0.05), error_low=1e-4, error_high=0.05, floor=0.003)
    assert tight.low == tight.high == 0.05
    assert floored.low == pytest.approx(0.05 - 3.719 * math.sqrt(2) * 0.003, abs=1e-5)
    assert floored.high == pytest.approx(0.05 + 1.645 * math.sqrt(2) * 0.003, abs=1e-5)


@given(
    st.lists(st.floats(-1, 1), min_size=6, max_size=40),
    st.floats(-0.5, 0.5),
)
def test_paired_bounds_enclose_the_estimate_and_move_with_the_data(values, shift) -> None:
    options = {"error_low": 0.05, "error_high": 0.05, "floor": 0.003}
    bounds = paired(np.array(values), **options)
    assert bounds.low <= bounds.estimate <= bounds.high
    moved = paired(np.array(values) + shift, **options)
    assert moved.estimate == pytest.approx(bounds.estimate + shift, abs=1e-9)
    assert moved.low == pytest.approx(bounds.low + shift, abs=1e-9)


@given(st.integers(0, 2**32 - 1))
def test_swapping_the_sides_mirrors_the_estimate(seed: int) -> None:
    random = np.random.default_rng(seed)
    a, b = random.normal(0, 1, 12), random.normal(0.3, 1, 20)
    options = {"error_low": 0.05, "error_high": 0.05, "between_runs": 0.01}
    there, back = unpaired(a, b, **options), unpaired(b, a, **options)
    assert there.estimate == pytest.approx(-back.estimate)
    assert there.low <= there.estimate <= there.high


def test_one_wild_round_hardly_moves_the_estimate() -> None:
    base = np.linspace(-0.01, 0.01, 20)
    wild = base.copy()
    wild[3] = 50.0
    options = {"error_low": 0.01, "error_high": 0.05, "between_runs": 0.0}
    assert unpaired(base, wild, **options).estimate == pytest.approx(0, abs=0.003)


def test_variation_between_processes_is_not_averaged_out_by_more_rounds() -> None:
    random = np.random.default_rng(0)
    wide = []
    for count in (20, 500):
        base, candidate = random.normal(0, 0.001, (2, count))
        found = unpaired(base, candidate, error_low=1e-4, error_high=0.05, between_runs=0.01)
        wide.append(found.estimate - found.low)
    assert wide[0] == pytest.approx(wide[1], rel=0.05)


@pytest.mark.parametrize("error", [0.01, 0.05])
def test_unpaired_bounds_err_as_often_as_they_may(error: float) -> None:
    random = np.random.default_rng(7)
    missed = sum(
        unpaired(
            *random.normal(0, 1, (2, 20)), error_low=error, error_high=0.05, between_runs=0
        ).low
        > 0
        for _ in range(3000)
    )
    assert missed / 3000 < error * 1.6
    assert missed > 0
