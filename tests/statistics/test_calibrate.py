from __future__ import annotations

import math

import numpy as np
import pytest

from pytest_trt.statistics.calibrate import Calibrated, calibrated
from pytest_trt.statistics.rounds import Rounds


def run(p50: float) -> Rounds:
    return Rounds({"p50": np.full(20, p50), "throughput": np.full(20, 2 * p50)}, 14)


def test_spread_is_that_of_the_processes_medians() -> None:
    found = calibrated([run(0.0), run(0.02), run(0.04)], [(run(0.0), run(0.01))])
    assert found.between_runs == pytest.approx({"p50": 0.02, "throughput": 0.04})
    assert found.processes == 3


def test_each_of_two_sessions_has_its_luck() -> None:
    turns = [(run(0.0), run(0.03)), (run(0.01), run(0.0))]
    found = calibrated([run(0.0)] * 2, turns)
    assert found.placement == pytest.approx(math.sqrt((0.03**2 + 0.01**2) / 2 / 2))


@pytest.mark.parametrize(
    ("processes", "more"),
    # sqrt(degrees / chi-squared quantile of 10%), from tables
    [(3, math.sqrt(2 / 0.211)), (6, math.sqrt(5 / 1.610)), (51, math.sqrt(50 / 37.689))],
)
def test_fewer_processes_are_believed_less(processes: int, more: float) -> None:
    noise = Calibrated({"p50": 0.01}, 0.002, processes).noise()
    assert noise.between_runs["p50"] == pytest.approx(0.01 * more, rel=0.04)
    assert noise.placement == pytest.approx(0.002 * more, rel=0.04)


@pytest.mark.parametrize("runs", [0, 1])
def test_one_process_tells_nothing(runs: int) -> None:
    with pytest.raises(ValueError, match="two processes"):
        calibrated([run(0.0)] * runs, [(run(0.0), run(0.0))])
