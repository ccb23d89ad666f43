"""The embedded backend: ONNX Runtime on the CPU, which needs no GPU.

Its engines are real: the model converted to the requested precision, optimised, and serialised
again as ONNX, so their outputs drift from the reference as reduced precision does. ONNX Runtime has
hardly any FP16 and BF16 kernels on the CPU, so engines in fp16 and bf16 compute in FP32 and round
after every operator (`rounding`). Such an engine rounds at least as often as a GPU engine that
fuses operators, overflows where the result of an operator does, accumulates in FP32 inside it, and
is slower than fp32.

Threads do not spin between calls, as they do by default: an engine interleaved with another on two
cores then has at least 0.8 of the throughput that it has alone, instead of 0.4 to 0.7. Its P50
alone is unchanged for calls of 5 and 40 us; for calls of 0.4 ms it rose by 11 to 80% while the
machine was overloaded, and its P99 fell. Source: three runs of tests/benchmarks/interleaved_cpu.py.
"""

from __future__ import annotations

import platform
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from pytest_trt.backends.conversion.kept import require_effect
from pytest_trt.backends.conversion.named import require_operators
from pytest_trt.backends.conversion.ort_module import onnxruntime_version
from pytest_trt.backends.onnxruntime.first_runs import FirstRunsIsolated
from pytest_trt.backends.onnxruntime.plan import as_it_is, open_plan, require_level
from pytest_trt.backends.onnxruntime.reference import load_reference
from pytest_trt.backends.onnxruntime.session import OnnxRuntimeSession
from pytest_trt.engine.builder_options import require_options, require_precision
from pytest_trt.engine.facts import Timings
from pytest_trt.engine.finished import PlanContent
from pytest_trt.engine.protocols import BuildRequest, BuildResult, Plan
from pytest_trt.engine.run_records import RunRecords
from pytest_trt.engine.spec import CALIBRATED, EngineSpec, Route, Target, Toolchain, brings
from pytest_trt.onnx.file import OnnxModel
from pytest_trt.onnx.input_roles import require_values
from pytest_trt.tensors.spec import Tensors
from pytest_trt.workers.limited import start_early

if TYPE_CHECKING:
    from pytest_trt.backends.onnxruntime.run_job import RunThere, Source


