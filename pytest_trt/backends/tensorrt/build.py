"""ONNX to plan, the same for TensorRT 8.6 to 11 and TensorRT-RTX.

The vendor module is an argument; differences between versions are detected by attribute.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

from pytest_trt.backends.tensorrt.build_job import BuildPlan, Built
from pytest_trt.backends.tensorrt.calibrator import calibrating
from pytest_trt.backends.tensorrt.debug_tensors import MARK
from pytest_trt.backends.tensorrt.layer_precision import keep_layers
from pytest_trt.backends.tensorrt.log import (
    OUT_OF_MEMORY,
    LogTail,
    log_tail,
    process_logger,
    progress_monitor,
)
from pytest_trt.backends.tensorrt.options import apply_builder_options
from pytest_trt.backends.tensorrt.parse import parsed
from pytest_trt.backends.tensorrt.plugins import load_plugins
from pytest_trt.backends.tensorrt.profiles import add_profiles
from pytest_trt.backends.tensorrt.timing_cache import TimingCache
from pytest_trt.diagnostics import EngineBuildError, Remedy
from pytest_trt.engine.builder_options import CALIBRATOR, SERIALIZE_PLUGINS
from pytest_trt.engine.protocols import Progress

#: The source file of an assertion of TensorRT-RTX 1.7 that fails for models with many branches
#: (seen with 12 and 25 If nodes); its text means nothing outside NVIDIA.
_CONTROL_FLOW_ASSERTION = "graphScope.cpp"

#: Code and remedy by what the builder logs when it fails; the first match counts.
#: Source: profiles as in TensorRT-RTX 1.7.
_ADVICE = (
    (
        re.compile("no optimization profile has been defined|missing dimensions in profile"),
        "TRT211",
        Remedy(
            "give every dynamic input a range in every profile: profiles={...} on the trt_model "
            "marker. The log names the input."
        ),
    ),
    (
        OUT_OF_MEMORY,
        "TRT359",
        Remedy(
            "free memory of the GPU (nvidia-smi shows its users).",
            alternatives=(
                "leave the builder option workspace_bytes out, or raise it",
                "lower the max of the profiles",
            ),
        ),
    ),
)
_LAST_ADVICE = Remedy(
    "act on the last error in the log.",
    alternatives=(
        "try another precision or architecture, or fewer builder options",
        "change the model: control flow and rare operators are the usual cause",
    ),
)


def build_plan(
    trt: Any,
    plan: BuildPlan,
    progress: Progress,
    log: Callable[[str], None] = lambda line: None,
) -> Built:
    """Build a plan and write it.

    Raises:
        ConfigurationError: An option or a profile does not fit this builder or model.
        EngineBuildError: The parser or the builder refused the model.
        ModelError: A library of plugins cannot be loaded, or was replaced after it was hashed.
    """
    with log_tail(trt, log) as tail:
        load_plugins(trt, plan.plugin_libraries, plan.version)
        builder = trt.Builder(process_logger(trt))
        network = builder.create_network(_network_flags(trt))
        progress(f"parsing {plan.model_name}")
        parser = parsed(trt, network, plan, tail)
        if plan.observed:
            getattr(network, MARK)()
        config = builder.create_builder_config()
        _configure(trt, config, plan)
        add_profiles(builder, network, config, plan)
        keep_layers(trt, network, config, plan)
        timings = TimingCache(config, plan.timing_cache)
        monitor = progress_monitor(trt, progress, tail)
        if monitor is not None:
            config.progress_monitor = monitor
        progress(f"building {plan.title}")
        with calibrating(trt, builder, network, config, plan, tail):
            serialized = builder.build_serialized_network(network, config)
        tail.raise_pending()
        del parser  # the network refers to weights that it owns
        if serialized is None:
            raise _failed(plan, tail)
        # As a buffer: a memoryview of it has the wrong item format.
        with plan.output.open("wb") as file:
            file.write(serialized)
        timings.save()
        return Built(tail.lines, tuple(timings.notes))


def _failed(plan: BuildPlan, tail: LogTail) -> EngineBuildError:
    log = "\n".join(tail.lines)
    code, remedy = next(
        ((code, remedy) for logged, code, remedy in _ADVICE if logged.search(log)),
        ("TRT300", _LAST_ADVICE),
    )
    if plan.control_flow and _CONTROL_FLOW_ASSERTION in log:
        remedy = Remedy(
            f"export the model without control flow (it has {', '.join(plan.control_flow)} nodes). "
            "If shapes and settings are fixed, onnxsim or the exporter can fold branches."
        )
    return EngineBuildError(
        f"{plan.version} could not build {plan.model_name}",
        fix=remedy,
        code=code,
        facts={"model": plan.model_name, "version": plan.version, "opset": plan.opset},
        log_tail=tail.lines,
    )


def _network_flags(trt: Any) -> int:
    """8.6 needs EXPLICIT_BATCH; 11 has no such member and reuses its bit."""
    explicit = getattr(trt.NetworkDefinitionCreationFlag, "EXPLICIT_BATCH", None)
    return 0 if explicit is None else 1 << int(explicit)


def _configure(trt: Any, config: Any, plan: BuildPlan) -> None:
    config.profiling_verbosity = trt.ProfilingVerbosity.DETAILED
    if plan.tf32:
        config.set_flag(trt.BuilderFlag.TF32)
    else:
        config.clear_flag(trt.BuilderFlag.TF32)
    for name in plan.flags:
        config.set_flag(getattr(trt.BuilderFlag, name))
    options = dict(plan.options or {})
    options.pop(CALIBRATOR, None)  # see `calibrating`
    if options.pop(SERIALIZE_PLUGINS, False):
        config.plugins_to_serialize = [str(one.path) for one in plan.plugin_libraries]
    apply_builder_options(trt, config, options, version=plan.version)
    if plan.compute_capabilities:
        config.num_compute_capabilities = len(plan.compute_capabilities)
        for index, name in enumerate(plan.compute_capabilities):
            config.set_compute_capability(getattr(trt.ComputeCapability, name), index)
