"""Results of benchmarks that never ran."""

from __future__ import annotations

from typing import Any

from pytest_trt.benchmark.result import BenchmarkResult, MetricChange
from pytest_trt.statistics.faster import SpeedupResult
from pytest_trt.terms import Verdict


def change(metric: Any = "p99", outcome: str = "passed", **values: Any) -> MetricChange:
    given = {"limit": 0.1, "change": -0.012, "least": -0.03, "most": 0.02, "step": "screening"}
    return MetricChange(metric, outcome, **{**given, **values})


REGRESSED = change(
    outcome="regressed", change=0.62, least=0.58, most=0.66, step="interleaved", rounds=20
)
INCONCLUSIVE = change(
    outcome="inconclusive", change=0.04, least=-0.1, most=0.2, detectable=0.31, step="one process"
)


def speedup(outcome: str = "passed", ratio: float = 1.9, **values: Any) -> SpeedupResult:
    given: dict[str, Any] = {
        "opponent": "fp32",
        "factor": 1.5,
        "ratio": ratio,
        "least": 0.95 * ratio,
        "most": 1.05 * ratio,
        "enough": 1.55,
        "opponent_ms": 0.31 * ratio,
        "candidate_ms": 0.31,
        "rounds": 20,
        "calls": 70,
        "mode": "graph",
        "ran": "digits.onnx, fp32, sm90, TensorRT 10.16.1",
    }
    return SpeedupResult(outcome=Verdict(outcome), **{**given, **values})


TOO_SLOW = speedup("failed", 1.12)


def benchmark_result(*changes: MetricChange, **values: Any) -> BenchmarkResult:
    given: dict[str, Any] = {
        "test": "tests/test_speed.py::test_speed",
        "test_argument": "tests/test_speed.py::test_speed",
        "model": "digits.onnx",
        "precision": "fp16",
        "arch": "cpu",
        "toolchain": "ONNX Runtime 1.23.0",
        "verdict": Verdict.PASSED,
        "mode": "end_to_end",
        "batch": 8,
        "calls": 70,
        "rounds": 40,
        "changes": changes,
        "candidate": {"p50_ms": 0.31, "p99_ms": 0.42, "throughput_qps": 23456.7},
        "baseline": {"p50_ms": 0.19, "p99_ms": 0.26, "throughput_qps": 41234.5},
        "candidate_rounds": {"p99": (0.41, 0.42, 0.43)},
        "baseline_rounds": {"p99": (0.25, 0.26, 0.26)},
        "recorded": "2026-11-20T10:00:00+00:00",
        "file": "trt_baselines/cpu/tests/test_speed.json",
    }
    return BenchmarkResult(**{**given, **values})
