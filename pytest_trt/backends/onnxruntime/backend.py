"""The embedded backend: ONNX Runtime on the CPU, which needs no GPU.

Its engines are real: the model converted to the requested precision, optimised, and serialised
again as ONNX, so their outputs drift from the reference as reduced precision does. ONNX Runtime has
hardly any FP16 kernels on the CPU, so an fp16 engine computes in FP32 and rounds to FP16 after
every operator (`fp16_rounding`). It rounds at least as often as a GPU engine that fuses operators,
overflows where FP16 does, accumulates in FP32 inside an operator, and is slower than fp32.

Threads do not spin between calls, as they do by default: an engine interleaved with another on two
cores then has at least 0.8 of the throughput that it has alone, instead of 0.4 to 0.7. Its P50
alone is unchanged for calls of 5 and 40 us; for calls of 0.4 ms it rose by 11 to 80% while the
machine was overloaded, and its P99 fell. Source: three runs of tests/benchmarks/interleaved_cpu.py.
"""

from __future__ import annotations

import platform

from pytest_trt.backends.conversion.named import require_operators
from pytest_trt.backends.conversion.ort_messages import first_line
from pytest_trt.backends.conversion.ort_module import load_onnxruntime, onnxruntime_version
from pytest_trt.backends.onnxruntime.plan import as_it_is, load_plan
from pytest_trt.backends.onnxruntime.reference import load_reference
from pytest_trt.backends.onnxruntime.session import OnnxRuntimeSession
from pytest_trt.diagnostics import EngineLoadError, Remedy
from pytest_trt.engine.builder_options import require_options, require_precision
from pytest_trt.engine.loaded_models import Loaded
from pytest_trt.engine.protocols import BackendSession, BuildRequest, BuildResult, Plan
from pytest_trt.engine.spec import EngineSpec, Route, Target, Toolchain
from pytest_trt.onnx.file import OnnxModel
from pytest_trt.onnx.input_roles import require_values
from pytest_trt.workers.limited import start_early


class OnnxRuntimeBackend:
    """Builds and runs engines with ONNX Runtime on the CPU.

    Args:
        threads: Threads of one inference; 0 for the default of ONNX Runtime.
        build_timeout_s: Time limit of one build in seconds; 0 for no limit.
        run_timeout_s: Time limit of one run in seconds; 0 for no limit.
        loaded: Models that were loaded in a child process before.
    """

    name = "onnxruntime"

    def __init__(
        self,
        threads: int = 0,
        *,
        build_timeout_s: float = 0,
        run_timeout_s: float = 0,
        loaded: Loaded | None = None,
    ) -> None:
        self.threads = threads
        self._build_timeout_s = build_timeout_s
        self._run_timeout_s = run_timeout_s
        self._loaded: Loaded = set[str]() if loaded is None else loaded
        self._built: set[str] = set()

    def toolchain(self) -> Toolchain:
        """The version of ONNX Runtime."""
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
            model=model.path.name if spec.precision == "int8" and model.is_quantized else "",
        )
        require_operators(model.path.name, model.op_types, spec.builder_options)
        _require_values(model, spec)
        if as_it_is(model, spec):
            return Route("as the model is")
        from pytest_trt.backends import conversion

        versions = conversion.converter_versions()
        if spec.precision == "fp16":
            versions["rounding"] = conversion.ROUNDING_VERSION
        return Route("converted model", versions, needs_calibration=spec.precision == "int8")

    def build(self, request: BuildRequest) -> BuildResult:
        """Convert, optimise and serialise the model, in a child process.

        Where a level of optimisation breaks a valid model, the engine gets the next lower one.

        Raises:
            ModelError: The model is damaged.
            EngineBuildError: ONNX Runtime refused the model, crashed, or took too long.
        """
        # Most runs find their engines in the cache.
        from pytest_trt.backends.onnxruntime.build_job import build_isolated

        result = build_isolated(request, timeout_s=self._build_timeout_s)
        if as_it_is(request.model, request.spec):
            # The optimiser loaded the model itself. A record costs as much as loading a small one.
            self._built.add(request.model.digest)
        return result

    def cannot_run(self, target: Target) -> str | None:
        """Why engines for this target do not run here: only those for the CPU do."""
        if target.arch == "cpu":
            return None
        return f"ONNX Runtime runs on the CPU, not on {target.arch}"

    def open(
        self, plan: Plan, model: OnnxModel, spec: EngineSpec, target: Target
    ) -> BackendSession:
        """Load a serialised engine, by path: from memory, its weights would be there twice."""
        ort = load_onnxruntime()
        start_early()
        try:
            session = load_plan(plan.stable_path, spec, threads=self.threads)
        except Exception as error:
            raise EngineLoadError(
                f"ONNX Runtime {ort.__version__} cannot load {plan.path}",
                fix=Remedy("rebuild the engine:", commands=("pytest-trt cache clear",)),
                code="TRT322",
                facts={
                    "model": str(model.path),
                    "plan": str(plan.path),
                    "version": str(ort.__version__),
                },
                details=[first_line(error).replace(str(plan.stable_path), str(plan.path))],
            ) from error
        subject = f"the {spec.precision} engine of {model.path.name}"
        return OnnxRuntimeSession(session, subject=subject, timeout_s=self._run_timeout_s)

    def reference(self, model: OnnxModel) -> BackendSession:
        """Load the model itself as the FP32 reference, without graph optimisations.

        So no rewrite of the optimiser is ever compared with itself. A model that was not loaded
        before is first loaded in a child process.

        Raises:
            ModelError: ONNX Runtime refuses the model, crashes, or takes too long.
        """
        if model.digest not in self._built and model.digest not in self._loaded:
            from pytest_trt.backends.onnxruntime.build_job import load_isolated

            load_isolated(model, timeout_s=self._build_timeout_s)
            self._loaded.add(model.digest)
        session = load_reference(model, threads=self.threads)
        subject = f"the FP32 reference of {model.path.name}"
        return OnnxRuntimeSession(session, subject=subject, timeout_s=self._run_timeout_s)


def _require_values(model: OnnxModel, spec: EngineSpec) -> None:
    """Require what TensorRT requires, so that tests written on the CPU also run on a GPU.

    Seeded inputs need it as well: few models accept a shape of zeros and ones.
    """
    holders = [one for one in model.inputs if one.name in model.shape_inputs]
    # TensorRT refuses those of dynamic length anyway, so no values are required for them.
    fixed = [one for one in holders if not one.is_dynamic]
    require_values(fixed, spec.profiles, model.path.name, inputs=model.inputs)
