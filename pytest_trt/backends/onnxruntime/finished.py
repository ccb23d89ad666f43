"""Finished plans of the embedded backend: ONNX files that ONNX Runtime optimised elsewhere."""

from __future__ import annotations

from pathlib import Path

from pytest_trt.backends.conversion.converting import different_tensors
from pytest_trt.backends.onnxruntime.layers import casts_to, onnx_layers
from pytest_trt.backends.tensorrt.plan_header import is_plan, parse_plan_header
from pytest_trt.diagnostics import EngineLoadError, ModelError, Remedy
from pytest_trt.engine.finished import PlanContent, does_not_fit, for_another
from pytest_trt.engine.protocols import Plan
from pytest_trt.engine.spec import EngineSpec
from pytest_trt.onnx.file import OnnxModel, load_model, read_node_names

_READ_BYTES = 1 << 20


def check_plan(plan: Plan, product: str) -> None:
    """Refuse plans of other products: they have a header, and ONNX files have none.

    Raises:
        EngineLoadError: It is a plan of TensorRT, or cannot be read.
    """
    start = plan.read(_READ_BYTES)
    if is_plan(start):
        header = parse_plan_header(start, plan.size_bytes, str(plan.path))
        built_by = f"{header.product} {header.version}"
        raise for_another(plan.path, "TRT321", built_by, product)


def read_plan(plan: Plan, model: OnnxModel, spec: EngineSpec) -> PlanContent:
    """Return the layers of a plan. It has no profiles.

    Raises:
        EngineLoadError: It is no ONNX file, stores weights in other files, or has other inputs or
            outputs than the model.
    """
    try:
        found = load_model(plan.stable_path)
        different = different_tensors(model, plan.stable_path)
        layers = onnx_layers(plan.stable_path, read_node_names(model.path))
    except ModelError as error:
        raise _unreadable(plan, error) from error
    if different:
        tensors = ", ".join(different)
        raise does_not_fit(plan.path, model, f"its inputs or outputs differ: {tensors}")
    # Such engines compute in FP32 and round: what their plans consist of does not show it.
    narrow = {"fp16": "float16", "bf16": "bfloat16", "mixed": "float16"}.get(spec.precision)
    rounded = (
        narrow is not None
        and not found.elements.get(narrow)
        and casts_to(plan.stable_path, narrow)  # a plan that rounds nothing computes in FP32
    )
    return PlanContent(layers=None if rounded else layers)


def _unreadable(plan: Plan, error: ModelError) -> EngineLoadError:
    problem = error.message.replace(str(plan.stable_path), plan.path.name)
    problem = problem.replace(Path(plan.stable_path).name, plan.path.name)
    external = error.diagnostic.code in ("TRT202", "TRT203")
    if external:
        problem = "it stores weights in other files, which its digest does not cover"
    return EngineLoadError(
        f"the plan {plan.path} is not a whole ONNX file: {problem}",
        fix=Remedy("write the optimised model to one file again, or copy it again."),
        code="TRT322",
        facts={"path": str(plan.path), "problem": problem},
    )
