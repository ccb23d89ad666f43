"""ONNX to plan, the same for TensorRT 8.6 to 11 and TensorRT-RTX.

The vendor module is an argument, and what differs between versions is asked for by attribute.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pytest_trt.backends.trt_logging import LogTail, log_tail, process_logger, progress_monitor
from pytest_trt.backends.trt_options import apply_builder_options
from pytest_trt.engine.protocols import Progress
from pytest_trt.engine.spec import OptionValue
from pytest_trt.errors import ConfigurationError, EngineBuildError
from pytest_trt.model import Profile, ShapeRange, TensorSpec, needs_profile
from pytest_trt.model.profiles import example_profiles

#: A model made of one unknown operator has as many errors as nodes.
_PARSER_ERRORS = 4

#: The newest opset of the oldest TensorRT that is supported, 8.6. It reads later operators as the
#: ones that it knows, so what it complains about is not the cause.
#: Source: NVIDIA's table of ONNX operators, "TensorRT 8.6 supports operators up to Opset 17".
_OLDEST_KNOWS_OPSET = 17

#: The source file of an assertion that TensorRT-RTX 1.7 stops at in models with many branches
#: (seen with 12 and 25 If nodes); the text of the assertion means nothing outside NVIDIA.
_CONTROL_FLOW_ASSERTION = "graphScope.cpp"


@dataclass(frozen=True, slots=True)
class BuildPlan:
    """What to build, in the builder's own terms.

    Attributes:
        version: Product and version as messages name them.
        model_name: File name of the user's model, for messages.
        title: What is built, as progress names it: "digits.onnx fp16 for sm90".
        source: The ONNX file to parse: the model, or its conversion.
        output: Where the plan goes.
        profiles: Optimisation profiles, in order.
        flags: Members of BuilderFlag to set: "FP16", "INT8".
        tf32: Whether FP32 may be computed in TF32.
        options: Builder options by name.
        compute_capabilities: Members of ComputeCapability to build for; empty for TensorRT.
        control_flow: The model's control flow as messages name it: "25 If".
        opset: The model's version of the default operator set.
    """

    version: str
    model_name: str
    title: str
    source: Path
    output: Path
    profiles: Sequence[Profile] = ()
    flags: Sequence[str] = ()
    tf32: bool = False
    options: Mapping[str, OptionValue] | None = None
    compute_capabilities: Sequence[str] = ()
    control_flow: Sequence[str] = ()
    opset: int = 0


@dataclass(frozen=True, slots=True)
class Built:
    """What a build leaves beside its plan.

    Attributes:
        log_tail: The last lines that the builder logged.
        notes: What a reader of the report should know.
    """

    log_tail: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()


def has_weak_types(trt: Any) -> bool:
    """Whether builder flags choose the precision; else the types in the model do."""
    return hasattr(trt.BuilderFlag, "FP16") and hasattr(trt.BuilderFlag, "INT8")


def build_plan(
    trt: Any,
    plan: BuildPlan,
    progress: Progress,
    log: Callable[[str], None] = lambda line: None,
) -> Built:
    """Build a plan and write it.

    Args:
        trt: The vendor module.
        plan: What to build.
        progress: Told what is being done.
        log: Told each line that the builder logs, as it does.

    Raises:
        ConfigurationError: An option or a profile is not for this builder or model.
        EngineBuildError: The parser or the builder refused the model.
    """
    with log_tail(trt, log) as tail:
        builder = trt.Builder(process_logger(trt))
        network = builder.create_network(_network_flags(trt))
        progress(f"parsing {plan.model_name}")
        parser = _parsed(trt, network, plan, tail)
        config = builder.create_builder_config()
        _configure(trt, config, plan)
        _add_profiles(builder, network, config, plan)
        monitor = progress_monitor(trt, progress, tail)
        if monitor is not None:
            config.progress_monitor = monitor
        progress(f"building {plan.title}")
        serialized = builder.build_serialized_network(network, config)
        tail.raise_pending()
        del parser  # the network refers to weights that it owns
        if serialized is None:
            raise _failed(plan, tail)
        # By buffer: a memoryview of it has the wrong item format.
        with plan.output.open("wb") as file:
            file.write(serialized)
        return Built(tail.lines)


def _failed(plan: BuildPlan, tail: LogTail) -> EngineBuildError:
    fix = (
        "act on the last error logged: another precision or architecture, a change in the model "
        "(control flow and rare operators are the usual cause), fewer options."
    )
    if plan.control_flow and any(_CONTROL_FLOW_ASSERTION in line for line in tail.lines):
        fix = (
            f"export the model without control flow (it has {', '.join(plan.control_flow)} nodes): "
            "where shapes and settings are fixed, onnxsim or the exporter can fold branches away."
        )
    return EngineBuildError(
        f"{plan.version} could not build {plan.model_name}.", fix=fix, log_tail=tail.lines
    )


def _network_flags(trt: Any) -> int:
    """8.6 needs explicit batch; 11 has no such member, and gave its bit another meaning."""
    explicit = getattr(trt.NetworkDefinitionCreationFlag, "EXPLICIT_BATCH", None)
    return 0 if explicit is None else 1 << int(explicit)


def _parsed(trt: Any, network: Any, plan: BuildPlan, tail: LogTail) -> Any:
    parser = trt.OnnxParser(network, process_logger(trt))
    parsed = parser.parse_from_file(str(plan.source))
    tail.raise_pending()
    if not parsed:
        raise _refused([parser.get_error(index) for index in range(parser.num_errors)], plan, tail)
    if network.num_outputs == 0:
        raise EngineBuildError(
            f"{plan.model_name} has no outputs after parsing, so there is nothing to build.",
            fix="export a model with at least one graph output.",
            log_tail=tail.lines,
        )
    return parser


def _refused(errors: Sequence[Any], plan: BuildPlan, tail: LogTail) -> EngineBuildError:
    shown = [_told(error) for error in errors[:_PARSER_ERRORS]]
    if len(errors) > len(shown):
        shown.append(f"and {len(errors) - len(shown)} more nodes")
    return EngineBuildError(
        f"{plan.version} cannot parse {plan.model_name}: "
        f"{'; '.join(shown) or 'the parser gives no reason'}",
        fix=_parser_fix(errors, plan),
        # What the parser logs are the same errors again, at six lines each.
        log_tail=() if shown else tail.lines,
    )


def _parser_fix(errors: Sequence[Any], plan: BuildPlan) -> str:
    # Here, because it brings the converters along, which every build would wait for.
    from pytest_trt.backends.conversion.converting import DYNAMIC_QUANTIZERS

    operators = {getattr(error, "node_operator", str)() for error in errors}
    if operators & set(DYNAMIC_QUANTIZERS):
        return (
            "the model is quantised dynamically, which the parser does not take: give the float32 "
            'model that it was made from, with precision="int8" or "fp16".'
        )
    fix = "export the model without what it names, or build a plugin for it."
    if plan.opset > _OLDEST_KNOWS_OPSET:
        return (
            f"this model has opset {plan.opset}; TensorRT 8.6 knows up to {_OLDEST_KNOWS_OPSET}: "
            f"export it with opset_version={_OLDEST_KNOWS_OPSET}. Where that does not help, {fix}"
        )
    return fix


def _told(error: Any) -> str:
    """Return a parser error; 8.6 knows the index of a node, later versions its name."""
    name = getattr(error, "node_name", None)
    operator = getattr(error, "node_operator", None)
    where = f"node #{error.node()}" if name is None else f"node {name()!r}"
    if operator is not None:
        where += f" ({operator()})"
    # The whole description of some refusals is the condition that failed: "false".
    reason = error.desc()
    return f"{where}: {'not supported' if reason == 'false' else reason}"


def _configure(trt: Any, config: Any, plan: BuildPlan) -> None:
    config.profiling_verbosity = trt.ProfilingVerbosity.DETAILED
    if plan.tf32:
        config.set_flag(trt.BuilderFlag.TF32)
    else:
        config.clear_flag(trt.BuilderFlag.TF32)
    for name in plan.flags:
        config.set_flag(getattr(trt.BuilderFlag, name))
    apply_builder_options(trt, config, plan.options or {}, version=plan.version)
    if plan.compute_capabilities:
        config.num_compute_capabilities = len(plan.compute_capabilities)
        for index, name in enumerate(plan.compute_capabilities):
            config.set_compute_capability(getattr(trt.ComputeCapability, name), index)


def _add_profiles(builder: Any, network: Any, config: Any, plan: BuildPlan) -> None:
    inputs = [network.get_input(index) for index in range(network.num_inputs)]
    names = {tensor.name for tensor in inputs}
    for number, ranges in enumerate(plan.profiles):
        profile = builder.create_optimization_profile()
        for name, shapes in ranges.items():
            _set_shape(profile, name, shapes, names)
        for tensor in inputs:
            if tensor.is_shape_tensor:
                raise ConfigurationError(
                    f"input {tensor.name!r} of {plan.model_name} holds a shape; profiles for "
                    "values of inputs are not supported.",
                    fix="export the model with that shape taken from another input.",
                )
        if config.add_optimization_profile(profile) < 0:
            raise ConfigurationError(
                f"{plan.version} refuses profile {number} of {plan.model_name}: {_pasted(ranges)}.",
                fix="give every dynamic input shapes with min <= opt <= max.",
            )


def _set_shape(profile: Any, name: str, shapes: ShapeRange, names: set[str]) -> None:
    """Set one range and read it back: `set_shape` says nothing when it ignores what it got."""
    if name not in names:
        raise ConfigurationError(
            f"the profile names input {name!r}, which the network does not have.",
            fix=f"its inputs are {', '.join(sorted(names))}.",
        )
    asked = [tuple(shapes.min), tuple(shapes.opt), tuple(shapes.max)]
    profile.set_shape(name, *asked)
    kept = [tuple(shape) for shape in profile.get_shape(name)]
    if kept != asked:
        raise ConfigurationError(
            f"the profile of input {name!r} did not take: asked for {asked}, the builder has "
            f"{kept}.",
            fix="give min <= opt <= max, each of the input's rank, fixed dimensions as they are.",
        )


def require_profiles(inputs: Sequence[TensorSpec], profiles: Sequence[Profile]) -> None:
    """Refuse dynamic inputs without a shape range.

    Raises:
        ConfigurationError: With a `profiles=` to paste.
    """
    dynamic = [spec for spec in inputs if needs_profile(spec)]
    for number, profile in enumerate(profiles or ({},)):
        missing = [str(spec) for spec in dynamic if spec.name not in profile]
        if missing:
            where = f"profile {number} has" if profiles else "there is"
            raise ConfigurationError(
                f"{where} no range of shapes for {'; '.join(missing)}, and TensorRT builds for a "
                "range of shapes only.",
                fix=f"add to the trt_model marker: {example_profiles(dynamic)} (min, opt, max).",
            )


def _pasted(ranges: Profile) -> str:
    entries = (
        f'"{name}": ({", ".join(str(tuple(s)) for s in (shapes.min, shapes.opt, shapes.max))})'
        for name, shapes in ranges.items()
    )
    return "{" + ", ".join(entries) + "}"
