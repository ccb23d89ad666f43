"""Every precision that can be built here: its error, speed, size and memory, and the best one."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Protocol, TypeAlias

import numpy.typing as npt

from pytest_trt.accuracy.compare import compare_values
from pytest_trt.accuracy.result import UNMEASURED, merge_runs
from pytest_trt.accuracy.tolerance import Tolerance
from pytest_trt.benchmark.evidence import Machine
from pytest_trt.diagnostics import PytestTrtError
from pytest_trt.engine.build import Engine
from pytest_trt.engine.builder_options import shared_options
from pytest_trt.engine.protocols import Backend, BackendSession, Progress
from pytest_trt.engine.spec import EngineSpec, OptionValue
from pytest_trt.onnx.file import OnnxModel
from pytest_trt.precision.error import OutputError, output_errors, worst_of
from pytest_trt.precision.samples import Sample, profile_of
from pytest_trt.precision.timing import Timing, time_engines
from pytest_trt.tensors.containers import items_of
from pytest_trt.tensors.profiles import Profile
from pytest_trt.tensors.spec import Tensors
from pytest_trt.version import __version__

#: Format of the data. 1: the first.
SUGGESTION_SCHEMA = 1

#: A task metric: from the outputs of all samples and the samples' arrays (inputs, labels) to a
#: number, larger is better.
TaskMetric: TypeAlias = Callable[[Sequence[Tensors], Sequence[Tensors]], float]


class Workplace(Machine, Protocol):
    """What engines are built, run and timed with."""

    def backend(self, arch: str) -> Backend:
        """Return the backend for an architecture."""

    def engine(
        self,
        model: OnnxModel,
        spec: EngineSpec,
        arch: str,
        *,
        calibration: Callable[[], Sequence[Tensors]],
        progress: Progress,
    ) -> Engine:
        """Return an engine, built if it has to be."""

    def session(self, engine: Engine) -> BackendSession:
        """Return a loaded engine."""

    def reference_outputs(self, model: OnnxModel, inputs: Tensors) -> dict[str, npt.NDArray[Any]]:
        """Return what the model computes in FP32."""


@dataclass(frozen=True, slots=True)
class Question:
    """What is to be compared.

    Attributes:
        model: The model.
        arch: The architecture.
        samples: What errors are measured on; the first one is timed.
        source: Where they are from, for the report.
        precisions: The precisions to try.
        tolerance: What outputs may differ by; None for the default of each precision.
        metric: The task metric; None without one.
        metric_name: Its name.
        calibration: What int8 is calibrated on; the samples where it is empty.
        builder_options: Options of the builder; each precision gets those that it has.
        budget_s: Seconds of timed rounds for each engine.
    """

    model: OnnxModel
    arch: str
    samples: Sequence[Sample]
    source: str
    precisions: Sequence[str]
    tolerance: Tolerance | None = None
    metric: TaskMetric | None = None
    metric_name: str = ""
    calibration: Sequence[Sample] = ()
    builder_options: Mapping[str, OptionValue] = field(default_factory=dict)
    budget_s: float = 5.0

    @property
    def profiles(self) -> tuple[Profile, ...]:
        """The profile of all engines."""
        return profile_of(self.model.inputs, self.samples)


@dataclass(frozen=True, slots=True)
class PrecisionResult:
    """One precision.

    Attributes:
        precision: Its name.
        problem: Why there are no figures; empty where there are.
        code: The code of that reason.
        errors: The error of every output of floating-point numbers, the worst of all samples.
        passed: Whether all outputs are within the tolerance; None without figures.
        finite: Whether the tolerance allows every NaN and infinity of the outputs; None without
            figures.
        used: The share of the tolerance that the worst element uses; infinite where elements have
            no difference.
        metric: The task metric.
        p50_ms: Median latency of a call, in milliseconds.
        p99_ms: Its 99th percentile; None where calls take too long to measure it.
        throughput: Batch items per second.
        size_bytes: Size of the plan.
        memory_bytes: Device memory of one execution; None where it is not reported.
        build_s: Seconds of the build, in this run or the one that cached it.
        notes: What the build reports.
        pareto: Whether no other precision is at least as fast and as accurate.
        best: Whether it is the one to choose.
    """

    precision: str
    problem: str = ""
    code: str = ""
    errors: tuple[OutputError, ...] = ()
    passed: bool | None = None
    finite: bool | None = None
    used: float | None = None
    metric: float | None = None
    p50_ms: float | None = None
    p99_ms: float | None = None
    throughput: float | None = None
    size_bytes: int | None = None
    memory_bytes: int | None = None
    build_s: float | None = None
    notes: tuple[str, ...] = ()
    pareto: bool = False
    best: bool = False

    @property
    def error(self) -> float | None:
        """The largest relative error of an output; None without figures."""
        return max((one.relative_l2 for one in self.errors), default=None)


@dataclass(frozen=True, slots=True)
class PrecisionSuggestion:
    """What was measured of every precision.

    Attributes:
        model: File name of the model.
        model_digest: Its digest.
        target: What the engines run on.
        toolchain: What built them.
        source: Where the data is from.
        samples: How many samples there are.
        calibrated_on: What int8 was calibrated on.
        shapes: Shapes of the timed inputs.
        builder_options: Options of the builder.
        tolerance: What outputs may differ by, for the report.
        metric_name: The name of the task metric; empty without one.
        mode: How calls were timed.
        calls: Calls in each round.
        rounds: Rounds of each engine.
        batch: Batch items of one call.
        disturbed: What disturbed the timing; empty if nothing did.
        precisions: The precisions, in the order of the request.
    """

    model: str
    model_digest: str
    target: str
    toolchain: str
    source: str
    samples: int
    calibrated_on: str
    shapes: Mapping[str, tuple[int, ...]]
    tolerance: str
    builder_options: Mapping[str, OptionValue] = field(default_factory=dict)
    metric_name: str = ""
    mode: str = ""
    calls: int = 0
    rounds: int = 0
    batch: int = 1
    disturbed: str = ""
    precisions: tuple[PrecisionResult, ...] = ()
    schema: int = SUGGESTION_SCHEMA
    written_by: str = field(default=f"pytest-trt {__version__}")

    @property
    def best(self) -> PrecisionResult | None:
        """The fastest precision inside the tolerance; None where none is."""
        return next((one for one in self.precisions if one.best), None)


def suggest_precision(
    place: Workplace, question: Question, *, say: Progress = lambda message: None
) -> PrecisionSuggestion:
    """Build every precision, measure its error, and time all of them interleaved.

    Raises:
        ModelError: The FP32 reference cannot be computed.
    """
    references = []
    for number, sample in enumerate(question.samples, 1):
        say(f"FP32 reference of sample {number} of {len(question.samples)}")
        references.append(place.reference_outputs(question.model, sample.inputs))
    _metric(question, references)  # one that fails is no fault of a precision
    engines: dict[str, Engine] = {}
    found: dict[str, PrecisionResult] = {}
    for precision in question.precisions:
        try:
            engine = _built(place, question, precision, say)
            found[precision] = _measured(place, question, engine, references, say)
            if not found[precision].problem:
                engines[precision] = engine
        except PytestTrtError as error:
            why = error.diagnostic
            found[precision] = PrecisionResult(precision, problem=why.message, code=why.code)
    timing = None
    if engines:
        inputs = question.samples[0].inputs
        timing = time_engines(place, engines, inputs, budget_s=question.budget_s, say=say)
        found |= _timed(found, timing)
    slower = timing.is_slower if timing else lambda one, other: False
    return _suggestion(place, question, marked(tuple(found.values()), slower), timing)


def _built(place: Workplace, question: Question, precision: str, say: Progress) -> Engine:
    options = shared_options(question.builder_options, precision)
    spec = EngineSpec(precision, question.profiles, options)
    samples = [one.inputs for one in question.calibration or question.samples]
    return place.engine(
        question.model, spec, question.arch, calibration=lambda: samples, progress=say
    )


def _measured(
    place: Workplace,
    question: Question,
    engine: Engine,
    references: Sequence[Tensors],
    say: Progress,
) -> PrecisionResult:
    precision = engine.spec.precision
    obstacle = place.backend(question.arch).cannot_run(engine.target)
    facts = PrecisionResult(
        precision,
        problem=obstacle or "",
        size_bytes=engine.facts.size_bytes,
        memory_bytes=engine.facts.memory_bytes,
        build_s=engine.facts.build_s,
        notes=engine.notes,
    )
    if obstacle is not None:
        return facts
    say(f"comparing {precision} with FP32")
    specs, session = question.model.outputs, place.session(engine)
    outputs = [session.run(sample.inputs) for sample in question.samples]
    pairs = list(zip(outputs, references, strict=True))
    compared = merge_runs(
        compare_values(
            items_of(actual, specs).tensors,
            items_of(expected, specs).tensors,
            question.tolerance,
            precision=precision,
        )
        for actual, expected in pairs
    )
    if compared.kinds and compared.kinds <= {*UNMEASURED}:
        return replace(facts, problem="nothing was compared: the outputs have no elements")
    errors = worst_of([output_errors(*pair, specs) for pair in pairs])
    passed = compared.passed
    used = compared.used if passed else max(compared.used, 1.0)
    return replace(
        facts,
        errors=errors,
        passed=passed,
        finite="nonfinite" not in compared.kinds,
        used=used,
        metric=_metric(question, outputs),
    )


def _metric(question: Question, outputs: Sequence[Tensors]) -> float | None:
    if question.metric is None:
        return None
    arrays = [{**sample.inputs, **sample.others} for sample in question.samples]
    return float(question.metric(outputs, arrays))


def _timed(found: Mapping[str, PrecisionResult], timing: Timing) -> dict[str, PrecisionResult]:
    return {
        name: replace(
            found[name],
            p50_ms=speed.p50_ms,
            p99_ms=speed.p99_ms,
            throughput=speed.throughput,
        )
        for name, speed in timing.speeds.items()
    }


def marked(
    results: Sequence[PrecisionResult], is_slower: Callable[[str, str], bool]
) -> tuple[PrecisionResult, ...]:
    """Return results with the Pareto front and the best one marked.

    The best is the fastest that passed; of those that are not slower than that one with confidence,
    the most accurate.
    """
    passing = [one for one in results if one.passed and one.p50_ms is not None]
    fastest = min(passing, key=lambda one: one.p50_ms or math.inf, default=None)
    as_fast = [
        one
        for one in passing
        if fastest and (one is fastest or not is_slower(one.precision, fastest.precision))
    ]
    best = min(as_fast, key=lambda one: (one.error or 0.0, one.p50_ms or math.inf), default=None)
    return tuple(replace(one, best=one is best, pareto=_is_pareto(one, results)) for one in results)


def _is_pareto(one: PrecisionResult, results: Sequence[PrecisionResult]) -> bool:
    if one.p50_ms is None or one.error is None:
        return False
    own = (one.error, one.p50_ms)
    others = [
        (other.error, other.p50_ms)
        for other in results
        if other is not one and other.error is not None and other.p50_ms is not None
    ]
    return not any(
        error <= own[0] and p50 <= own[1] and (error, p50) != own for error, p50 in others
    )


def _suggestion(
    place: Workplace,
    question: Question,
    results: tuple[PrecisionResult, ...],
    timing: Timing | None,
) -> PrecisionSuggestion:
    backend, tolerance = place.backend(question.arch), question.tolerance
    calibrated = f"{len(question.calibration)} other samples" if question.calibration else ""
    suggestion = PrecisionSuggestion(
        model=question.model.path.name,
        model_digest=question.model.digest,
        target=str(backend.target(question.arch)),
        toolchain=str(backend.toolchain()),
        source=question.source,
        samples=len(question.samples),
        calibrated_on=calibrated or "the same samples",
        shapes={
            name: tuple(getattr(one, "shape", ()))
            for name, one in question.samples[0].inputs.items()
        },
        tolerance=tolerance.allowance if tolerance else "the default of each precision",
        builder_options=dict(question.builder_options),
        metric_name=question.metric_name,
        precisions=results,
    )
    if timing is None:
        return suggestion
    return replace(
        suggestion,
        mode=timing.mode,
        calls=timing.calls,
        rounds=timing.rounds_each,
        batch=timing.batch,
        disturbed=timing.disturbed,
    )
