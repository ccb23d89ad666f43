"""The embedded backend: ONNX Runtime on the CPU, where there is no GPU.

Its engines are real: the model converted to the asked precision, optimised, and serialised again
as ONNX, so their outputs drift from the reference as reduced precision does. ONNX Runtime has
hardly any FP16 kernels on the CPU, so an fp16 engine computes in FP32 and rounds to FP16 after
every operator (`fp16_rounding`). It rounds at least as often as a GPU engine that fuses operators,
overflows where FP16 does, accumulates in FP32 inside an operator, and is slower than fp32.

Threads do not spin between calls, as they do by default: on two cores an engine that takes turns
with another then has at least 0.8 of the throughput that it has alone, where it had 0.4 to 0.7. Its
P50 alone stays the same for calls of 5 and 40 us; for one of 0.4 ms it rose by 11 to 80% while the
machine was overloaded, and its P99 fell. Source: three runs of tests/benchmarks/turns_cpu.py.
"""

from __future__ import annotations

import platform
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from pytest_trt.backends.conversion.named import require_operators
from pytest_trt.backends.conversion.ort_messages import (
    SEVERITY_FATAL,
    build_fix,
    first_line,
    refusal,
    run_fix,
)
from pytest_trt.backends.conversion.ort_module import load_onnxruntime, onnxruntime_version
from pytest_trt.backends.onnxruntime.values import has_bfloat16, run_values
from pytest_trt.diagnostics import (
    ConfigurationError,
    EngineBuildError,
    EngineLoadError,
    EngineRunError,
    ModelError,
    PytestTrtError,
)
from pytest_trt.engine.facts import Layer
from pytest_trt.engine.protocols import BackendSession, BuildRequest, BuildResult
from pytest_trt.engine.spec import EngineSpec, Route, Target, Toolchain
from pytest_trt.onnx.file import OnnxModel, read_node_names
from pytest_trt.onnx.input_roles import require_values
from pytest_trt.tensors.spec import Tensors

#: The builder option of this backend beside those of the conversions, and what it may be.
_LEVEL_OPTION = {
    "graph_optimization_level": "'disabled', 'basic', 'extended' (default) or 'all'",
}

#: How ONNX Runtime's own levels are called. 'extended' is the default because what 'all' adds is
#: laid out for the CPU at hand, and a cached engine may be run on another one.
#: Source: ONNX Runtime documentation, "Graph optimizations", offline mode.
_OPTIMIZATION_LEVELS = {
    "disabled": "ORT_DISABLE_ALL",
    "basic": "ORT_ENABLE_BASIC",
    "extended": "ORT_ENABLE_EXTENDED",
    "all": "ORT_ENABLE_ALL",
}

#: A protobuf message ends at 2 GiB; engines of models above this size get their weights in a
#: second file. Leaves room for what the optimiser adds.
_EXTERNAL_WEIGHTS_ABOVE_BYTES = 1 << 30

_PLAN_NAME = "engine.onnx"


