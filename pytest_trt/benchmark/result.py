"""The result of one benchmark: figures, the outcome of each limit, and diagnostics."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol, TypeAlias

from pytest_trt.baseline.staged import Staged
from pytest_trt.benchmark.differences import Difference
from pytest_trt.diagnostics import Diagnostic
from pytest_trt.records import from_data, to_data
from pytest_trt.statistics.absolute import AbsoluteLimitResult
from pytest_trt.statistics.faster import SpeedupResult
from pytest_trt.statistics.structure import StructuralLimitResult
from pytest_trt.tensors.spec import Tensors
from pytest_trt.terms import Metric, Mode, Verdict

#: What became of a measurement: "compared" with limits or a baseline, "recorded" as a baseline,
#: "not measured" (nothing was timed, or nothing may be compared), or "disturbed" by other work.
Kind: TypeAlias = Literal["compared", "recorded", "not measured", "disturbed"]

#: What becomes of the baseline.
Update: TypeAlias = Literal["", "first", "added", "replaced", "calibrated", "not recorded"]

#: The metric of each absolute limit.
METRIC_OF: Mapping[str, Metric] = {
    "p50_ms": "p50",
    "p95_ms": "p95",
    "p99_ms": "p99",
    "min_throughput": "throughput",
}

#: The figure of each metric in `BenchmarkResult.candidate` and `baseline`.
FIGURE_OF: Mapping[Metric, str] = {
    "p50": "p50_ms",
    "p95": "p95_ms",
    "p99": "p99_ms",
    "throughput": "throughput_qps",
}

#: Outcomes of limits, the most severe first.
SEVERITY = ("failed", "regressed", "inconclusive", "not measured", "passed")

#: The metric to show where all passed, by preference.
_PREFERRED: tuple[Metric, ...] = ("p99", "p95", "p50", "throughput")


@dataclass(frozen=True, slots=True)
class MetricChange:
    """One metric against its baseline. Shares are of the metric: 0.1 is 10% more.

    Attributes:
        metric: "p50", "throughput", "p95" or "p99".
        outcome: "passed", "regressed", "inconclusive" or "not measured"; empty without a limit.
        limit: The share by which it may be worse; 0 without a limit.
        change: By which share it changed; None where nothing could be compared.
        least: The bound of the change that is nearest to none; None where there is none.
        most: The bound on the other side.
        detectable: The smallest change for the worse that would have been detected, or None.
        step: What settled it: "screening", "interleaved", "fresh processes", "one process".
        rounds: Rounds of the candidate behind it.
        why: Why it is inconclusive, not measured, or passed although its change exceeds the limit.
    """

    metric: Metric
    outcome: str = ""
    limit: float = 0.0
    change: float | None = None
    least: float | None = None
    most: float | None = None
    detectable: float | None = None
    step: str = "none"
    rounds: int = 0
    why: str = ""

    @property
    def worsening(self) -> float:
        """By which share it is worse; negative where it is better, 0 where nothing is known."""
        return _worse(self.metric, self.change)

    @property
    def worst(self) -> float:
        """By which share it may be worse; infinite where there is no bound."""
        ends = (self.least, self.most)
        known = [_worse(self.metric, end) for end in ends if end is not None]
        return max(known) if len(known) == len(ends) else math.inf

    @property
    def certain_use(self) -> float:
        """The share of its limit that it exceeds with confidence: more than 1 is a regression."""
        return _worse(self.metric, self.least) / (self.limit or math.inf)


def _worse(metric: Metric, change: float | None) -> float:
    return (change or 0.0) * (-1 if metric == "throughput" else 1)


@dataclass(frozen=True, slots=True)
class CalibratedMetric:
    """How much one metric varies by itself, and what can be detected.

    Attributes:
        metric: "p50", "throughput", "p95" or "p99".
        between_runs: Standard deviation between processes, as a share; None where rounds are too
            short for the metric.
        limit: The share by which it may be worse.
        interleaved: By look, the smallest change (a share of the metric) that interleaving with the
            baseline engine detects, and the calls of both engines that this takes.
        processes: The same of fresh processes, where the baseline engine is not in the cache.
    """

    metric: Metric
    between_runs: float | None
    limit: float
    interleaved: tuple[tuple[float, int], ...] = ()
    processes: tuple[float, int] | None = None


@dataclass(frozen=True, slots=True)
class CalibrationResult:
    """What `--trt-calibrate` measured for one test.

    Attributes:
        processes: How many processes were measured.
        placement: Standard deviation between two sessions of one process, as a share.
        checks: How many limits the tests of the run have in all.
        rows: Its metrics with a limit.
    """

    processes: int
    placement: float
    checks: int
    rows: tuple[CalibratedMetric, ...]


@dataclass(frozen=True, slots=True)
class BenchmarkResult:
    """What `trt_benchmark(inputs)` measured, and what its limits came to.

    The test fails at its end if `failed` is true; nothing has to be asserted on the result.

    Attributes:
        test: The test's node id.
        model: File name of the model; the test's name where it times another function.
        precision: The engine's precision; empty where no engine is timed.
        arch: What the engine was built for.
        toolchain: What ran it, with its version.
        mode: "graph", "enqueue" or "end_to_end".
        batch: Batch items of one call.
        spec: What was measured, by label: model, precision, shapes, options.
        kind: What became of the measurement, see `Kind`.
        verdict: What all limits together came to.
        calls: Calls in each round; 0 where nothing was measured.
        rounds: Rounds of the candidate in all.
        changes: Each relative limit's result.
        limits: Each absolute limit's result.
        speedups: The result of each opponent of `faster_than`.
        structure: Each result of a limit of the engine itself, such as its size.
        unlimited: How metrics without a relative limit changed.
        limited: The metrics that have one, also where there is no baseline yet.
        candidate: Medians over rounds: p50_ms, p95_ms, p99_ms, and throughput_qps in batch items
            per second.
        baseline: The same of what it was compared with; empty where that is nothing.
        candidate_rounds: By metric a figure for each round, in milliseconds or items per second.
        baseline_rounds: The same of what it was compared with.
        same_engine: Whether it is the engine of the baseline.
        recorded: When the newest stored run was recorded, ISO 8601; empty where there is none.
        accepted_reason: Why it was accepted, as given when it was stored; empty for none.
        differences: What differs between then and now, besides the figures.
        layer_changes: How the layers of the baseline's engine changed, a line each; only of a
            failure, and only where the layers of both are known.
        added_layers: Names of layers that the baseline's engine did not have.
        fp32_layers: Of a reduced engine that is not as fast as `faster_than` requires: how many
            layers are FP32, and how many compute at all; None where none is.
        plan: The plan of that engine in the cache.
        file: The baseline file, relative to pytest's root where it lies below.
        calibration: What `--trt-calibrate` measured.
        update: What becomes of the baseline.
        staged: The new baseline, for the process that writes; None where there is none.
        key: Digest of the engine's key.
        restore: Commands that restore the model's file as it was.
        test_argument: The test as pytest takes it where the run was started.
        update_options: Options that a command for an update has to repeat.
        checks: How many limits the tests of the run have in all: they share the error budget.
        skipped: Why the test is to be skipped; empty where it is not.
        diagnostics: Why it fails (severity "error"), and what else its reader has to know.
    """

    test: str
    model: str
    precision: str
    arch: str
    toolchain: str
    mode: Mode
    batch: int
    spec: Mapping[str, str] = field(default_factory=dict)
    kind: Kind = "compared"
    verdict: Verdict = Verdict.NOT_MEASURED
    calls: int = 0
    rounds: int = 0
    changes: tuple[MetricChange, ...] = ()
    limits: tuple[AbsoluteLimitResult, ...] = ()
    speedups: tuple[SpeedupResult, ...] = ()
    structure: tuple[StructuralLimitResult, ...] = ()
    unlimited: tuple[MetricChange, ...] = ()
    limited: tuple[Metric, ...] = ()
    candidate: Mapping[str, float] = field(default_factory=dict)
    baseline: Mapping[str, float] = field(default_factory=dict)
    candidate_rounds: Mapping[str, tuple[float, ...]] = field(default_factory=dict)
    baseline_rounds: Mapping[str, tuple[float, ...]] = field(default_factory=dict)
    same_engine: bool = False
    recorded: str = ""
    accepted_reason: str = ""
    differences: tuple[Difference, ...] = ()
    layer_changes: tuple[str, ...] = ()
    added_layers: tuple[str, ...] = ()
    fp32_layers: tuple[int, int] | None = None
    plan: str = ""
    file: str = ""
    calibration: CalibrationResult | None = None
    update: Update = ""
    staged: Staged | None = None
    key: str = ""
    restore: tuple[str, ...] = ()
    test_argument: str = ""
    update_options: tuple[str, ...] = ()
    checks: int = 0
    skipped: str = ""
    diagnostics: tuple[Diagnostic, ...] = ()

    @property
    def failed(self) -> bool:
        """Whether it fails the test."""
        return any(one.severity == "error" for one in self.diagnostics)

    @property
    def reason(self) -> Diagnostic | None:
        """The first diagnostic that is an error, else the first warning, else None."""
        for severity in ("error", "warning"):
            for one in self.diagnostics:
                if one.severity == severity:
                    return one
        return None

    @property
    def p50_ms(self) -> float | None:
        """Median over rounds of the rounds' P50, in milliseconds; None where it is not known."""
        return self.candidate.get("p50_ms")

    @property
    def p95_ms(self) -> float | None:
        """The same of P95."""
        return self.candidate.get("p95_ms")

    @property
    def p99_ms(self) -> float | None:
        """The same of P99."""
        return self.candidate.get("p99_ms")

    @property
    def throughput(self) -> float | None:
        """Median over rounds of batch items per second; None where nothing was measured."""
        return self.candidate.get("throughput_qps")

    @property
    def subject(self) -> str:
        """What was measured: "digits.onnx, fp16, sm90"."""
        return ", ".join(filter(None, (self.model, self.precision, self.arch)))

    @property
    def leading_change(self) -> MetricChange | None:
        """The relative limit to report first."""
        open_ = [one for one in self.changes if one.outcome != "passed"]
        if not open_:
            return min(self.changes, key=lambda one: _PREFERRED.index(one.metric), default=None)
        return min(
            open_,
            key=lambda one: (_severity(one.outcome), one.change is None, -one.certain_use),
        )

    @property
    def leading_limit(self) -> AbsoluteLimitResult | None:
        """The absolute limit to report first."""
        return min(self.limits, key=lambda one: _severity(one.outcome), default=None)

    @property
    def leading_speedup(self) -> SpeedupResult | None:
        """The opponent to report first."""
        return min(self.speedups, key=lambda one: _severity(one.outcome), default=None)

    @property
    def leading_engine_limit(self) -> StructuralLimitResult | None:
        """The limit of the engine itself to report before those of speed, or None.

        It comes first only if no limit of speed fails, whatever its failure is called.
        """
        worst = min(self.structure, key=lambda one: _severity(one.outcome), default=None)
        if worst is None or worst.outcome == "passed":
            return None
        speed = (self.leading_change, self.leading_limit, self.leading_speedup)
        others = [one.outcome for one in speed if one is not None]
        if "regressed" in others:
            return None
        return worst if _severity(worst.outcome) < min(map(_severity, others), default=9) else None

    def to_dict(self) -> dict[str, Any]:
        """Return the result as JSON-simple data."""
        data: dict[str, Any] = to_data(self)
        return data

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> BenchmarkResult:
        """Return the result that `to_dict` encoded."""
        return from_data(cls, data)


def _severity(outcome: str) -> int:
    return SEVERITY.index(outcome)


class Benchmark(Protocol):
    """What the `trt_benchmark` fixture gives a test: call it once with the inputs."""

    def __call__(self, inputs: Tensors) -> BenchmarkResult:
        """Measure the engine on these inputs, and judge it by the limits of the test's markers.

        A test whose limits are exceeded fails at its end, so nothing has to be asserted.

        Args:
            inputs: Every input of the model by name, as NumPy arrays in the model's dtypes. They
                are read, never changed.

        Returns:
            Figures in milliseconds and batch items per second, and the verdict on each limit.

        Raises:
            ConfigurationError: It was called before in this test, or after the test.
            InputError: The inputs do not fit the model or its profiles.
            EngineRunError: The engine failed.
            BaselineError: The baseline file cannot be read.
        """
