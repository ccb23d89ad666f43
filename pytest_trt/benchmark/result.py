"""What one `trt_benchmark` check found, as data that rides on pytest's reports."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True)
class ChangeRecord:
    """One metric against its baseline. Shares are of the metric: slower is more time, less work.

    Attributes:
        metric: "p50", "throughput", "p95" or "p99".
        outcome: "passed", "regressed", "inconclusive" or "not testable".
        limit: The share by which it may be worse.
        change: By which share it changed; None where nothing could be compared.
        least: The bound of the change that is nearest to none; None where there is none.
        most: The bound on the other side.
        detectable: The smallest change for the worse that would have been called; None for none.
        step: What settled it: "screening", "taking turns", "fresh processes", "one process".
        rounds: Rounds of the candidate behind it.
        why: Why it is not testable or inconclusive, where that is not the spread alone.
    """

    metric: str
    outcome: str
    limit: float
    change: float | None = None
    least: float | None = None
    most: float | None = None
    detectable: float | None = None
    step: str = "none"
    rounds: int = 0
    why: str = ""

    @property
    def sure(self) -> float:
        """The share of its limit by which it is surely worse: more than 1 is a regression."""
        least = self.least or 0.0
        return (-least if self.metric == "throughput" else least) / self.limit


@dataclass(frozen=True, slots=True)
class UnlimitedRecord:
    """How a metric without a limit changed, for whoever reads of those that have one.

    Attributes:
        metric: "p50", "throughput", "p95" or "p99".
        change: By which share it changed.
        least: The bound of the change that is nearest to none; None where there is none.
        most: The bound on the other side.
    """

    metric: str
    change: float
    least: float | None
    most: float | None


@dataclass(frozen=True, slots=True)
class LimitRecord:
    """One absolute limit.

    Attributes:
        name: "p50_ms", "p95_ms", "p99_ms" or "min_throughput_qps".
        limit: The figure that is allowed.
        measured: The same figure, measured.
        outcome: "passed", "regressed" (it is not kept), "inconclusive" or "not testable".
        beyond: How many calls (for throughput: rounds) were beyond it.
        of: Of how many.
        why: Why it is not testable.
    """

    name: str
    limit: float
    measured: float
    outcome: str
    beyond: int
    of: int
    why: str = ""


@dataclass(frozen=True, slots=True)
class StructureRecord:
    """One limit of the engine itself.

    Attributes:
        name: "plan_size", "device_memory" or "layers" for one on growth against the baseline;
            "plan_size_bytes", "device_memory_bytes", "max_layers", "build_s" or "cold_start_s".
        limit: The share by which the figure may have grown, or the figure that is allowed.
        outcome: "passed", "regressed", "inconclusive" or "not testable".
        measured: The figure; None where the engine does not tell it.
        stored: The figure of the baseline, where it is held against one.
        why: Why it is inconclusive or not testable.
    """

    name: str
    limit: float
    outcome: str
    measured: float | None
    stored: float | None = None
    why: str = ""


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
    changes: tuple[ChangeRecord, ...] = ()
    limits: tuple[LimitRecord, ...] = ()
    structure: tuple[StructureRecord, ...] = ()
    layer_changes: tuple[str, ...] = ()
    unlimited: tuple[UnlimitedRecord, ...] = ()
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
                "changes": tuple(ChangeRecord(**change) for change in data["changes"]),
                "limits": tuple(LimitRecord(**limit) for limit in data["limits"]),
                "structure": tuple(StructureRecord(**one) for one in data["structure"]),
                "layer_changes": tuple(data["layer_changes"]),
                "unlimited": tuple(UnlimitedRecord(**one) for one in data["unlimited"]),
                "candidate_rounds": rounds("candidate_rounds"),
                "baseline_rounds": rounds("baseline_rounds"),
                "differences": tuple(data["differences"]),
            }
        )
