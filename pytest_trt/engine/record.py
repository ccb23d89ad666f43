"""What a report holds of an engine: data that JSON can hold."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from pytest_trt.diagnostics import Diagnostic
from pytest_trt.records import RecordError


@dataclass(frozen=True, slots=True, kw_only=True)
class LayerTime:
    """How long one layer of an engine took.

    Attributes:
        name: Its name in the engine.
        average_ms: Mean over all iterations.
        median_ms: Median over all iterations; null where it is not known.
        share: Its share of the time of all layers.
    """

    name: str
    average_ms: float
    median_ms: float | None
    share: float


@dataclass(frozen=True, slots=True)
class EngineRecord:
    """An engine that a test requested. Facts that the backend does not report are null.

    Attributes:
        model: File name of the model.
        precision: The requested precision.
        arch: The architecture that it was built for.
        target: The architecture with the device, such as "sm86 (NVIDIA A10)".
        toolchain: The backend that built it, with its version.
        route: How its precision was reached, such as "builder flags".
        key: Digest of its key in the engine cache.
        cached: Whether it came from the cache.
        build_s: Seconds that its build took, in this run or when it was cached; null for a finished
            plan.
        size_bytes: Size of the plan.
        reason: Why it was built: what differs from the closest cached engine; empty for the first
            engine of a model, precision and architecture.
        runs_here: Whether the machine that built it can run it.
        notes: Notes of the build, such as values that were rounded.
        warnings: Problems that were solved, such as a damaged cache entry.
        threads: Threads of one inference on the embedded backend; 0 means its default.
        device_memory_bytes: Scratch memory of one execution context.
        layers: Number of layers.
        layers_pct: Percentage of its layers by precision ("half", "int8", "float").
        weights_pct: Percentage of its weights by precision.
        left_in_fp32: Of an engine of a reduced precision, number of layers that compute in FP32 by
            kind, the most frequent first.
        load_s: Seconds that loading it took, where it was loaded.
        first_inference_s: Seconds of its first inference, where it ran.
        model_digest: Digest of the model with its external data.
        layer_rows: Its layers, unless they are more than 1,000: kind, precision, and the model's
            nodes in each. Only where a report is written.
        path: The model's file, relative to pytest's root directory if it is below.
        plan: The file of a finished plan, likewise; empty for an engine of the cache.
        plan_digest: Digest of the plan.
        layer_times: How long its layers took, of an imported profile.
        layer_kinds: Number of its layers by kind and precision. Only where a report is written.
    """

    model: str
    precision: str
    arch: str
    target: str
    toolchain: str
    route: str
    key: str
    cached: bool
    build_s: float | None
    size_bytes: int | None
    reason: str
    runs_here: bool
    notes: tuple[str, ...] = ()
    warnings: tuple[Diagnostic, ...] = ()
    threads: int = 0
    device_memory_bytes: int | None = None
    layers: int | None = None
    layers_pct: Mapping[str, float] | None = None
    weights_pct: Mapping[str, float] | None = None
    left_in_fp32: Mapping[str, int] = field(default_factory=dict)
    load_s: float | None = None
    first_inference_s: float | None = None
    model_digest: str = ""
    layer_rows: tuple[tuple[str, ...], ...] = ()
    path: str = ""
    plan: str = ""
    plan_digest: str = ""
    layer_times: tuple[LayerTime, ...] = ()
    layer_kinds: Mapping[str, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for number, row in enumerate(self.layer_rows):
            if len(row) < 2:
                raise RecordError("expected a kind and a precision", "layer_rows", number)
