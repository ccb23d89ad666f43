"""What one `trt_benchmark` check found, as data that rides on pytest's reports."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from pytest_trt.statistics.absolute import AbsoluteLimitResult
from pytest_trt.statistics.structure import StructuralLimitResult


@dataclass(frozen=True, slots=True)
class MetricChange:
    """One metric against its baseline. Shares are of the metric: slower is more time, less work.

    Attributes:
        metric: "p50", "throughput", "p95" or "p99".
        outcome: "passed", "regressed", "inconclusive" or "not testable"; empty without a limit.
        limit: The share by which it may be worse; 0 without a limit.
        change: By which share it changed; None where nothing could be compared.
        least: The bound of the change that is nearest to none; None where there is none.
        most: The bound on the other side.
        detectable: The smallest change for the worse that would have been called; None for none.
        step: What settled it: "screening", "taking turns", "fresh processes", "one process".
        rounds: Rounds of the candidate behind it.
        why: Why it is not testable or inconclusive, where that is not the spread alone.
    """

    metric: str
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
    def certain_use(self) -> float:
        """The share of its limit that it exceeds with confidence: more than 1 is a regression."""
        least = self.least or 0.0
        return (-least if self.metric == "throughput" else least) / (self.limit or math.inf)


@dataclass(frozen=True, slots=True)
class BenchmarkResult:
    """What one test's benchmark found.

    Attributes:
        test: The test's node id.
        model: File name of the model; the test's name where it times something else.
        precision: The engine's precision; empty where no engine is timed.
        arch: What the engine was built for.
        toolchain: What ran it.
        verdict: The verdict's text, see `Verdict`.
        fails: Whether it fails the test.
        mode: "graph", "enqueue" or "end_to_end".
        batch: Units of work of one call.
        calls: Calls in each round; 0 where nothing was measured.
        rounds: Rounds of the candidate in all.
        changes: What each relative limit came to.
        limits: What each absolute limit came to.
        structure: What each limit of the engine itself came to.
        layer_changes: What became of the baseline engine's layers, a line each; only of a
            regression, and only where the layers of both are known.
        unlimited: What turns told of metrics without a relative limit.
        candidate: Figures by name: p50_ms, p95_ms, p99_ms, throughput_qps.
        baseline: The same of what it was compared with; empty where that is nothing.
        candidate_rounds: Figures of each round by metric, in milliseconds or per second.
        baseline_rounds: The same of what it was compared with.
        same_engine: Whether it is the engine of the baseline.
        recorded: When the newest stored run was recorded, ISO 8601; empty where there is none.
        differences: What differs between then and now, a line each.
        file: The baseline file, relative to pytest's root where it lies below.
        noise: What calibration found, see `NoiseRecord`; empty where nothing was calibrated.
        update: What is to be stored: "first", "added", "replaced", "calibrated", or nothing.
        staged: What would be written, for the process that writes; None where nothing could be.
        why: Why there is no comparison.
        fix: What to type, where there is no comparison.
        key: Digest of the engine's key.
        undo: How the model's file is brought back, if that changed; empty where there is none.
    """

    test: str
    model: str
    precision: str
    arch: str
    toolchain: str
    verdict: str
    fails: bool
    mode: str
    batch: int
    calls: int = 0
    rounds: int = 0
    changes: tuple[MetricChange, ...] = ()
    limits: tuple[AbsoluteLimitResult, ...] = ()
    structure: tuple[StructuralLimitResult, ...] = ()
    layer_changes: tuple[str, ...] = ()
    unlimited: tuple[MetricChange, ...] = ()
    candidate: Mapping[str, float] = field(default_factory=dict)
    baseline: Mapping[str, float] = field(default_factory=dict)
    candidate_rounds: Mapping[str, tuple[float, ...]] = field(default_factory=dict)
    baseline_rounds: Mapping[str, tuple[float, ...]] = field(default_factory=dict)
    same_engine: bool = False
    recorded: str = ""
    differences: tuple[str, ...] = ()
    file: str = ""
    noise: Mapping[str, Any] = field(default_factory=dict)
    update: str = ""
    staged: Mapping[str, Any] | None = None
    why: str = ""
    fix: str = ""
    key: str = ""
    git_restore_hint: str = ""

    @property
    def subject(self) -> str:
        """What was measured, for people."""
        precision = f" in {self.precision}" if self.precision else ""
        return f"{self.model}{precision} on {self.arch}"

    def to_dict(self) -> dict[str, Any]:
        """Return the record as JSON-simple data."""
        data = asdict(self)
        for name in ("candidate_rounds", "baseline_rounds"):
            data[name] = {metric: list(values) for metric, values in data[name].items()}
        listed = ("changes", "limits", "structure", "layer_changes", "unlimited", "differences")
        for name in listed:
            data[name] = list(data[name])
        return data

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> BenchmarkResult:
        """Return the record that `to_dict` made this data of."""

        def rounds(name: str) -> dict[str, tuple[float, ...]]:
            return {metric: tuple(values) for metric, values in data[name].items()}

        return cls(
            **{
                **data,
                "changes": tuple(MetricChange(**change) for change in data["changes"]),
                "limits": tuple(AbsoluteLimitResult(**limit) for limit in data["limits"]),
                "structure": tuple(StructuralLimitResult(**one) for one in data["structure"]),
                "layer_changes": tuple(data["layer_changes"]),
                "unlimited": tuple(MetricChange(**one) for one in data["unlimited"]),
                "candidate_rounds": rounds("candidate_rounds"),
                "baseline_rounds": rounds("baseline_rounds"),
                "differences": tuple(data["differences"]),
            }
        )