class OnnxRuntimeBackend:
    """Builds and runs engines with ONNX Runtime on the CPU.

    Args:
        threads: Threads of one inference; 0 leaves the number to ONNX Runtime.
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
        """Convert the model: ONNX Runtime computes in the types that it finds there."""
        _check_options(model, spec)
        _require_values(model, spec)
        if spec.precision == "tf32":
            raise ConfigurationError(
                "precision 'tf32' is a mode of NVIDIA GPUs; ONNX Runtime has no such thing on a "
                "CPU.",
                fix="test tf32 on a GPU (--trt-backend tensorrt), or use fp32 here.",
            )
        if _as_it_is(model, spec):
            return Route("as the model is")
        from pytest_trt.backends import conversion

        versions = conversion.converter_versions()
        if spec.precision == "fp16":
            versions["rounding"] = conversion.ROUNDING_VERSION
        return Route("converted model", versions, needs_calibration=spec.precision == "int8")

    def build(self, request: BuildRequest) -> BuildResult:
        """Convert, optimise and serialise the model."""
        folder, spec = request.directory, request.spec
        source = request.model.path
        notes: tuple[str, ...] = ()
        layers: tuple[Layer, ...] = ()
        converted = folder / "converted.onnx"
        if not _as_it_is(request.model, spec):
            request.progress(f"converting {source.name} to {spec.precision}")
            notes, layers = _convert(request, converted)
            source = converted
        request.progress(f"optimising {request.model.path.name}")
        self._optimise(source, request)
        for left_over in folder.glob("converted.onnx*"):
            left_over.unlink()
        layers = layers or _layers(folder / _PLAN_NAME, request.model)
        return BuildResult(plan_name=_PLAN_NAME, notes=notes, layers=layers)

    def _optimise(self, source: Path, request: BuildRequest) -> None:
        ort = load_onnxruntime()
        options = self._session_options(_level(request.spec, default="extended"))
        plan = request.directory / _PLAN_NAME
        options.optimized_model_filepath = str(plan)
        # A model that was float16 has twice its size when it is rounded in float32.
        converted = request.directory.glob(f"{source.name}*")
        size_bytes = max(request.model.size_bytes, sum(part.stat().st_size for part in converted))
        if size_bytes > _EXTERNAL_WEIGHTS_ABOVE_BYTES:
            options.add_session_config_entry(
                "session.optimized_model_external_initializers_file_name", f"{_PLAN_NAME}.data"
            )
        try:
            ort.InferenceSession(str(source), options, providers=["CPUExecutionProvider"])
        except Exception as error:  # its exception types share no base class but this
            refused = (
                f"{request.model.path.name} was refused as an {request.spec.precision} engine by "
                f"ONNX Runtime {ort.__version__}:\n  {first_line(error)}"
            )
            raise EngineBuildError(
                refusal(request.model.path.name, str(error), refused),
                fix=build_fix(str(error), request.model.path, request.spec.precision),
            ) from error

    def cannot_run(self, target: Target) -> str | None:
        """Engines for the CPU run here; no others do."""
        if target.arch == "cpu":
            return None
        return f"ONNX Runtime runs on the CPU, not on {target.arch}"

    def open(
        self, plan: Path, model: OnnxModel, spec: EngineSpec, target: Target
    ) -> BackendSession:
        """Load a serialised engine."""
        ort = load_onnxruntime()
        try:
            # The layout for this CPU, which the plan leaves out, is chosen here.
            session = ort.InferenceSession(
                str(plan),
                self._session_options(_level(spec, default="all")),
                providers=["CPUExecutionProvider"],
            )
        except Exception as error:
            raise EngineLoadError(
                f"ONNX Runtime {ort.__version__} cannot load {plan}:\n  {first_line(error)}",
                fix="`pytest-trt cache clear`, then run again.",
            ) from error
        subject = f"the {spec.precision} engine of {model.path.name}"
        return OnnxRuntimeSession(session, subject=subject)

    def reference(self, model: OnnxModel) -> BackendSession:
        """Load the model itself as the FP32 reference: graph optimisations off.

        With the optimiser off, no rewrite of it is ever compared with itself.

        Raises:
            ModelError: ONNX Runtime does not take the model.
        """
        ort = load_onnxruntime()
        try:
            session = ort.InferenceSession(
                str(model.path),
                self._session_options("disabled"),
                providers=["CPUExecutionProvider"],
            )
        except Exception as error:
            raise ModelError(
                f"{model.path} gives no FP32 reference to compare with: ONNX Runtime "
                f"{ort.__version__} refused it:\n  {first_line(error)}",
                fix=build_fix(str(error), model.path),
            ) from error
        return OnnxRuntimeSession(session, subject=f"the FP32 reference of {model.path.name}")

    def _session_options(self, level: str) -> Any:
        ort = load_onnxruntime()
        options = ort.SessionOptions()
        options.graph_optimization_level = getattr(
            ort.GraphOptimizationLevel, _OPTIMIZATION_LEVELS[level]
        )
        options.intra_op_num_threads = self.threads
        options.log_severity_level = SEVERITY_FATAL
        # Without it INT8 products overflow 16 bits on x86 CPUs that lack VNNI, and an engine is
        # right on one machine and wrong on the next.
        # Source: onnxruntime_session_options_config_keys.h, kOrtSessionOptionsAvx2PrecisionMode.
        options.add_session_config_entry("session.x64quantprecision", "1")
        # Threads of a session that has just run spin on, waiting for its next call. Where two take
        # turns on few cores, those of the one are in the other's way; so they stop with each call.
        # Source: tests/benchmarks/turns_cpu.py, which also tells what that costs one alone.
        options.add_session_config_entry("session.force_spinning_stop", "1")
        return options


class OnnxRuntimeSession:
    """A loaded ONNX Runtime session.

    Args:
        session: An `onnxruntime.InferenceSession`.
        subject: What it is, for messages.
    """

    def __init__(self, session: Any, *, subject: str) -> None:
        self._session = session
        self._subject = subject
        self._input_names = [entry.name for entry in session.get_inputs()]
        self._output_names = [output.name for output in session.get_outputs()]
        self._has_bfloat16 = has_bfloat16(session)

    @property
    def graph_refusal(self) -> str | None:
        """None: on the CPU there are no graphs to refuse."""
        return None

    def run(self, inputs: Tensors) -> dict[str, npt.NDArray[np.generic]]:
        """Return every output for these inputs.

        Raises:
            EngineRunError: ONNX Runtime failed while running.
            ConfigurationError: bfloat16 needs a package, or a version, that is not installed.
        """
        try:
            if self._has_bfloat16:
                outputs = run_values(self._session, self._output_names, inputs)
            else:
                outputs = self._session.run(self._output_names, dict(inputs))
        except PytestTrtError:
            raise
        except Exception as error:
            # A sequence or a map has no shape.
            shapes = ", ".join(
                f"{name} {getattr(array, 'shape', type(array).__name__)}"
                for name, array in inputs.items()
            )
            raise EngineRunError(
                f"{self._subject} failed on {shapes or 'no inputs'}:\n  {first_line(error)}",
                fix=run_fix(str(error), inputs, self._input_names),
            ) from error
        return dict(zip(self._output_names, outputs, strict=True))

    def close(self) -> None:
        """Drop the session."""
        self._session = None


def _convert(request: BuildRequest, output: Path) -> tuple[tuple[str, ...], tuple[Layer, ...]]:
    """Write the converted model; return what is to be said, and its layers if the plan hides them.

    The plan of an fp16 engine is all FP32, with roundings between its nodes: what stands for
    float16 is told by the model before these are put in.
    """
    from pytest_trt.backends import conversion

    spec = request.spec
    options = {k: v for k, v in spec.builder_options.items() if k not in _LEVEL_OPTION}
    if spec.precision == "int8":
        done = conversion.to_int8(
            request.model, request.calibration, output, options=options, qdq_weights=False
        )
        return done.notes, ()
    from pytest_trt.backends.conversion.fp16_rounding import round_file

    notes = conversion.to_fp16(request.model, output, options=options).notes
    layers = _layers(output, request.model)
    return (*notes, *round_file(output)), layers


def _layers(file: Path, model: OnnxModel) -> tuple[Layer, ...]:
    from pytest_trt.backends.onnxruntime.layers import onnx_layers

    return onnx_layers(file, read_node_names(model.path))


def _level(spec: EngineSpec, *, default: str) -> str:
    return str(spec.builder_options.get("graph_optimization_level", default))


def _as_it_is(model: OnnxModel, spec: EngineSpec) -> bool:
    """Whether the model already is what the spec's precision asks for."""
    return spec.precision == "fp32" or (spec.precision == "int8" and model.is_quantized)


