"""The decision on task metrics: bounds against formulas of their own, and simulated declines."""

from __future__ import annotations

import math

import numpy as np
import pytest

from pytest_trt.statistics.decline import (
    Decline,
    exact_bounds,
    least_failing_hits,
    least_failing_share,
    of_numbers,
    of_samples,
    of_shares,
    parse_decline_limit,
)
from pytest_trt.terms import Verdict


def tail(successes: int, of: int, chance: float) -> float:
    """P(X <= successes), term by term."""
    return sum(
        math.comb(of, k) * chance**k * (1 - chance) ** (of - k) for k in range(successes + 1)
    )


@pytest.mark.parametrize(("successes", "of"), [(0, 10), (1, 10), (5, 10), (10, 10), (97, 100)])
def test_exact_bounds_leave_exactly_the_error_outside(successes, of):
    low, high = exact_bounds(successes / of, of, 0.05)
    if successes:
        assert 1 - tail(successes - 1, of, low) == pytest.approx(0.05)
    else:
        assert low == 0.0
    if successes < of:
        assert tail(successes, of, high) == pytest.approx(0.05)
    else:
        assert high == 1.0


def test_no_trial_and_every_trial_have_bounds_by_the_rule_of_powers():
    assert exact_bounds(0.0, 50)[1] == pytest.approx(1 - 0.01 ** (1 / 50))
    assert exact_bounds(1.0, 50)[0] == pytest.approx(0.01 ** (1 / 50))


@pytest.mark.parametrize("lower_is_better", [False, True])
@pytest.mark.parametrize(
    ("now", "verdict"),
    [
        (0.981, Verdict.PASSED),  # the same
        (0.99, Verdict.PASSED),  # better
        (0.976, Verdict.PASSED),  # exactly the limit
        (0.974, Verdict.INCONCLUSIVE),
        (0.955, Verdict.FAILED),
    ],
)
def test_share_of_two_thousand(now, verdict, lower_is_better):
    before = 0.981
    if lower_is_better:
        before, now = 1 - before, 1 - now
    found = of_shares(before, 2000, now, 2000, lower_is_better=lower_is_better)
    assert found.judged(0.005) is verdict
    assert found.least is not None
    assert found.least < found.measured


def test_two_of_three_are_no_evidence():
    assert of_shares(1.0, 3, 1 / 3, 3, lower_is_better=False).judged(0.05) is Verdict.INCONCLUSIVE


@pytest.mark.parametrize(
    ("before", "now", "lower_is_better", "verdict"),
    [
        (0.9, 0.9, False, Verdict.PASSED),
        (0.9, 0.89, False, Verdict.PASSED),
        (0.9, 0.889, False, Verdict.FAILED),
        (2.0, 2.02, True, Verdict.FAILED),
        (2.0, 1.0, True, Verdict.PASSED),
        (-3.0, -3.02, False, Verdict.FAILED),
    ],
)
def test_plain_numbers_are_compared_as_they_are(before, now, lower_is_better, verdict):
    assert of_numbers(before, now, lower_is_better=lower_is_better).judged(0.01) is verdict


@pytest.mark.parametrize("lower_is_better", [False, True])
@pytest.mark.parametrize(
    ("flipped", "verdict"),
    [(0, Verdict.PASSED), (10, Verdict.PASSED), (14, Verdict.INCONCLUSIVE), (60, Verdict.FAILED)],
)
def test_samples_are_compared_in_pairs(flipped, verdict, lower_is_better):
    right = (np.random.default_rng(0).random(2000) < 0.98).astype(float)
    wrong = right.copy()
    wrong[np.flatnonzero(right)[:flipped]] = 0.0
    before, now = (1 - right, 1 - wrong) if lower_is_better else (right, wrong)
    found = of_samples(before, now, lower_is_better=lower_is_better)
    assert found.judged(0.005) is verdict
    assert found.measured == pytest.approx(flipped / 2000)


@pytest.mark.parametrize("samples", [1, 2, 10, 20, 32, 64])
def test_a_number_of_lost_hits_has_one_verdict_whichever_they_are(samples):
    """Bootstrap means that were drawn failed 4 of 20 hits for some, and not for others."""
    rng = np.random.default_rng(0)
    before = np.ones(samples)
    for lost in range(samples + 1):
        quantile = next(k for k in range(samples + 1) if tail(k, samples, lost / samples) > 0.01)
        for _ in range(5):
            now = np.ones(samples)
            now[rng.permutation(samples)[:lost]] = 0.0
            found = of_samples(before, now, lower_is_better=False)
            assert found.least == quantile / samples
            assert found == of_samples(now, before, lower_is_better=True)


