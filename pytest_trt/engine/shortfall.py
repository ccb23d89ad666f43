"""Whether an engine has the requested precision: builders may ignore it without a message."""

from __future__ import annotations

import shlex
from pathlib import Path

from pytest_trt.diagnostics import Diagnostic, EngineBuildError, Remedy
from pytest_trt.engine.facts import INTEGER, LEAST_REPORTED_PCT, EngineFacts, precision_of
from pytest_trt.engine.spec import FULL_PRECISIONS, EngineSpec
from pytest_trt.onnx.file import OnnxModel

#: The name of a spec's precision in facts. fp32 and tf32 are not checked: narrower types come from
#: the model.
_WANTED = {
    "fp16": "half",
    "bf16": "bfloat16",
    "int8": "int8",
    "fp8": "fp8",
    "int4": "int4",
    "mixed": "int8",
}

#: The precision of a spec by its name in facts.
_REQUESTS = {
    "float": "fp32",
    **{name: precision for precision, name in _WANTED.items() if precision != "mixed"},
}

#: The precisions that Q/DQ nodes decide, which no builder chooses by itself.
_QUANTISED = ("int8", "fp8", "int4")

#: The precisions of layers by requested precision, where nothing may be narrower; builders of the
#: others also choose FP16.
_ALLOWED = {
    **dict.fromkeys(FULL_PRECISIONS, ("float",)),
    **dict.fromkeys(("fp16", "bf16"), ("float", "half", "bfloat16")),
}

#: Below this, kernels rather than weights determine the size of a plan.
_LARGE_WEIGHTS_BYTES = 16 * 10**6

#: A plan of at least this size, relative to the model's weights in FP32, probably stores FP32
#: weights; with FP16 weights it is about half.
_FP32_SIZE_PCT = 90.0


def precision_shortfall(
    spec: EngineSpec,
    model: OnnxModel,
    facts: EngineFacts,
    plan: Path,
    *,
    builder_chooses: bool = True,
) -> EngineBuildError | None:
    """Return an error if nothing in an engine has the reduced precision that was requested.

    A partly converted engine passes, and so does one without anything to convert. There is no error
    if the engine reports too few facts.

    Args:
        spec: The request.
        model: What it was built from.
        facts: Its layers, weights and sizes.
        plan: Its plan, for the remedy.
        builder_chooses: Whether its builder may leave layers in FP32 that could be narrower.
    """
    wanted = _WANTED.get(spec.precision)
    if wanted is None or facts.layers is None:
        return None
    layers, weights = facts.layer_counts, facts.weight_counts
    others = set(layers) if wanted in _QUANTISED else {"half", "float"}
    if layers[wanted] or weights[wanted] or not any(layers[one] for one in others - {wanted}):
        return None
    # Layers without a reported precision follow the weights around them, unless they hide weights.
    if facts.weights_pct is None and facts.unknown_layers:
        return None
    found = "float" if layers["float"] else layers.most_common(1)[0][0]
    computing = layers.total() + facts.unknown_layers
    counted = f"{layers[found]} of its {computing} layers that compute"
    if weights.total():
        counted += f" and {weights[found]:,} of its {weights.total():,} weights"
    return EngineBuildError(
        f"{model.path.name} was requested in {spec.precision}, but nothing in its engine is "
        f"{wanted}: {counted} are {'FP32' if found == 'float' else found}",
        code="TRT305",
        facts={"model": model.path.name, "precision": spec.precision},
        fix=_fix(spec, plan, found, builder_chooses=builder_chooses),
    )


def narrower_precision(spec: EngineSpec, model: OnnxModel, facts: EngineFacts) -> str | None:
    """Return a precision below the requested one that layers or weights of a plan have.

    None if none has, or where the model may require it: by its types, operators or plugins.
    """
    allowed = _ALLOWED.get(spec.precision)
    own = {precision_of(element) for element in model.elements}
    own |= {precision_of(one.dtype) for one in (*model.inputs, *model.outputs)}
    if (
        allowed is None
        or model.is_quantized
        or own - {"float", INTEGER}
        or model.plugin_libraries
        or any("Cast" in name or "::" in name for name in model.op_types)
    ):
        return None
    found = (*facts.layer_counts, *facts.weight_counts)
    return next((precision for precision in found if precision not in allowed), None)


def fp32_layers(spec: EngineSpec, facts: EngineFacts) -> tuple[int, int] | None:
    """Return the FP32 layers of a reduced engine, and all of its layers that compute.

    None if it has no FP32 layers, or reports no precisions.
    """
    layers = facts.layer_counts
    if spec.precision not in _WANTED or not layers["float"]:
        return None
    return layers["float"], layers.total() + facts.unknown_layers


def _fix(spec: EngineSpec, plan: Path, found: str, *, builder_chooses: bool) -> Remedy:
    commands: tuple[str, ...] = (f"pytest-trt inspect --layers {shlex.quote(str(plan))}",)
    shorten = f"shorten keep_fp32={list(spec.keep_fp32)}"
    if found in _QUANTISED:
        text = "The model's own Q/DQ nodes decide the precision. This lists the layers:"
        way = f"use a model that was converted to {spec.precision} elsewhere"
    elif spec.keep_fp32 and not builder_chooses:
        text, commands, way = "keep_fp32 names everything that could be converted.", (), shorten
    elif spec.keep_fp32:
        text = (
            "Either keep_fp32 names everything that could be converted, or the builder keeps the "
            "rest in FP32 because that is faster, as in very small models. This lists the layers:"
        )
        way = f"if all of them are of keep_fp32, {shorten}"
    else:
        text = (
            "A builder keeps FP32 where it is faster, as in very small models, or where the "
            "model's own types require it. This lists the layers:"
        )
        way = f"use a model that was converted to {spec.precision} elsewhere"
    same = _REQUESTS.get(found, found)
    return Remedy(
        text,
        commands=commands,
        alternatives=(way, f'or request precision="{same}", which is what this engine is'),
    )


def precision_uncertain(
    spec: EngineSpec, model: OnnxModel, facts: EngineFacts
) -> Diagnostic | None:
    """Return a warning if an engine does not report its weights and is as large as in FP32.

    Not an error: each profile may have its own copy of half-precision weights.
    """
    if spec.precision not in _WANTED:
        return None
    unknown_pct, size_pct = facts.unknown_weights_pct, facts.size_vs_fp32_pct
    if unknown_pct is None or size_pct is None:
        return None
    reported = 100.0 - unknown_pct >= LEAST_REPORTED_PCT
    small = facts.fp32_weights_bytes < _LARGE_WEIGHTS_BYTES or size_pct < _FP32_SIZE_PCT
    if reported or small:
        return None
    return Diagnostic(
        "TRT306",
        f"{model.path.name} was requested in {spec.precision}, but its plan is {size_pct:.0f}% as "
        f"large as the model's weights in FP32, and the engine does not report the precision of "
        f"{unknown_pct:.0f}% of them",
        facts={
            "model": model.path.name,
            "precision": spec.precision,
            "size_vs_fp32_pct": size_pct,
            "unknown_weights_pct": unknown_pct,
        },
        severity="warning",
    )
