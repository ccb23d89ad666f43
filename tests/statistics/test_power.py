"""A change as large as is told is called about as often as is promised, by the decision itself."""

from __future__ import annotations

import math
from collections.abc import Mapping
from copy import deepcopy

import numpy as np
import pytest
from simulated_processes import MACHINES, Change, Machine, samplers

from pytest_trt.statistics.decide import decide
from pytest_trt.statistics.noise import MeasuredNoise, measured_noise
from pytest_trt.statistics.power import by_interleaving, by_processes
from pytest_trt.statistics.rounds import Rounds
from pytest_trt.terms import Metric

CHECKS = 40


def calibration(
    machine: Machine, random: np.random.Generator
) -> tuple[list[Rounds], list[tuple[Rounds, Rounds]], MeasuredNoise]:
    """Return runs of six processes, turns of five of them, and what they make."""
    runs, turns = [], []
    for _ in range(6):
        process = samplers(machine, random, Change(), turns=True)
        runs.append(process.screen(20))
        assert process.measure_interleaved is not None
        turns.append(process.measure_interleaved(20))
    return runs, turns[1:], measured_noise(runs, turns[1:])


def share_called(
    name: str, limits: Mapping[Metric, float], *, turns: bool, part: float = 1.0
) -> dict[Metric, float]:
    """Return how often a change is called that is so far from the limit to the one that is told.

    All metrics are told of by the same calibration, which takes longer than a decision.
    """
    machine, called, count = MACHINES[name], dict.fromkeys(limits, 0), 40
    for trial in range(count):
        calibrated = np.random.default_rng([trial, turns])
        runs, pairs, measured = calibration(machine, calibrated)
        for metric, limit in limits.items():
            random = deepcopy(calibrated)
            if turns:
                change = by_interleaving(metric, limit, pairs, measured, checks=CHECKS)[-1].change
            else:
                reported = by_processes(
                    metric, limit, runs[-5:], runs, measured, checks=CHECKS, mode="graph"
                )
                assert reported is not None
                change = reported.change
            allowed = -math.log1p(-limit) if metric == "throughput" else math.log1p(limit)
            factor = math.exp(allowed + part * (change - allowed))
            found = decide(
                {metric: limit},
                runs[-5:],
                samplers(machine, random, Change(factor), turns=turns),
                checks=CHECKS,
                mode="graph",
                noise=measured.noise(),
            )
            called[metric] += found.outcome == "regressed"
    return {metric: each / count for metric, each in called.items()}


@pytest.mark.exhaustive
@pytest.mark.parametrize("turns", [True, False])
@pytest.mark.parametrize("name", ["quiet", "usual", "noisy"])
def test_the_printed_change_is_detected_nine_times_in_ten(name: str, turns: bool) -> None:
    shares = share_called(name, {"throughput": 0.05, "p99": 0.1}, turns=turns)
    # Of 40 cases at 0.9, fewer than 31 are seen once in seventy times; tails promise a little more.
    assert min(shares.values()) >= 0.775, shares


@pytest.mark.exhaustive
def test_the_printed_change_is_not_far_larger_than_what_is_detected() -> None:
    shares = share_called("usual", {"throughput": 0.1, "p99": 0.1}, turns=True, part=0.5)
    assert max(shares.values()) <= 0.4, shares


def still(log: float = 0.0) -> Rounds:
    return Rounds({"p50": np.full(20, log)}, 14)


def test_engine_that_always_takes_the_same_time_detects_all_beyond_its_limit() -> None:
    pairs, measured = [(still(), still())] * 2, MeasuredNoise({"p50": 0.0}, 0.0, 3)
    for one in by_interleaving("p50", 0.05, pairs, measured, checks=1):
        assert one.change == pytest.approx(math.log1p(0.05))
    reported = by_processes(
        "p50", 0.05, [still()], [still()] * 3, measured, checks=1, mode="end_to_end"
    )
    assert reported is not None
    assert reported.change == pytest.approx(math.log1p(0.05) + math.log(1.25))


def test_calls_are_those_of_both_engines() -> None:
    pairs, measured = [(still(), still())] * 2, MeasuredNoise({"p50": 0.0}, 0.0, 3)
    found = by_interleaving("p50", 0.05, pairs, measured, checks=1)
    assert [one.calls for one in found] == [2 * 14 * rounds for rounds in (20, 40, 80)]


def test_more_checks_detect_less() -> None:
    _, pairs, measured = calibration(MACHINES["usual"], np.random.default_rng(1))
    few, many = (
        by_interleaving("p50", 0.05, pairs, measured, checks=checks)[-1] for checks in (1, 10_000)
    )
    assert few.change < many.change


def test_metric_that_rounds_are_too_short_for_is_not_testable() -> None:
    pairs, measured = [(still(), still())] * 2, MeasuredNoise({"p50": 0.0}, 0.0, 3)
    assert by_interleaving("p99", 0.1, pairs, measured, checks=1) == ()
    runs = [still()] * 3
    assert by_processes("p99", 0.1, runs, runs, measured, checks=1, mode="graph") is None
