"""Slowdowns that must fail do, whatever the spread; limits that guard nothing are named."""

from __future__ import annotations

import numpy as np
import pytest

from pytest_trt.selftest.proof import Proof
from pytest_trt.selftest.speed import prove_absolute, prove_faster, prove_relative
from pytest_trt.statistics.decide import check_error
from pytest_trt.statistics.faster import judge_faster
from pytest_trt.statistics.noise import Noise
from pytest_trt.statistics.rounds import Rounds, summarise
from pytest_trt.terms import MODES, Mode


def rounds(spread: float, *, seed: int, calls: int = 70, ms: float = 1.0) -> Rounds:
    rng = np.random.default_rng(seed)
    latencies = ms * np.exp(rng.normal(scale=spread, size=(20, calls)))
    return summarise(list(latencies), list(latencies.sum(axis=1) / 1e3))


def proofs(
    limits: dict[str, float], *, spread: float = 0.01, calls: int = 70, mode: Mode = "graph"
) -> list[Proof]:
    stored = [rounds(spread, seed=seed, calls=calls) for seed in range(5)]
    taken = rounds(spread, seed=9, calls=calls)
    return list(prove_relative(limits, stored, taken, checks=10, mode=mode, noise=None))


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("spread", [0.0001, 0.01, 0.1])
def test_limits_fail_beyond_and_pass_within(spread: float, mode: Mode) -> None:
    found = proofs({"p99": 0.1, "throughput": 0.05, "p50": 0.02}, spread=spread, mode=mode)
    assert len(found) == 6
    assert all(proof.holds for proof in found), [str(proof) for proof in found]
    assert [proof.must_fail for proof in found] == [True, False] * 3


def test_a_slowdown_that_must_fail_is_reported() -> None:
    first, *_ = proofs({"p99": 0.1})
    assert first.injected.endswith("% more time")
    assert 10 < float(first.injected.partition("%")[0]) < 15


def test_a_limit_that_allows_several_times_the_time_cannot_fail() -> None:
    (found,) = proofs({"p99": 5.0})
    assert not found.holds
    assert "P99 within 500% passed with twice the time, but must fail" in str(found)


def test_a_metric_that_rounds_do_not_give_cannot_fail() -> None:
    (found,) = proofs({"p99": 0.1}, calls=20)
    assert not found.holds
    assert "rounds of 20 calls are too short" in str(found)


@pytest.mark.parametrize(
    ("limits", "rounds", "holds"),
    [
        ({"p99_ms": 12.0}, 20, [True]),
        ({"min_throughput": 10.0, "p50_ms": 1.0}, 20, [True, True]),
        ({"p50_ms": 12.0}, 2, [False]),
    ],
)
def test_absolute_limits_fail_beyond_them_where_calls_suffice(
    limits: dict[str, float], rounds: int, holds: list[bool]
) -> None:
    latencies = np.exp(np.random.default_rng(0).normal(scale=0.02, size=(rounds, 1)))
    found = prove_absolute(
        limits, latencies, latencies.sum(axis=1) / 1e3, items_per_call=1.0, error=1e-3
    )
    assert [proof.holds for proof in found] == holds


def faster_proofs(factor: float, *, spread: float = 0.01, ratio: float = 1.9) -> list[Proof]:
    base, candidate = rounds(spread, seed=1, ms=ratio), rounds(spread, seed=2)
    found = judge_faster(
        "fp32", factor, base, candidate, error=check_error(10), mode="graph", noise=Noise()
    )
    return list(prove_faster(found, base, candidate, checks=10, noise=Noise()))


@pytest.mark.parametrize("spread", [0.001, 0.1])
@pytest.mark.parametrize("ratio", [0.6, 1.5, 1.9, 40.0])
def test_a_factor_fails_where_it_is_missed_and_not_where_it_is_met(spread, ratio) -> None:
    found = faster_proofs(1.5, spread=spread, ratio=ratio)
    assert [(one.must_fail, one.holds) for one in found] == [(True, True), (False, True)]
    assert found[0].check == "1.5x as fast as fp32"


def test_a_factor_that_the_spread_of_rounds_hides_cannot_fail() -> None:
    (found,) = faster_proofs(1.5, spread=5.0)
    assert not found.holds
    assert "it fails only below" in str(found)
