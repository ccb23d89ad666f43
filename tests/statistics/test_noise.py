from __future__ import annotations

import math

import numpy as np
import pytest

from pytest_trt.statistics.noise import MeasuredNoise, Noise, between_runs, measured_noise
from pytest_trt.statistics.rounds import Rounds


def run(p50: float, p99: float | None = None) -> Rounds:
    logs = {"p50": np.full(20, p50), "p99": np.full(20, p50 if p99 is None else p99)}
    return Rounds(logs, 70)


def test_one_run_takes_the_assumption_of_its_mode() -> None:
    found = {
        mode: between_runs([run(0.0)], "p50", mode, Noise())
        for mode in ("graph", "enqueue", "end_to_end")
    }
    assert found == {"graph": 0.003, "enqueue": 0.01, "end_to_end": 0.01}


def test_tails_far_from_the_median_are_assumed_to_vary_more() -> None:
    far = between_runs([run(0.0, 0.2)], "p99", "graph", Noise())
    assert far == pytest.approx(math.hypot(0.003, 0.08))
    assert between_runs([run(0.0, 0.2)], "p50", "graph", Noise()) == 0.003


def test_runs_that_differ_more_than_assumed_count() -> None:
    runs = [run(value) for value in (-0.05, 0.0, 0.05)]
    found = between_runs(runs, "p50", "graph", Noise())
    assert found == pytest.approx(math.sqrt((4 * 0.003**2 + 2 * 0.0025) / 6))


def test_processes_of_the_candidate_show_how_much_processes_differ() -> None:
    candidates = [run(value) for value in (0.45, 0.5, 0.55)]
    found = between_runs([run(0.0)], "p50", "graph", Noise(), candidates)
    assert found == pytest.approx(math.sqrt((4 * 0.003**2 + 2 * 0.0025) / 6))
    assert between_runs([run(0.0)], "p50", "graph", Noise(), candidates[:1]) == 0.003


def test_runs_that_agree_by_chance_do_not_count_for_all() -> None:
    alike = between_runs([run(0.0)] * 5, "p50", "enqueue", Noise())
    assert alike == pytest.approx(math.sqrt(0.5) * 0.01)
    assert between_runs([run(0.0)] * 500, "p50", "enqueue", Noise()) == pytest.approx(0.005)


def test_what_calibration_measured_replaces_the_assumption() -> None:
    noise = Noise({"p50": 0.0005, "p99": 0.002})
    assert between_runs([run(0.0)], "p50", "enqueue", noise) == 0.0005
    assert between_runs([run(0.0, 0.3)], "p99", "enqueue", noise) == 0.002


def test_placement_of_a_quick_engine_is_as_coarse_as_the_clock_of_its_device() -> None:
    slow, quick = run(math.log(2.0)), run(math.log(0.04))
    assert Noise().placement_of(slow, "graph") == pytest.approx(0.003, rel=0.01)
    assert Noise().placement_of(quick, "graph") == pytest.approx(math.hypot(0.003, 0.01))
    assert Noise().placement_of(quick, "end_to_end") == 0.003  # the host's clock is a finer one


def test_placement_that_was_measured_is_taken_as_it_is() -> None:
    assert Noise(placement=0.001).placement_of(run(math.log(0.04)), "graph") == 0.001


def process(p50: float) -> Rounds:
    return Rounds({"p50": np.full(20, p50), "throughput": np.full(20, 2 * p50)}, 14)


def test_spread_is_that_of_the_processes_medians() -> None:
    found = measured_noise(
        [process(0.0), process(0.02), process(0.04)],
        [(process(0.0), process(0.01))],
    )
    assert found.between_runs == pytest.approx({"p50": 0.02, "throughput": 0.04})
    assert found.processes == 3


def test_each_of_two_sessions_has_its_own_placement() -> None:
    pairs = [
        (process(0.0), process(0.03)),
        (process(0.01), process(0.0)),
    ]
    found = measured_noise([process(0.0)] * 2, pairs)
    assert found.placement == pytest.approx(math.sqrt((0.03**2 + 0.01**2) / 2 / 2))


@pytest.mark.parametrize(
    ("processes", "more"),
    # sqrt(degrees / chi-squared quantile of 10%), from tables
    [(3, math.sqrt(2 / 0.211)), (6, math.sqrt(5 / 1.610)), (51, math.sqrt(50 / 37.689))],
)
def test_fewer_processes_have_a_larger_upper_bound(processes: int, more: float) -> None:
    noise = MeasuredNoise({"p50": 0.01}, 0.002, processes).noise()
    assert noise.between_runs["p50"] == pytest.approx(0.01 * more, rel=0.04)
    assert noise.placement == pytest.approx(0.002 * more, rel=0.04)


@pytest.mark.parametrize("runs", [0, 1])
def test_one_process_is_not_enough(runs: int) -> None:
    with pytest.raises(ValueError, match="two processes"):
        measured_noise([process(0.0)] * runs, [(process(0.0), process(0.0))])
