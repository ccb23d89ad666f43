"""Latencies against limits: rounds, bounds on a change, the decision."""

from pytest_trt.performance.binomial import fewest_calls, slow_calls
from pytest_trt.performance.bounds import Bounds, paired, unpaired
from pytest_trt.performance.decide import (
    Decision,
    Found,
    Outcome,
    Samplers,
    Step,
    check_error,
    decide,
)
from pytest_trt.performance.noise import MODES, Mode, Noise, between_runs
from pytest_trt.performance.rounds import (
    METRICS,
    ROUND_CALLS,
    Metric,
    Rounds,
    join,
    summarise,
)

__all__ = [
    "METRICS",
    "MODES",
    "ROUND_CALLS",
    "Bounds",
    "Decision",
    "Found",
    "Metric",
    "Mode",
    "Noise",
    "Outcome",
    "Rounds",
    "Samplers",
    "Step",
    "between_runs",
    "check_error",
    "decide",
    "fewest_calls",
    "join",
    "paired",
    "slow_calls",
    "summarise",
    "unpaired",
]