def test_hits_that_others_gain_count_against_those_that_are_lost():
    before = np.repeat([1.0, 0.0], 100)
    lost, swapped = before.copy(), before.copy()
    lost[:20] = swapped[:20] = 0.0
    swapped[100:110] = 1.0
    one = of_samples(before, lost, lower_is_better=False)
    other = of_samples(before, swapped, lower_is_better=False)
    assert other.measured == pytest.approx(0.05)
    means = np.random.default_rng(0).multinomial(200, [0.1, 0.05, 0.85], 200_000)
    drawn = np.quantile((means[:, 0] - means[:, 1]) / 200, 0.01)
    assert other.least == pytest.approx(drawn, abs=1 / 200)
    assert other.least < 0.0 < one.least


@pytest.mark.parametrize("lower_is_better", [False, True])
@pytest.mark.parametrize("allowed", [0.0, 0.005, 0.05, 0.3])
@pytest.mark.parametrize("samples", [2, 20, 32, 64, 200])
@pytest.mark.parametrize("share", [0.0, 0.5, 1.0])
def test_the_least_decline_that_fails_is_that_of_the_decision(
    samples, share, allowed, lower_is_better
):
    before = np.zeros(samples)
    before[: round(share * samples)] = 1.0
    left = np.flatnonzero(before != lower_is_better)
    of_hits, of_trials = math.inf, math.inf
    for lost in range(len(left), 0, -1):  # the last one that fails is the least
        now = before.copy()
        now[left[:lost]] = float(lower_is_better)
        hits = of_samples(before, now, lower_is_better=lower_is_better)
        trials = of_shares(share, samples, now.mean(), samples, lower_is_better=lower_is_better)
        of_hits = hits.measured if hits.judged(allowed) is Verdict.FAILED else of_hits
        of_trials = trials.measured if trials.judged(allowed) is Verdict.FAILED else of_trials
    found = least_failing_hits(share, samples, allowed, lower_is_better=lower_is_better)
    assert found == pytest.approx(of_hits)
    found = least_failing_share(share, samples, allowed, lower_is_better=lower_is_better)
    assert found == pytest.approx(of_trials)


@pytest.mark.parametrize("lower_is_better", [False, True])
@pytest.mark.parametrize(
    ("lost", "verdict"), [(0.0, Verdict.PASSED), (0.02, Verdict.FAILED), (0.009, Verdict.PASSED)]
)
def test_values_by_sample_are_compared_in_pairs(lost, verdict, lower_is_better):
    """The samples differ from each other by much more than from what they were."""
    rng = np.random.default_rng(0)
    before = rng.uniform(0.2, 0.9, 300)
    differences = lost + rng.normal(0.0, 0.02, 300)
    now = before + differences if lower_is_better else before - differences
    found = of_samples(before, now, lower_is_better=lower_is_better)
    assert found.judged(0.01) is verdict
    assert found.measured == pytest.approx(differences.mean())
    normal = differences.mean() - 2.326 * differences.std() / math.sqrt(300)
    assert found.least == pytest.approx(normal, abs=5e-4)
    alone = of_samples(before, now[:-1], lower_is_better=lower_is_better)  # nothing to pair
    assert alone.least < found.least - 0.02


def test_other_numbers_of_samples_are_compared_without_pairs():
    rng = np.random.default_rng(0)
    before, now = rng.normal(1.0, 0.1, 500), rng.normal(0.9, 0.1, 400)
    found = of_samples(before, now, lower_is_better=False)
    margin = 2.326 * math.hypot(before.std() / math.sqrt(500), now.std() / math.sqrt(400))
    assert found.least == pytest.approx(found.measured - margin, rel=0.05)
    assert found == of_samples(before, now, lower_is_better=False)  # the seed is fixed


def test_unchanged_engines_fail_no_more_often_than_the_error_allows():
    rng = np.random.default_rng(0)
    failures = 0
    for _ in range(300):
        before, now = rng.binomial(500, 0.9, 2) / 500
        failures += of_shares(before, 500, now, 500, lower_is_better=False).judged(0.0) == "failed"
    assert failures <= 6


def test_a_decline_without_a_bound_is_certain():
    assert Decline(0.2).judged(0.1) is Verdict.FAILED
    assert Decline(0.2, 0.05).judged(0.1) is Verdict.INCONCLUSIVE


@pytest.mark.parametrize(
    ("given", "text", "allowed"),
    [
        ("0.5 points", "0.5 points", 0.005),
        (" 1 point ", "1 points", 0.01),
        ("2%", "2%", 0.008),
        ("0.01", "0.01", 0.01),
        ("1e-3", "0.001", 0.001),
        (0.01, "0.01", 0.01),
        (0, "0", 0.0),
    ],
)
def test_limits_are_points_shares_or_numbers(given, text, allowed):
    limit = parse_decline_limit(given)
    assert limit is not None
    assert limit.text == text
    assert limit.allowed(-0.4) == pytest.approx(allowed)


@pytest.mark.parametrize(
    "given", ["", "a", "-1", "1 2", "2 %%", "nan", "1.2.3", "inf", -0.1, math.nan, True, None, []]
)
def test_anything_else_is_no_limit(given):
    assert parse_decline_limit(given) is None
