"""Latencies against limits: rounds, bounds on a change, the decision."""

from pytest_trt.performance.absolute import Kept, combined, is_settled, judge_absolute
from pytest_trt.performance.alike import SIDE_ERROR, changes_between, strays
from pytest_trt.performance.binomial import fewest_calls, slow_calls
from pytest_trt.performance.bounds import Bounds, paired, unpaired
from pytest_trt.performance.calibrate import Calibrated, calibrated
from pytest_trt.performance.decide import (
    FIRST_ROUNDS,
    ONE_PROCESS_ERROR,
    Decision,
    Found,
    Outcome,
    Samplers,
    Step,
    Unavailable,
    check_error,
    decide,
)
from pytest_trt.performance.detectable import Detectable, by_processes, by_turns
from pytest_trt.performance.doubt import HOST_LUCK, doubted, excused, explained, unconfirmed
from pytest_trt.performance.limits import (
    ABSOLUTES,
    DEFAULT_LIMITS,
    LIMIT_FIELDS,
    Absolute,
    Limits,
    parse_limit_fields,
    parse_limit_lines,
    resolve_limits,
)
from pytest_trt.performance.noise import MODES, Mode, Noise, between_runs
from pytest_trt.performance.rounds import (
    METRICS,
    ROUND_CALLS,
    Metric,
    Rounds,
    as_change,
    as_figure,
    as_log,
    join,
    summarise,
)
from pytest_trt.performance.structure import GROWTHS, Judged, Structural, judge_structure

__all__ = [
    "ABSOLUTES",
    "DEFAULT_LIMITS",
    "FIRST_ROUNDS",
    "GROWTHS",
    "HOST_LUCK",
    "LIMIT_FIELDS",
    "METRICS",
    "MODES",
    "ONE_PROCESS_ERROR",
    "ROUND_CALLS",
    "SIDE_ERROR",
    "Absolute",
    "Bounds",
    "Calibrated",
    "Decision",
    "Detectable",
    "Found",
    "Judged",
    "Kept",
    "Limits",
    "Metric",
    "Mode",
    "Noise",
    "Outcome",
    "Rounds",
    "Samplers",
    "Step",
    "Structural",
    "Unavailable",
    "as_change",
    "as_figure",
    "as_log",
    "between_runs",
    "by_processes",
    "by_turns",
    "calibrated",
    "changes_between",
    "check_error",
    "combined",
    "decide",
    "doubted",
    "excused",
    "explained",
    "fewest_calls",
    "is_settled",
    "join",
    "judge_absolute",
    "judge_structure",
    "paired",
    "parse_limit_fields",
    "parse_limit_lines",
    "resolve_limits",
    "slow_calls",
    "strays",
    "summarise",
    "unconfirmed",
    "unpaired",
]
