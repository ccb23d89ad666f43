from __future__ import annotations

import math

import numpy as np
import pytest

from pytest_trt.statistics.agreement import changes_between, drifted_metrics
from pytest_trt.statistics.noise import Noise
from pytest_trt.statistics.rounds import Rounds, as_figure
from pytest_trt.terms import METRICS


def rounds(factor: float = 1.0, *, seed: int = 0, spread: float = 0.001, calls: int = 70) -> Rounds:
    random = np.random.default_rng(seed)
    logs = {metric: math.log(factor) + random.normal(0, spread, 20) for metric in METRICS}
    return Rounds(logs, calls)


def test_rounds_are_their_figures() -> None:
    one = rounds(0.5)
    assert Rounds.of_figures(one.figures(), 70).logs["p99"] == pytest.approx(one.logs["p99"])
    assert one.figures()["throughput"][0] == as_figure("throughput", one.logs["throughput"][0])


def test_change_has_bounds_that_hold_it() -> None:
    found = changes_between([rounds()], [rounds(1.1, seed=1)], "graph")
    for bounds in found.values():
        assert bounds.low < math.log(1.1) < bounds.high
        assert bounds.low > 0


def test_run_to_run_variation_is_included() -> None:
    quiet, loud = (
        changes_between([rounds()], [rounds(1.1, seed=1)], "graph", Noise({"p50": noise}))["p50"]
        for noise in (0.001, 0.05)
    )
    assert loud.high - loud.low > 5 * (quiet.high - quiet.low)


def test_rounds_of_other_lengths_are_compared_by_what_does_not_depend_on_it() -> None:
    same, shorter = (
        changes_between([rounds()], [rounds(1.1, seed=1, calls=calls)], "graph")
        for calls in (70, 14)
    )
    assert set(shorter) == {"p50", "throughput"}
    for metric, bounds in shorter.items():
        assert 0 < bounds.low < same[metric].low
        assert bounds.high > same[metric].high


@pytest.mark.parametrize(
    ("mode", "factor", "strayed"),
    [
        ("graph", 1.0, False),
        ("graph", 1.01, False),  # less than any limit may be
        ("graph", 1.1, True),
        ("graph", 0.9, True),
        ("end_to_end", 1.3, False),  # a busier host
        ("end_to_end", 2.0, True),
        ("end_to_end", 0.5, True),
    ],
)
def test_another_speed_is_distinguished_from_run_to_run_variation(mode, factor, strayed) -> None:
    found = drifted_metrics([rounds(), rounds(seed=2)], [rounds(factor, seed=1)], mode)
    assert bool(found) == strayed
    assert set(found) == (set(METRICS) if strayed else set())


def test_only_given_metrics_are_checked_for_drift() -> None:
    assert set(drifted_metrics([rounds()], [rounds(2.0)], "graph", metrics=["p50"])) == {"p50"}
