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
from pathlib import Path
from typing import Any

from pytest_trt.backends.conversion.named import require_operators
from pytest_trt.backends.conversion.ort_messages import (
    SEVERITY_FATAL,
    first_line,
    refusal,
)
from pytest_trt.backends.conversion.ort_module import load_onnxruntime, onnxruntime_version
from pytest_trt.backends.onnxruntime.plan import (
    CONVERTED_NAME,
    OPTIMIZATION_LEVELS,
    converted_files,
    load_plan,
    write_plan,
)
from pytest_trt.backends.onnxruntime.session import OnnxRuntimeSession
from pytest_trt.backends.onnxruntime.values import require_readable
from pytest_trt.diagnostics import (
    EngineLoadError,
    ModelError,
    Remedy,
)
from pytest_trt.engine.builder_options import (
    BUILDER_OPTIONS,
    require_options,
    require_precision,
)
from pytest_trt.engine.facts import Layer
from pytest_trt.engine.protocols import BackendSession, BuildRequest, BuildResult, Plan
from pytest_trt.engine.spec import EngineSpec, Route, Target, Toolchain
from pytest_trt.onnx.file import OnnxModel, read_node_names
from pytest_trt.onnx.input_roles import require_values
from pytest_trt.wording import count

_NO_REFERENCE = "ONNX Runtime computes the FP32 reference, so there is nothing to compare with"

#: The operator into which ONNX Runtime fuses a MatMul of block-quantised weights from the level
#: 'extended' on. It also quantises the activations.
#: Source: ONNX Runtime, onnxruntime_session_options_config_keys.h,
#: kOrtSessionOptionsQDQMatMulNBitsAccuracyLevel, default 4.
_FUSED_BLOCK_MATMUL = "MatMulNBits"


class OnnxRuntimeBackend:
    """Builds and runs engines with ONNX Runtime on the CPU.

    Args:
        threads: Threads of one inference; 0 for the default of ONNX Runtime.
    """

    name = "onnxruntime"

    def __init__(self, threads: int = 0) -> None:
        self.threads = threads

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
            converts=not _as_it_is(model, spec),
            model=model.path.name if spec.precision == "int8" and model.is_quantized else "",
        )
        require_operators(model.path.name, model.op_types, spec.builder_options)
        _require_values(model, spec)
        if _as_it_is(model, spec):
            return Route("as the model is")
        from pytest_trt.backends import conversion

        versions = conversion.converter_versions()
        if spec.precision == "fp16":
            versions["rounding"] = conversion.ROUNDING_VERSION
        return Route("converted model", versions, needs_calibration=spec.precision == "int8")

    def build(self, request: BuildRequest) -> BuildResult:
        """Convert, optimise and serialise the model.

        Where a level of optimisation breaks a valid model, the engine gets the next lower one.
        """
        model = request.model
        source, notes, layers = _source(request)
        request.progress(f"optimising {model.path.name}")
        plan, log = write_plan(source, request, self._session_options)
        for left_over in converted_files(request.directory):
            left_over.unlink()
        layers = layers or _layers(plan, model)
        notes += _fusion_notes(model, layers)
        return BuildResult(plan_name=plan.name, log_tail=log, notes=notes, layers=layers)

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
        try:
            session = load_plan(plan.stable_path, spec, self._session_options)
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
        return OnnxRuntimeSession(session, subject=subject)

    def reference(self, model: OnnxModel) -> BackendSession:
        """Load the model itself as the FP32 reference, without graph optimisations.

        So no rewrite of the optimiser is ever compared with itself.

        Raises:
            ModelError: ONNX Runtime refuses the model.
        """
        ort = load_onnxruntime()
        try:
            session = ort.InferenceSession(
                str(model.path),
                self._session_options("disabled"),
                providers=["CPUExecutionProvider"],
            )
        except Exception as error:
            refused = refusal(
                str(error),
                model.path,
                failed=f"ONNX Runtime {ort.__version__} cannot load {model.path.name}",
                code="TRT206",
            )
            raise ModelError(
                refused.message,
                fix=refused.remedy,
                code=refused.code,
                facts=refused.facts,
                details=[_NO_REFERENCE, refused.log],
            ) from error
        require_readable(session, model)
        return OnnxRuntimeSession(session, subject=f"the FP32 reference of {model.path.name}")

    def _session_options(self, level: str) -> Any:
        ort = load_onnxruntime()
        options = ort.SessionOptions()
        options.graph_optimization_level = getattr(
            ort.GraphOptimizationLevel, OPTIMIZATION_LEVELS[level]
        )
        options.intra_op_num_threads = self.threads
        options.log_severity_level = SEVERITY_FATAL
        # Without it, INT8 products overflow 16 bits on x86 CPUs without VNNI, and an engine is
        # right on one machine and wrong on another.
        # Source: onnxruntime_session_options_config_keys.h, kOrtSessionOptionsAvx2PrecisionMode.
        options.add_session_config_entry("session.x64quantprecision", "1")
        # Threads of a session spin after a run, waiting for the next. If two sessions are
        # interleaved on few cores, one slows the other down, so threads stop after each call.
        # Source: tests/benchmarks/interleaved_cpu.py, which also measures its cost.
        options.add_session_config_entry("session.force_spinning_stop", "1")
        return options


