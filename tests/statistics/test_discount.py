from __future__ import annotations

import math

import numpy as np
import pytest
from simulated_processes import rounds_of

from pytest_trt.statistics.decide import Decision, Samplers, decide
from pytest_trt.statistics.discount import (
    discount_host_noise,
    downgrade_unconfirmed,
    exempt_identical_plan,
    with_reason,
)
from pytest_trt.statistics.rounds import Rounds

LIMITS = {"p50": 0.05, "throughput": 0.05}


def rounds(latency_ms: float, count: int = 20) -> Rounds:
    jitter = np.random.default_rng(count).normal(1, 1e-3, count * 70)
    return rounds_of(latency_ms * jitter)


def decided(slowdown: float, *, turns: bool = False, fresh: bool = False) -> Decision:
    stored, candidate = rounds(1.0), 1.0 + slowdown
    return decide(
        LIMITS,
        [stored],
        Samplers(
            lambda count: rounds(candidate, count),
            (lambda count: (rounds(1.0, count), rounds(candidate, count))) if turns else None,
            (lambda count: rounds(candidate, count)) if fresh else None,
        ),
        checks=2,
        mode="end_to_end",
    )


def test_same_engine_that_is_slower_is_inconclusive_however_much() -> None:
    assert decided(9.0).outcome == "regressed"
    found = discount_host_noise(decided(9.0), same_engine=True, same_environment=True)
    assert found.outcome == "inconclusive"
    assert "the machine was slower" in found.metrics["p50"].why
    assert found.metrics["p50"].detectable == math.inf
    busy = discount_host_noise(
        decided(9.0), same_engine=True, same_environment=True, busy="others had them"
    )
    assert busy.metrics["p50"].why.endswith("not the engine: others had them")


def test_same_engine_passes_where_it_is_slower_by_what_hosts_differ() -> None:
    assert decided(0.3).outcome == "regressed"
    assert (
        discount_host_noise(decided(0.3), same_engine=True, same_environment=True).outcome
        == "passed"
    )
    assert exempt_identical_plan(decided(0.3)).outcome == "inconclusive"  # by the device's clock


def found_of_another(decision: Decision) -> Decision:
    return discount_host_noise(decision, same_engine=False, same_environment=True)


@pytest.mark.parametrize(("slowdown", "outcome"), [(0.3, "inconclusive"), (1.0, "regressed")])
def test_other_engine_must_be_slower_than_hosts_explain(slowdown: float, outcome: str) -> None:
    assert decided(slowdown).outcome == "regressed"
    assert found_of_another(decided(slowdown)).outcome == outcome
    other_environment = discount_host_noise(
        decided(slowdown), same_engine=True, same_environment=False
    )
    assert other_environment.outcome == outcome


@pytest.mark.parametrize(("slowdown", "outcome"), [(0.2, "inconclusive"), (0.5, "regressed")])
def test_processes_that_agree_are_discounted_less(slowdown: float, outcome: str) -> None:
    found = decided(slowdown, fresh=True)
    assert {one.step for one in found.metrics.values()} == {"fresh processes"}
    assert found_of_another(found).outcome == outcome
    one_process = found_of_another(decided(slowdown))
    assert one_process.outcome == "inconclusive"


def test_identical_plan_is_exempt_from_stored_rounds_but_not_from_interleaved_ones() -> None:
    found = exempt_identical_plan(decided(9.0, fresh=True))
    assert found.outcome == "inconclusive"
    assert "byte for byte" in found.metrics["p50"].why
    assert exempt_identical_plan(decided(0.0)) == decided(0.0)
    assert exempt_identical_plan(decided(0.3, turns=True)).outcome == "regressed"


def wavering(*, turns: bool = False) -> Decision:
    """Return a decision on rounds that tell nothing: they are twice as long as often as not."""
    stored = rounds(1.0)
    logs = {m: v + np.resize([0.0, math.log(2)], len(v)) for m, v in stored.logs.items()}
    wild = Rounds(logs, stored.calls)
    samplers = Samplers(lambda _: wild, (lambda _: (stored, wild)) if turns else None)
    return decide(LIMITS, [stored], samplers, checks=2, mode="end_to_end")


