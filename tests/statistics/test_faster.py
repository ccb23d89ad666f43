"""How many times as fast an engine is as another one: simulated machines, with known factors."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from simulated_processes import MACHINES, Change, samplers

from pytest_trt.statistics.decide import check_error
from pytest_trt.statistics.faster import SpeedupResult, decide_faster
from pytest_trt.statistics.noise import Noise
from pytest_trt.statistics.rounds import Rounds
from pytest_trt.terms import Verdict

#: Limits of a suite.
CHECKS = 800


def decided(ratio: float, factor: float, *, machine: str = "usual", seed: int = 0) -> SpeedupResult:
    """Decide on an engine that is so many times as fast as its opponent."""
    rng = np.random.default_rng(seed)
    taken = samplers(MACHINES[machine], rng, Change(1 / ratio), turns=True)
    assert taken.measure_interleaved is not None
    return decide_faster(
        "fp32", factor, taken.measure_interleaved, checks=CHECKS, mode="graph", noise=Noise()
    )


@pytest.mark.parametrize("machine", ["quiet", "usual", "noisy"])
@pytest.mark.parametrize(
    ("ratio", "outcome"), [(1.9, Verdict.PASSED), (1.2, Verdict.FAILED), (0.5, Verdict.FAILED)]
)
def test_what_is_clear_is_decided_at_the_first_look(machine, ratio, outcome) -> None:
    found = decided(ratio, 1.5, machine=machine)
    assert (found.outcome, found.rounds) == (outcome, 20)
    assert found.least < ratio < found.most
    assert found.ratio == pytest.approx(ratio, rel=0.05)
    assert found.opponent_ms / found.candidate_ms == pytest.approx(ratio, rel=0.05)


@pytest.mark.parametrize("machine", ["usual", "noisy"])
def test_an_engine_at_its_factor_never_fails(machine: str) -> None:
    found = [decided(1.5, 1.5, machine=machine, seed=seed) for seed in range(20)]
    assert Verdict.FAILED not in {one.outcome for one in found}


def test_what_is_too_close_is_inconclusive_after_all_looks() -> None:
    def measure(count: int) -> tuple[Rounds, Rounds]:
        apart = 0.05 * np.resize([1.0, -1.0], count)
        return Rounds({"p50": np.log(3.0) + apart}, 70), Rounds({"p50": np.log(2.0) - apart}, 70)

    found = decide_faster("fp32", 1.5, measure, checks=CHECKS, mode="graph")
    assert (found.outcome, found.rounds) == (Verdict.INCONCLUSIVE, 80)
    assert found.least < 1.5 < found.most
    assert 1.5 < found.enough < 1.7


def test_no_slower_is_a_factor_of_one() -> None:
    assert decided(1.1, 1.0).outcome is Verdict.PASSED
    assert decided(0.9, 1.0).outcome is Verdict.FAILED


def rounds_of(ms: float, calls: int = 70) -> Callable[[int], Rounds]:
    return lambda count: Rounds({"p50": np.full(count, np.log(ms))}, calls)


@pytest.mark.parametrize("engines", [(0.004, 0.003), (0.003, 0.004)])
def test_the_resolution_of_a_devices_clock_is_no_ratio(engines: tuple[float, float]) -> None:
    opponent, candidate = map(rounds_of, engines)

    def decide(mode: Any) -> Verdict:
        measure = lambda count: (opponent(count), candidate(count))  # noqa: E731
        return decide_faster("fp32", 1.0, measure, checks=1, mode=mode).outcome

    assert decide("graph") is Verdict.INCONCLUSIVE
    assert decide("end_to_end") is not Verdict.INCONCLUSIVE


def test_error_is_that_of_one_check_among_all() -> None:
    taken: list[int] = []

    def measure(count: int) -> tuple[Rounds, Rounds]:
        taken.append(count)
        return rounds_of(2.0)(count), rounds_of(1.0)(count)

    assert decide_faster("fp32", 1.5, measure, checks=10**6, mode="graph").outcome == "passed"
    assert taken[0] > 20  # bounds of so small an error take more rounds
    assert check_error(10**6) == 1e-6
