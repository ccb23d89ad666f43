"""Shared by TensorRT and TensorRT-RTX: precision, options, building and opening of plans."""

from __future__ import annotations

import contextlib
from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from pytest_trt.backends import conversion
from pytest_trt.backends.conversion.conversion import Conversion
from pytest_trt.backends.conversion.kept import require_effect
from pytest_trt.backends.conversion.named import require_operators
from pytest_trt.backends.devices.gpu import DeviceProbe
from pytest_trt.backends.tensorrt.plan_header import header_of, same_version
from pytest_trt.backends.tensorrt.plugins import load_plugins
from pytest_trt.backends.tensorrt.product import Product
from pytest_trt.backends.tensorrt.profiles import require_profiles
from pytest_trt.backends.tensorrt.session import TrtSession
from pytest_trt.diagnostics import ConfigurationError, EngineLoadError, Remedy, UnsupportedError
from pytest_trt.engine.builder_options import (
    BUILDER_OPTIONS,
    CALIBRATOR,
    SERIALIZE_PLUGINS,
    VERSION_COMPATIBLE,
    holds_host_code,
    require_options,
)
from pytest_trt.engine.protocols import BuildRequest, BuildResult, Plan
from pytest_trt.engine.spec import (
    CALIBRATED,
    FULL_PRECISIONS,
    EngineSpec,
    OptionValue,
    Route,
    Target,
    brings,
)
from pytest_trt.onnx.file import OnnxModel
from pytest_trt.onnx.libraries import Library

PLAN_NAME = "engine.plan"


@dataclass(frozen=True, slots=True)
class PrecisionRoute:
    """How a precision is reached.

    Attributes:
        route: The part of the engine key.
        convert: The precision that the model is converted to first, or None.
        flags: Members of BuilderFlag to set.
        calibrator: The algorithm of the builder's own calibrator; empty for none.
    """

    route: Route
    convert: str | None = None
    flags: tuple[str, ...] = ()
    calibrator: str = ""


def precision_route(
    model: OnnxModel,
    precision: str,
    flags: Collection[str] = (),
    *,
    version: str = "",
    calibrator: str = "none",
) -> PrecisionRoute:
    """Choose between builder flags and a converted model.

    Args:
        model: The model to build.
        precision: One of the spec's precisions.
        flags: The builder flags that choose precisions (TensorRT 8.6 to 10); none where the types
            in the model do (TensorRT 11, TensorRT-RTX).
        version: The product and its version, for messages.
        calibrator: The builder option of int8.

    Raises:
        ConfigurationError: There is a calibrator, and the model is quantised.
        UnsupportedError: There is one, and the builder has none; or this version lacks the
            precision.
    """
    if precision == "int8" and calibrator != "none":
        chosen = _calibrator_route(model, calibrator, flags)
    else:
        chosen = _precision_route(model, precision, flags)
    # TensorRT 8.6 has the flag FP8 and no parser that reads it; it has no BF16 either.
    needed = {*chosen.flags, "BF16"} if "FP8" in chosen.flags else {*chosen.flags}
    if not needed <= {*flags}:
        raise UnsupportedError(
            f"{version} has no {precision}",
            fix="use TensorRT 10 or later, or name a precision that this version has.",
            facts={"backend": "tensorrt", "precision": precision, "version": version},
        )
    # A conversion may run the model in ONNX Runtime.
    converting = model.custom_ops if chosen.convert else ()
    route = replace(
        chosen.route,
        libraries=(*model.plugin_libraries, *converting),
        builder_chooses=bool(chosen.flags),
    )
    return replace(chosen, route=route)


#: The builder flags that permit a precision.
_FLAGS: Mapping[str, tuple[str, ...]] = {
    "fp16": ("FP16",),
    "bf16": ("BF16",),
    "int8": ("INT8",),
    "fp8": ("FP8",),
    "int4": ("INT4",),
    "mixed": ("INT8", "FP16"),
}


def _precision_route(model: OnnxModel, precision: str, flags: Collection[str]) -> PrecisionRoute:
    given = _FLAGS.get(precision, ()) if flags else ()
    quantised = ("INT8",) if flags and model.is_quantized else ()
    by_flags = precision in ("fp16", "bf16") or (precision == "mixed" and model.is_quantized)
    if flags and by_flags:
        given = tuple(dict.fromkeys((*given, *quantised)))
        return PrecisionRoute(Route("builder flags"), flags=given)
    if precision in FULL_PRECISIONS or brings(model, precision):
        given = given if quantised and precision in ("fp8", "int4") else quantised
        return PrecisionRoute(Route("builder flags" if given else "as the model is"), flags=given)
    route = Route(
        "converted model, builder flags" if given else "converted model",
        conversion.converter_versions(),
        needs_calibration=precision in CALIBRATED and not model.is_quantized,
    )
    # Of what is not quantised, the builder's flag makes FP16.
    convert = "int8" if precision == "mixed" and given else precision
    return PrecisionRoute(route, convert=convert, flags=given)