class OnnxRuntimeBackend:
    """Builds and runs engines with ONNX Runtime on the CPU.

    Args:
        threads: Threads of one inference; 0 for the default of ONNX Runtime.
        build_timeout_s: Time limit of one build in seconds; 0 for no limit.
        run_timeout_s: Time limit of one run in seconds; 0 for no limit.
        records: What ran on this machine before.
    """

    name = "onnxruntime"

    def __init__(
        self,
        threads: int = 0,
        *,
        build_timeout_s: float = 0,
        run_timeout_s: float = 0,
        records: RunRecords | None = None,
    ) -> None:
        self.threads = threads
        self._build_timeout_s = build_timeout_s
        self._run_timeout_s = run_timeout_s
        self._records = records or RunRecords()
        self._expected: OnnxModel | None = None

    def toolchain(self) -> Toolchain:
        """The version of ONNX Runtime."""
        return self._toolchain

    @cached_property
    def _toolchain(self) -> Toolchain:
        return Toolchain("ONNX Runtime", {"onnxruntime": onnxruntime_version()})

    def target(self, arch: str) -> Target:
        """The CPU of this machine, by its type."""
        return Target(arch, {"machine": platform.machine()})

    def route(self, model: OnnxModel, spec: EngineSpec) -> Route:
        """Convert the model: ONNX Runtime computes in the types of the model."""
        # Backends of plugins may derive from this one under another name.
        require_precision("onnxruntime", spec.precision)
        require_options(
            spec.builder_options,
            "onnxruntime",
            spec.precision,
            converts=not as_it_is(model, spec),
            model=model.path.name if brings(model, spec.precision) else "",
        )
        require_operators(model.path.name, model.op_types, spec.builder_options)
        require_effect(model, spec)
        require_level(spec)
        _require_values(model, spec)
        if as_it_is(model, spec):
            return Route("as the model is", libraries=model.custom_ops)
        from pytest_trt.backends import conversion

        versions = conversion.converter_versions()
        if spec.precision in ("fp16", "bf16", "mixed"):
            versions["rounding"] = conversion.ROUNDING_VERSION
        return Route(
            "converted model",
            versions,
            needs_calibration=spec.precision in CALIBRATED and not model.is_quantized,
            libraries=model.custom_ops,
        )

    def build(self, request: BuildRequest) -> BuildResult:
        """Convert, optimise and serialise the model, in a child process.

        Where a level of optimisation breaks a valid model, the engine gets the next lower one.

        Raises:
            ModelError: The model is damaged.
            EngineBuildError: ONNX Runtime refused the model, crashed, or took too long.
        """
        # Most runs find their engines in the cache.
        from pytest_trt.backends.onnxruntime.build_job import build_isolated

        return build_isolated(request, threads=self.threads, timeout_s=self._build_timeout_s)

    def cannot_run(self, target: Target) -> str | None:
        """Why engines for this target do not run here: only those for the CPU do."""
        if target.arch == "cpu":
            return None
        return f"ONNX Runtime runs on the CPU, not on {target.arch}"

    def open(
        self, plan: Plan, model: OnnxModel, spec: EngineSpec, target: Target
    ) -> OnnxRuntimeSession:
        """Load a serialised engine, by path: from memory, its weights would be there twice."""
        start_early()
        session = open_plan(
            plan.stable_path,
            spec,
            model=model.path,
            shown=plan.path,
            threads=self.threads,
            custom_ops=model.custom_ops,
        )
        subject = _engine_of(model, spec)
        return OnnxRuntimeSession(session, subject=subject, timeout_s=self._run_timeout_s)

    def check_plan(self, plan: Plan, spec: EngineSpec, target: Target) -> None:
        """Refuse finished plans of other products.

        Raises:
            EngineLoadError: It is one.
        """
        from pytest_trt.backends.onnxruntime.finished import check_plan

        check_plan(plan, str(self.toolchain()))

    def read_plan(
        self, plan: Plan, model: OnnxModel, spec: EngineSpec, target: Target
    ) -> PlanContent:
        """Return the layers of a finished plan, which has no profiles.

        Raises:
            EngineLoadError: It is damaged, stores weights in other files, or has other inputs or
                outputs than the model.
        """
        from pytest_trt.backends.onnxruntime.finished import read_plan

        return read_plan(plan, model, spec)

    def open_later(
        self,
        opened: Callable[[], AbstractContextManager[Plan]],
        model: OnnxModel,
        spec: EngineSpec,
        target: Target,
        *,
        plan_digest: str,
        timings: Timings,
        built: Path | None = None,
    ) -> FirstRunsIsolated:
        """Return an engine that is loaded in the process that runs it; see `first_runs`.

        Args:
            opened: Opens the plan, each time that it is loaded.
            model: What it was built from.
            spec: What was requested.
            target: What it was built for.
            plan_digest: Digest of the plan.
            timings: Receives how long loading and the first run took.
            built: Where the plan is, if it was built by this process a moment ago. The child
                process then runs the session that checked it, if the file is as it loaded it.
        """

        def load() -> OnnxRuntimeSession:
            started_s = time.perf_counter()
            with opened() as plan:
                session = self.open(plan, model, spec, target)
            timings.loaded(time.perf_counter() - started_s)
            return session

        def isolated(inputs: Tensors, held: str) -> RunThere | None:
            if held:
                return self._run_isolated(_engine_of(model, spec), model, inputs, held=held)
            if built is not None:
                run = self._run_isolated(_engine_of(model, spec), model, inputs, built=built)
                if run is not None:
                    return run
            with opened() as plan:
                return self.run_isolated(plan, model, spec, inputs)

        return FirstRunsIsolated(
            load, isolated, self._records.of(model.outputs_digest, plan_digest), timings
        )

    def run_isolated(
        self, plan: Plan, model: OnnxModel, spec: EngineSpec, inputs: Tensors
    ) -> RunThere | None:
        """Load and run an engine once in the child process; see `run_job.run_isolated`."""
        source = replace(
            self._as_it_is(model),
            plan=plan.stable_path,
            shown=plan.path,
            spec=replace(spec, profiles=()),
        )
        return self._run_isolated(_engine_of(model, spec), model, inputs, source)

    def reference(self, model: OnnxModel) -> FirstRunsIsolated:
        """Return the model itself as the FP32 reference, without graph optimisations.

        So no rewrite of the optimiser is ever compared with itself. It is loaded in the process
        that runs it; see `first_runs`. Its first run raises a ModelError where ONNX Runtime refuses
        the model, crashes, or takes too long to load it.
        """
        subject = f"the FP32 reference of {model.path.name}"

        def load() -> OnnxRuntimeSession:
            start_early()
            session = load_reference(model.path, threads=self.threads, custom_ops=model.custom_ops)
            return OnnxRuntimeSession(session, subject=subject, timeout_s=self._run_timeout_s)

        def isolated(inputs: Tensors, held: str) -> RunThere | None:
            source = None if held else self._as_it_is(model)
            return self._run_isolated(subject, model, inputs, source, held)

        ran = self._records.of(model.outputs_digest, "reference")
        return FirstRunsIsolated(load, isolated, ran, Timings())

    @contextmanager
    def expecting(self, reference: OnnxModel) -> Iterator[None]:
        """Let the child process load a reference while this one looks at an engine's outputs.

        Only where the reference runs next: the child process does nothing else meanwhile.

        Args:
            reference: The model whose reference runs after the engine that the block runs.
        """
        self._expected = reference
        try:
            yield
        finally:
            self._expected = None

    def _as_it_is(self, model: OnnxModel) -> Source:
        from pytest_trt.backends.onnxruntime.run_job import Source

        return Source(
            model.path,
            model.size_bytes,
            threads=self.threads,
            custom_ops=model.custom_ops,
            stamps=model.stamps,
        )

    def _run_isolated(
        self,
        subject: str,
        model: OnnxModel,
        inputs: Tensors,
        source: Source | None = None,
        held: str = "",
        built: Path | None = None,
    ) -> RunThere | None:
        # Most runs find what they need in the cache.
        from pytest_trt.backends.onnxruntime.run_job import run_isolated

        expected, self._expected = self._expected, None
        return run_isolated(
            subject,
            model,
            inputs,
            source=source,
            held=held,
            built=built,
            threads=self.threads,
            ahead=None if expected is None else self._as_it_is(expected),
            load_timeout_s=self._build_timeout_s,
            timeout_s=self._run_timeout_s,
        )


def _engine_of(model: OnnxModel, spec: EngineSpec) -> str:
    return f"the {spec.precision} engine of {model.path.name}"


def _require_values(model: OnnxModel, spec: EngineSpec) -> None:
    """Require what TensorRT requires, so that tests written on the CPU also run on a GPU.

    Seeded inputs need it as well: few models accept a shape of zeros and ones.
    """
    holders = [one for one in model.inputs if one.name in model.shape_inputs]
    # TensorRT refuses those of dynamic length anyway, so no values are required for them.
    fixed = [one for one in holders if not one.is_dynamic]
    require_values(fixed, spec.profiles, model.path.name, inputs=model.inputs)
