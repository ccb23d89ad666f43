"""Builds of the embedded backend, as the child process does them: see `build_job`."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from pytest_trt.backends.onnxruntime import retained
from pytest_trt.backends.onnxruntime.build_job import BuildJob
from pytest_trt.backends.onnxruntime.plan import (
    CONVERTED_NAME,
    as_it_is,
    converted_files,
    write_plan,
)
from pytest_trt.engine.builder_options import BUILDER_OPTIONS
from pytest_trt.engine.facts import Layer
from pytest_trt.engine.protocols import BuildRequest, BuildResult, Progress
from pytest_trt.engine.spec import Target
from pytest_trt.onnx.file import OnnxModel, read_node_names
from pytest_trt.records import from_data, to_data
from pytest_trt.tensors.stored import StoredSamples
from pytest_trt.terms import CPU
from pytest_trt.wording import count

#: The operator into which ONNX Runtime fuses a MatMul of block-quantised weights from the level
#: 'extended' on. It also quantises the activations.
#: Source: ONNX Runtime, onnxruntime_session_options_config_keys.h,
#: kOrtSessionOptionsQDQMatMulNBitsAccuracyLevel, default 4.
_FUSED_BLOCK_MATMUL = "MatMulNBits"


#: The precisions that are computed in FP32 and rounded, by the precision that they are rounded to.
_NARROWED = {"fp16": "fp16", "bf16": "bf16", "mixed": "fp16"}


def do_build(progress: Progress, job: Mapping[str, Any]) -> Any:
    """Do a `BuildJob`; return its `BuildResult`, both as JSON-simple data."""
    given = from_data(BuildJob, job)
    samples = StoredSamples(given.calibration) if given.calibration else ()
    request = BuildRequest(given.model, given.spec, Target(CPU), given.directory, samples, progress)
    started_s = time.perf_counter()
    retained.drop()
    result = build(request, threads=given.threads)
    return to_data(replace(result, build_s=time.perf_counter() - started_s))


def build(request: BuildRequest, *, threads: int = 1) -> BuildResult:
    """Convert, optimise and serialise the model.

    Where a level of optimisation breaks a valid model, the engine gets the next lower one.
    """
    model = request.model
    source, notes, layers = _source(request)
    request.progress(f"optimising {model.path.name}")
    plan, log = write_plan(source, request, threads=threads)
    for left_over in converted_files(request.directory):
        left_over.unlink()
    layers = layers or _layers(plan, model)
    notes += _fusion_notes(model, request.spec.precision, layers)
    return BuildResult(plan_name=plan.name, log_tail=log, notes=notes, layers=layers)


def _source(request: BuildRequest) -> tuple[Path, tuple[str, ...], tuple[Layer, ...]]:
    """Return the file to optimise, notes, and the layers if the plan does not show them."""
    model, converted = request.model, request.directory / CONVERTED_NAME
    if not as_it_is(model, request.spec):
        request.progress(f"converting {model.path.name} to {request.spec.precision}")
        return (converted, *_convert(request, converted))
    from pytest_trt.backends.conversion.converting import explained
    from pytest_trt.onnx import graph
    from pytest_trt.onnx.loading import load

    if model.ir_version >= graph.IR_FREE_INITIALISERS:
        return model.path, (), ()
    # The optimiser's constants would be inputs of the plan.
    proto = load(model.path)
    with explained(model, "fp32"):
        graph.modernise(proto)
        graph.save(proto, converted)
    return converted, (), ()


def _convert(request: BuildRequest, output: Path) -> tuple[tuple[str, ...], tuple[Layer, ...]]:
    """Write the converted model; return notes, and its layers if the plan does not show them.

    The plan of a narrow engine is all FP32 with roundings between its nodes, so its layers are
    those of the converted model before the roundings.
    """
    from pytest_trt.backends.conversion.convert import converted

    spec, model = request.spec, request.model
    options = {
        name: value
        for name, value in spec.builder_options.items()
        if BUILDER_OPTIONS[name].of_conversion
    }
    # The plan is checked instead of what it is made from.
    done = converted(
        model,
        spec.precision,
        output,
        calibration=request.calibration,
        options=options,
        keep_fp32=spec.keep_fp32,
        qdq_weights=False,
        verified=False,
    )
    to = _NARROWED.get(spec.precision)
    if to is None:
        return done.notes, ()
    from pytest_trt.backends.conversion.converting import explained
    from pytest_trt.backends.conversion.narrow_types import NARROW_TYPES
    from pytest_trt.backends.conversion.rounding import round_file

    layers = _layers(output, model)
    with explained(model, spec.precision):
        return (*done.notes, *round_file(output, done.float32_outputs, NARROW_TYPES[to])), layers


def _layers(file: Path, model: OnnxModel) -> tuple[Layer, ...]:
    from pytest_trt.backends.onnxruntime.layers import onnx_layers

    return onnx_layers(file, read_node_names(model.path))


def _fusion_notes(model: OnnxModel, precision: str, layers: tuple[Layer, ...]) -> tuple[str, ...]:
    """Return a note if the optimiser made operators less precise than those of the model."""
    if _FUSED_BLOCK_MATMUL in model.op_types or precision == "int4":
        return ()
    fused = sum(layer.kind == _FUSED_BLOCK_MATMUL for layer in layers)
    if not fused:
        return ()
    return (
        f"{count(fused, 'MatMul')} of block-quantised weights became {_FUSED_BLOCK_MATMUL}, which "
        'quantises activations too; builder option graph_optimization_level="basic" avoids it',
    )