def calibrator_of(spec: EngineSpec) -> str:
    """Return which of the builder's own calibrators a spec asks for, "none" for none."""
    return str(spec.builder_options.get(CALIBRATOR, "none"))


def _calibrator_route(model: OnnxModel, calibrator: str, flags: Collection[str]) -> PrecisionRoute:
    if not flags:
        raise UnsupportedError(
            f"builder option {CALIBRATOR!r} needs TensorRT 8.6 to 10: later ones and TensorRT-RTX "
            "take INT8 ranges from Q/DQ nodes alone",
            fix="leave it out: int8 is converted to Q/DQ nodes then, and calibrated by the option "
            "calibration_method.",
            facts={"backend": "tensorrt", "precision": "int8", "option": CALIBRATOR},
        )
    if model.is_quantized:
        raise ConfigurationError(
            f"{model.path.name} is quantised already: a calibrator would change nothing",
            fix=f"leave the builder option {CALIBRATOR!r} out.",
            code="TRT356",
            facts={"option": CALIBRATOR, "backend": "tensorrt"},
        )
    route = Route("builder flags, calibrator", needs_calibration=True)
    return PrecisionRoute(route, flags=("INT8",), calibrator=calibrator)


def check_spec(backend: str, model: OnnxModel, spec: EngineSpec, chosen: PrecisionRoute) -> None:
    """Refuse invalid options and profiles before a build, without importing the product.

    Raises:
        ConfigurationError: An option or operator is unknown, or a dynamic input has no range.
        UnsupportedError: The product, or its version, lacks an option for this precision.
    """
    require_options(
        spec.builder_options,
        backend,
        spec.precision,
        converts=chosen.convert is not None,
        model=model.path.name if brings(model, spec.precision) else "",
    )
    require_operators(model.path.name, model.op_types, spec.builder_options)
    require_effect(model, spec)
    if spec.builder_options.get(SERIALIZE_PLUGINS) and not model.plugin_libraries:
        raise ConfigurationError(
            f"{SERIALIZE_PLUGINS} stores libraries of plugins in plans, and none is named",
            fix="name them with plugin_libraries= of trt_model, or remove the option.",
            code="TRT357",
            facts={"option": SERIALIZE_PLUGINS, "value": True},
        )
    require_profiles(model.inputs, spec.profiles)


#: The first architecture with FP8. Source: NVIDIA, CUDA programming guide, compute capability 8.9;
#: TensorRT-RTX 1.7 refuses sm86: "Cannot compile for target(s) sm86, because the model contains
#: HW-specific datatypes: fp8_e4m3".
_FLOAT8_SM = 89


def _require_float8(backend: str, spec: EngineSpec, target: Target) -> None:
    sm = int(target.arch.removeprefix("sm") or 0)
    if spec.precision == "fp8" and sm < _FLOAT8_SM:
        raise UnsupportedError(
            f"{target.arch} has no fp8: GPUs have it from sm{_FLOAT8_SM} on",
            fix="test another precision on this architecture.",
            facts={"backend": backend, "precision": "fp8", "arch": target.arch},
        )


def build(
    product: Product,
    request: BuildRequest,
    chosen: PrecisionRoute,
    *,
    backend: str,
    device: int | None,
    timeout_s: float,
    compute_capabilities: tuple[str, ...] = (),
    timing_cache: Path | None = None,
    observed: bool = False,
) -> BuildResult:
    """Convert the model if the route requires it, and build it in a child process.

    Args:
        product: The product that builds.
        request: The model, the spec, and the folder for the plan.
        chosen: How the precision is reached.
        backend: The name of the backend.
        device: CUDA's number of the GPU to build on; None for a cross-build.
        timeout_s: Time limit of the build in seconds; 0 for no limit.
        compute_capabilities: Members of ComputeCapability to cross-build for.
        timing_cache: The timing cache to use and update, unless an option disables it.
        observed: Whether the plan emits the tensors that fusion leaves.
    """
    # Most runs find their engines in the cache.
    from pytest_trt.backends.tensorrt.build_job import BuildJob, BuildPlan
    from pytest_trt.backends.tensorrt.build_process import build_in_child
    from pytest_trt.backends.tensorrt.calibrator import prepared_calibrator
    from pytest_trt.backends.tensorrt.inspection import take_inspection

    spec, model_name = request.spec, request.model.path.name
    check_spec(backend, request.model, spec, chosen)
    _require_float8(backend, spec, request.target)
    for_builder, _ = _divided(spec)
    converted = request.directory / "converted.onnx"
    with contextlib.ExitStack() as stack:
        stack.callback(_remove, request.directory, converted.name)
        done = _source(request, chosen, converted, timeout_s)
        calibrator = None
        if chosen.calibrator and device is not None:
            tables = timing_cache and timing_cache.parent
            prepared = prepared_calibrator(
                request, chosen.calibrator, str(product.toolchain()), device, tables
            )
            calibrator = stack.enter_context(prepared)
        plan = BuildPlan(
            version=str(product.toolchain()),
            model_name=model_name,
            title=f"{model_name} {spec.precision} for {request.target.arch}",
            source=converted if chosen.convert else request.model.path,
            output=request.directory / PLAN_NAME,
            profiles=spec.profiles,
            flags=chosen.flags,
            tf32=spec.precision == "tf32",
            options=for_builder,
            # What a conversion has kept, builder flags could narrow.
            keep_fp32=done.kept if chosen.convert else spec.keep_fp32,
            compute_capabilities=compute_capabilities,
            control_flow=_control_flow(request.model),
            opset=request.model.opset,
            plugin_libraries=request.model.plugin_libraries,
            timing_cache=None if for_builder.get("disable_timing_cache") else timing_cache,
            calibrator=calibrator,
            observed=observed,
        )
        job = BuildJob(product, plan, device)
        built = build_in_child(job, timeout_s=timeout_s, progress=request.progress)
    # An option without effect must be visible.
    ignored = tuple(line for line in built.log_tail if "is unsupported" in line)
    inspection = take_inspection(request.directory, request.model)
    return BuildResult(
        plan_name=PLAN_NAME,
        log_tail=built.log_tail,
        notes=(*done.notes, *built.notes, *ignored),
        layers=inspection.layers,
        hidden_weights=inspection.hidden_weights,
        device_memory_bytes=inspection.device_memory_bytes,
    )