def _source(request: BuildRequest) -> tuple[Path, tuple[str, ...], tuple[Layer, ...]]:
    """Return the file to optimise, notes, and the layers if the plan does not show them."""
    model, converted = request.model, request.directory / CONVERTED_NAME
    if not _as_it_is(model, request.spec):
        request.progress(f"converting {model.path.name} to {request.spec.precision}")
        return (converted, *_convert(request, converted))
    from pytest_trt.onnx import graph
    from pytest_trt.onnx.loading import load

    if model.ir_version >= graph.IR_FREE_INITIALISERS:
        return model.path, (), ()
    # The optimiser's constants would be inputs of the plan.
    proto = load(model.path)
    graph.modernise(proto)
    graph.save(proto, converted)
    return converted, (), ()


def _convert(request: BuildRequest, output: Path) -> tuple[tuple[str, ...], tuple[Layer, ...]]:
    """Write the converted model; return notes, and its layers if the plan does not show them.

    The plan of an fp16 engine is all FP32 with roundings between its nodes, so its layers are those
    of the converted model before the roundings.
    """
    from pytest_trt.backends import conversion

    spec, model = request.spec, request.model
    options = {
        name: value
        for name, value in spec.builder_options.items()
        if BUILDER_OPTIONS[name].of_conversion
    }
    # The plan is checked instead of what it is made from.
    if spec.precision == "int8":
        done = conversion.to_int8(
            model, request.calibration, output, options=options, qdq_weights=False, verified=False
        )
        return done.notes, ()
    from pytest_trt.backends.conversion.converting import explained
    from pytest_trt.backends.conversion.fp16_rounding import round_file

    notes = conversion.to_fp16(model, output, options=options, verified=False).notes
    layers = _layers(output, model)
    with explained(model, "fp16"):
        return (*notes, *round_file(output)), layers


def _layers(file: Path, model: OnnxModel) -> tuple[Layer, ...]:
    from pytest_trt.backends.onnxruntime.layers import onnx_layers

    return onnx_layers(file, read_node_names(model.path))


def _fusion_notes(model: OnnxModel, layers: tuple[Layer, ...]) -> tuple[str, ...]:
    """Return a note if the optimiser made operators less precise than those of the model."""
    if _FUSED_BLOCK_MATMUL in model.op_types:
        return ()
    fused = sum(layer.kind == _FUSED_BLOCK_MATMUL for layer in layers)
    if not fused:
        return ()
    return (
        f"{count(fused, 'MatMul')} of block-quantised weights became {_FUSED_BLOCK_MATMUL}, which "
        'quantises activations too; builder option graph_optimization_level="basic" avoids it',
    )


def _as_it_is(model: OnnxModel, spec: EngineSpec) -> bool:
    """Whether the model already has the spec's precision."""
    return spec.precision == "fp32" or (spec.precision == "int8" and model.is_quantized)


def _require_values(model: OnnxModel, spec: EngineSpec) -> None:
    """Require what TensorRT requires, so that tests written on the CPU also run on a GPU.

    Seeded inputs need it as well: few models accept a shape of zeros and ones.
    """
    holders = [one for one in model.inputs if one.name in model.shape_inputs]
    # TensorRT refuses those of dynamic length anyway, so no values are required for them.
    fixed = [one for one in holders if not one.is_dynamic]
    require_values(fixed, spec.profiles, model.path.name, inputs=model.inputs)
