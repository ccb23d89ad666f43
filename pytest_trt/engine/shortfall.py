"""Whether an engine is of the precision that it was asked to be: builders do not always say."""

from __future__ import annotations

import shlex
from pathlib import Path

from pytest_trt.diagnostics import EngineBuildError
from pytest_trt.engine.facts import LEAST_TOLD_PCT, EngineFacts
from pytest_trt.engine.spec import BLOCK_LISTS, EngineSpec
from pytest_trt.onnx.file import OnnxModel

#: What a spec's precision is called in facts. An engine asked for in fp32 or tf32 falls short of
#: nothing: what is narrower in it was so in the model.
_WANTED = {"fp16": "half", "int8": "int8"}

#: Below this, kernels and not weights decide the size of a plan, and it is evidence of nothing.
_LARGE_WEIGHTS_BYTES = 16 * 10**6

#: A plan at least this large for its model's weights in FP32 looks as if they still were that; with
#: FP16 weights it is about half.
_FP32_SIZE_PCT = 90.0


def precision_shortfall(
    spec: EngineSpec, model: OnnxModel, facts: EngineFacts, plan: Path
) -> EngineBuildError | None:
    """Return an error if an engine was asked for in fp16 or int8 and nothing in it is that.

    A partly converted engine is what was asked for, and so is one without anything to convert.
    Where the facts do not reach, nothing is claimed.

    Args:
        spec: What was asked for.
        model: What it was built from.
        facts: What it is made of.
        plan: Where it lies, for whoever wants to look.
    """
    wanted = _WANTED.get(spec.precision)
    if wanted is None or facts.layers is None:
        return None
    layers, weights = facts.layer_counts, facts.weight_counts
    wider = {"half", "float"} - {wanted}
    if layers[wanted] or weights[wanted] or not any(layers[precision] for precision in wider):
        return None
    # Layers that do not tell follow the weights around them; one that hides weights does not.
    if facts.weights_pct is None and facts.unknown_layers:
        return None
    computing = layers.total() + facts.unknown_layers
    counted = f"{layers['float']} of its {computing} layers that compute"
    if weights.total():
        counted += f" and {weights['float']:,} of its {weights.total():,} weights"
    return EngineBuildError(
        f"{model.path.name} was asked for in {spec.precision}, but nothing in its engine is "
        f"{wanted}: {counted} are FP32.",
        fix=_fix(spec, plan),
    )


def _fix(spec: EngineSpec, plan: Path) -> str:
    blocked = [
        f"{name}={spec.builder_options[name]!r}"
        for name in BLOCK_LISTS
        if spec.builder_options.get(name)
    ]
    as_it_is = 'ask for precision="fp32", which tests this engine for what it is.'
    if blocked:
        return f"leave something to convert out of {' and '.join(blocked)}, or {as_it_is}"
    return (
        "builders keep FP32 where it is the fastest, as in very small models, and where the "
        f"model's own types ask for it. Give a model that was converted to {spec.precision} "
        f"elsewhere, or {as_it_is} Its layers: "
        f"pytest-trt inspect --layers {shlex.quote(str(plan))}"
    )


def precision_doubt(spec: EngineSpec, facts: EngineFacts) -> str | None:
    """Return a warning where an fp16 engine hides its weights and has the size of an FP32 one.

    No error: several profiles may each bring their own copy of weights that are half.
    """
    if spec.precision not in _WANTED:
        return None
    unknown_pct, size_pct = facts.unknown_weights_pct, facts.size_vs_fp32_pct
    if unknown_pct is None or size_pct is None:
        return None
    told = 100.0 - unknown_pct >= LEAST_TOLD_PCT
    small = facts.fp32_weights_bytes < _LARGE_WEIGHTS_BYTES or size_pct < _FP32_SIZE_PCT
    if told or small:
        return None
    return (
        f"it was asked for in {spec.precision}, but its plan is {size_pct:.0f}% as large as the "
        f"model's weights in FP32, and of {unknown_pct:.0f}% of these the engine does not tell the "
        "precision"
    )
