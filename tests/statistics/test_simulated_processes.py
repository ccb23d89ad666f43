"""The simulated machines are as noisy as those that they stand for."""

from __future__ import annotations

import numpy as np
import pytest
from simulated_processes import MACHINES, Process


@pytest.mark.parametrize(
    ("name", "tail_pct", "run_pct"),
    [("quiet", 0.8, 0.31), ("usual", 5.5, 0.99), ("noisy", 20, 2.1), ("throttled", 20, 3.4)],
)
def test_tail_and_spread_between_runs(name: str, tail_pct: float, run_pct: float) -> None:
    runs = [
        np.percentile(
            Process(MACHINES[name], np.random.default_rng(seed)).latencies(1000), (50, 99)
        )
        for seed in range(100)
    ]
    p50, p99 = np.transpose(runs)
    assert (np.median(p99 / p50) - 1) * 100 == pytest.approx(tail_pct, rel=0.25)
    assert np.std(np.log(p50)) * 100 == pytest.approx(run_pct, rel=0.25)