def _known_options(model: OnnxModel, spec: EngineSpec) -> Mapping[str, str]:
    if _as_it_is(model, spec):
        return _LEVEL_OPTION
    from pytest_trt.backends import conversion

    of_conversion = {"fp16": conversion.FP16_OPTIONS, "int8": conversion.INT8_OPTIONS}
    return {**_LEVEL_OPTION, **of_conversion.get(spec.precision, {})}


def _require_values(model: OnnxModel, spec: EngineSpec) -> None:
    """Demand what TensorRT does, so that tests written on the CPU run on a GPU.

    Seeded inputs need it as well: a shape of zeros and ones fits few models.
    """
    holders = [one for one in model.inputs if one.name in model.shape_inputs]
    # TensorRT refuses those of open length whatever their values, so none are asked for.
    fixed = [one for one in holders if not one.is_dynamic]
    require_values(fixed, spec.profiles, model.path.name, inputs=model.inputs)


def _check_options(model: OnnxModel, spec: EngineSpec) -> None:
    if not spec.builder_options:
        return
    known = _known_options(model, spec)
    for name, value in spec.builder_options.items():
        if name not in known:
            listed = "".join(f"\n  {option}: {what}" for option, what in known.items())
            kept = spec.precision == "int8" and model.is_quantized
            where = (
                f"{spec.precision}, whose model is quantised already" if kept else spec.precision
            )
            raise ConfigurationError(
                f"builder option {name!r} is not one of the onnxruntime backend for {where}.",
                fix=f"its options are:{listed}",
            )
        if name in _LEVEL_OPTION and value not in _OPTIMIZATION_LEVELS:
            raise ConfigurationError(
                f"builder option {name}={value!r} is unknown.", fix=f"use {known[name]}."
            )
    require_operators(model.path.name, model.op_types, spec.builder_options)