def _remove(folder: Path, name: str) -> None:
    for left_over in folder.glob(f"{name}*"):
        left_over.unlink()


def open_plan(
    product: Product, plan: Plan, model: OnnxModel, spec: EngineSpec, *, device: int
) -> TrtSession:
    """Load a plan on a GPU, after checking the product and version in its header.

    Raises:
        EngineLoadError: Another product or version built it, or TensorRT refuses it.
        BackendUnavailableError: CUDA cannot be used.
    """
    trt = product.load()
    check_header(product, plan, spec)
    load_plugins(trt, libraries_to_load(model, spec), str(product.toolchain()))
    host_code = holds_host_code(spec.builder_options)
    return TrtSession(trt, plan, model, spec.profiles, device=device, host_code=host_code)


def libraries_to_load(model: OnnxModel, spec: EngineSpec) -> tuple[Library, ...]:
    """Return the libraries of plugins that a plan needs; it may contain them."""
    return () if spec.builder_options.get(SERIALIZE_PLUGINS) else model.plugin_libraries


def check_header(product: Product, plan: Plan, spec: EngineSpec) -> None:
    """Refuse a plan of another product or version.

    Raises:
        EngineLoadError: It is one, or damaged.
    """
    trt, header = product.load(), header_of(plan)
    installed = str(trt.__version__)
    portable = bool(spec.builder_options.get(VERSION_COMPATIBLE))
    if header.product != product.label or not (portable or same_version(header.version, installed)):
        raise EngineLoadError(
            f"plan {plan.path} was built by {header.product} {header.version}, but {product.label} "
            f"{installed} is installed; a plan runs only on the version that built it",
            fix=Remedy(
                "install the version that built it, or rebuild it with this one:",
                commands=("pytest-trt cache clear",),
            ),
            code="TRT321",
            facts={
                "plan": str(plan.path),
                "built_by": f"{header.product} {header.version}",
                "installed": f"{product.label} {installed}",
            },
        )


def cannot_run(probe: DeviceProbe, target: Target) -> str | None:
    """Return why no GPU here runs engines for a target, or None."""
    if not probe.gpus:
        return f"no NVIDIA GPU ({probe.reason})"
    if probe.first(target.arch) is None:
        here = ", ".join(map(str, probe.gpus))
        return f"engines for {target.arch} do not run on the GPU here, {here}"
    return None


def _source(
    request: BuildRequest, chosen: PrecisionRoute, converted: Path, timeout_s: float
) -> Conversion:
    """Write the converted model, if the route requires one."""
    if chosen.convert is None:
        return Conversion(())
    from pytest_trt.backends.conversion.convert_job import convert_isolated

    _, options = _divided(request.spec)
    done = convert_isolated(request, chosen.convert, converted, options, timeout_s=timeout_s)
    narrowing = {"FP16", "BF16"}.intersection(chosen.flags)
    return done if narrowing else replace(done, kept=())


def _control_flow(model: OnnxModel) -> tuple[str, ...]:
    present = (op for op in ("If", "Loop", "Scan") if op in model.op_types)
    return tuple(f"{model.op_types[op]} {op}" for op in present)


def _divided(spec: EngineSpec) -> tuple[dict[str, OptionValue], dict[str, OptionValue]]:
    """Return the options of the builder, and those of the conversion."""
    builder: dict[str, OptionValue] = {}
    converter: dict[str, OptionValue] = {}
    for name, value in spec.builder_options.items():
        (converter if BUILDER_OPTIONS[name].of_conversion else builder)[name] = value
    return builder, converter
