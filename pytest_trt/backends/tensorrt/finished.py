"""Finished plans of TensorRT and TensorRT-RTX: checked by their header, then loaded and read."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import suppress
from typing import Any

from pytest_trt.backends.cuda.runtime import Cuda
from pytest_trt.backends.tensorrt.inspection import UNKNOWN, inspected, inspection_of
from pytest_trt.backends.tensorrt.log import log_tail
from pytest_trt.backends.tensorrt.plugins import load_plugins
from pytest_trt.backends.tensorrt.session import loaded_engine, refused_plan
from pytest_trt.engine.finished import PlanContent, does_not_fit
from pytest_trt.engine.protocols import Plan
from pytest_trt.onnx.file import OnnxModel
from pytest_trt.onnx.libraries import Library
from pytest_trt.tensors.profiles import ShapeRange
from pytest_trt.tensors.spec import TensorSpec
from pytest_trt.tensors.value_ranges import ValueRange


def read_engine(
    trt: Any,
    plan: Plan,
    model: OnnxModel,
    *,
    device: int,
    host_code: bool,
    plugins: Sequence[Library] = (),
    version: str = "",
) -> PlanContent:
    """Load a plan, and return its profiles and layers.

    Args:
        trt: The vendor module.
        plan: The plan, whose header was checked.
        model: The model that it should have been built from.
        device: CUDA's number of the GPU.
        host_code: Whether the plan may contain its own runtime, as version-compatible ones do.
        plugins: Libraries of plugins to load first.
        version: Product and version as messages name them.

    Raises:
        BackendUnavailableError: CUDA cannot be used.
        DeviceLostError: The GPU was lost to this process before.
        EngineLoadError: It cannot be loaded on this GPU, or has other inputs or outputs.
    """
    Cuda(device).require_alive()
    load_plugins(trt, plugins, version)
    with log_tail(trt) as tail:
        _, engine = loaded_engine(trt, plan, host_code=host_code)
        if engine is None:
            raise refused_plan(plan.path, model, tail.lines, loaded=False)
        names = [engine.get_tensor_name(index) for index in range(engine.num_io_tensors)]
        inputs = [n for n in names if engine.get_tensor_mode(n) == trt.TensorIOMode.INPUT]
        different = list(_different(model, set(inputs), set(names) - set(inputs)))
        if different:
            tensors = ", ".join(different)
            raise does_not_fit(plan.path, model, f"its inputs or outputs differ: {tensors}")
        _require_linear(trt, engine, names, plan, model)
        found: dict[str, Any] = {}
        with suppress(*UNKNOWN):  # the layers are not reported then
            found = inspected(trt, engine)
        profiles = tuple(
            dict(_ranges(engine, model, inputs, index))
            for index in range(engine.num_optimization_profiles)
        )
    inspection = inspection_of(found, model)
    return PlanContent(
        profiles=tuple(filter(None, profiles)),
        layers=inspection.layers,
        hidden_weights=inspection.hidden_weights,
        device_memory_bytes=inspection.device_memory_bytes,
    )


def _different(model: OnnxModel, inputs: set[str], outputs: set[str]) -> Iterator[str]:
    """Yield the inputs and outputs in which a plan differs from its model."""
    # A builder may drop an input that nothing reads.
    yield from sorted(f"input {name} is not of the model" for name in inputs - _names(model.inputs))
    yield from sorted(f"output {name} is missing" for name in _names(model.outputs) - outputs)
    surplus = outputs - _names(model.outputs)
    yield from sorted(f"output {name} is not of the model" for name in surplus)


def _require_linear(
    trt: Any, engine: Any, names: Sequence[str], plan: Plan, model: OnnxModel
) -> None:
    """Refuse a plan with inputs or outputs in groups of channels: they may be larger than others.

    Raises:
        EngineLoadError: It has such a tensor.
    """
    for name in names:
        if engine.get_tensor_location(name) == trt.TensorLocation.HOST:
            continue
        layout = engine.get_tensor_format(name)
        if layout != trt.TensorFormat.LINEAR:
            raise does_not_fit(
                plan.path,
                model,
                f"tensor {name} has the format {layout.name}; pytest-trt feeds and reads LINEAR",
                fix="build the plan with linear inputs and outputs: without allowed_formats, or "
                "with trtexec --inputIOFormats=fp16:chw --outputIOFormats=fp16:chw.",
            )


def _names(specs: Sequence[TensorSpec]) -> set[str]:
    return {spec.name for spec in specs}


def _ranges(
    engine: Any, model: OnnxModel, inputs: list[str], index: int
) -> Iterator[tuple[str, ShapeRange | ValueRange]]:
    """Yield the ranges of one profile: of inputs that are dynamic in the plan or the model."""
    specs = {spec.name: spec for spec in model.inputs}
    # From TensorRT 10 on: what 8.6.0 has instead returns one of several values. By position: the
    # keywords have each other's names.
    values_of = getattr(engine, "get_tensor_profile_values", None)
    for name in sorted(inputs, key=list(specs).index):
        if engine.is_shape_inference_io(name) and values_of is not None:
            values = [tuple(map(int, point)) for point in values_of(index, name)]
            if len(values) == 3:
                yield name, ValueRange(*values)
        elif -1 in (shape := tuple(engine.get_tensor_shape(name))):
            low, opt, high = (tuple(p) for p in engine.get_tensor_profile_shape(name, index))
            yield name, ShapeRange(low, opt, high)
        elif specs[name].is_dynamic:  # the plan was built for one shape
            yield name, ShapeRange(shape, shape, shape)