def test_what_the_baselines_own_engine_leaves_open_has_passed() -> None:
    assert wavering().outcome == "inconclusive"
    for found in (
        exempt_identical_plan(wavering()),
        discount_host_noise(wavering(), same_engine=True, same_environment=True, busy="all of it"),
    ):
        assert found.outcome == "passed"
        assert "the engine is the same as the baseline's" in found.metrics["p50"].why


@pytest.mark.parametrize(("same_engine", "same_environment"), [(False, True), (True, False)])
def test_what_another_engine_or_driver_leaves_open_stays_so(
    same_engine: bool, same_environment: bool
) -> None:
    found = discount_host_noise(
        wavering(), same_engine=same_engine, same_environment=same_environment
    )
    assert found.outcome == "inconclusive"


def test_the_baselines_engine_does_not_pass_without_rounds_to_compare() -> None:
    stored = rounds(1.0)
    alone = decide(
        LIMITS,
        [stored],
        Samplers(lambda _: stored),
        checks=2,
        mode="graph",
        stored_comparable=False,
    )
    assert exempt_identical_plan(alone) == alone
    short = rounds_of(np.ones(20 * 14), 14)
    untestable = decide({"p99": 0.1}, [short], Samplers(lambda _: short), checks=2, mode="graph")
    assert exempt_identical_plan(untestable).metrics["p99"].outcome == "not measured"


def test_overloaded_host_makes_an_engine_slower_only_when_interleaved() -> None:
    found = decided(0.5, fresh=True)
    assert found_of_another(found).outcome == "regressed"
    busy = discount_host_noise(
        found, same_engine=False, same_environment=True, busy="others had the cores"
    )
    assert busy.outcome == "inconclusive"
    assert busy.metrics["p50"].why.endswith(": others had the cores")
    turns = decided(0.5, turns=True)
    assert discount_host_noise(turns, same_engine=False, same_environment=True, busy="x") == turns


def test_only_what_is_open_is_explained() -> None:
    found = with_reason(found_of_another(decided(0.3)), "the engine is gone")
    assert found.metrics["p50"].why.endswith("; the engine is gone")
    passed = decided(0.0)
    assert with_reason(passed, "the engine is gone") == passed


def test_interleaved_results_are_not_discounted() -> None:
    found = decided(0.3, turns=True)
    assert found.outcome == "regressed"
    assert found_of_another(found) == found


@pytest.mark.parametrize("same_environment", [True, False])
def test_pass_of_the_same_engine_stays_a_pass(same_environment: bool) -> None:
    found = decided(0.0)
    assert found.outcome == "passed"
    assert discount_host_noise(found, same_engine=True, same_environment=same_environment) == found


@pytest.mark.parametrize(("slowdown", "outcome"), [(0.0, "inconclusive"), (-0.5, "passed")])
def test_pass_of_another_engine_must_be_more_than_a_busy_hour_then(
    slowdown: float, outcome: str
) -> None:
    assert decided(slowdown).outcome == "passed"
    found = found_of_another(decided(slowdown))
    assert found.outcome == outcome
    one = found.metrics["p50"]
    assert one.bounds is not None
    assert (one.bounds.high < one.limit) == (outcome == "passed")
    assert ("can differ by as much" in one.why) == (outcome == "inconclusive")


def test_regression_that_nothing_can_confirm_is_inconclusive_and_says_why() -> None:
    found = downgrade_unconfirmed(decided(9.0), "one process")
    assert found.outcome == "inconclusive"
    assert found.metrics["p50"].why == "one process"
    assert found.metrics["p50"].detectable == math.inf


def test_pass_needs_no_confirmation() -> None:
    assert downgrade_unconfirmed(decided(0.0), "one process") == decided(0.0)
