"""What to do about a failed comparison: one instruction, for the gravest finding."""

from __future__ import annotations

from dataclasses import dataclass

from pytest_trt.accuracy.findings import Comparison, OutputComparison
from pytest_trt.accuracy.gravity import gravest, is_exact, with_finding
from pytest_trt.accuracy.numbers import quoted, rounded_up
from pytest_trt.accuracy.offer import beyond_all, paste
from pytest_trt.accuracy.tolerance import DEFAULT_TOLERANCES, Tolerance


@dataclass(frozen=True, slots=True)
class OtherModel:
    """A reference that is another model than the one under test.

    Attributes:
        path: The reference's file, as it is typed.
        model: The file of the model under test, as it is typed.
        undo: How the model's file is brought back.
        agrees: Whether the engine agrees with its own model, where that is known.
        differs: What differs between the two models; empty where that is not known.
        converted: Whether the one was made from the other to compute in less.
    """

    path: str
    model: str
    git_restore_hint: str
    agrees: bool | None = None
    differs: str = ""
    converted: bool = False


#: Up to this many times the tolerance, a difference looks like rounding rather than a defect.
_SLIGHTLY_ABOVE = 4.0

#: From this many times the tolerance on, no rounding explains a difference.
_FAR_ABOVE = 100.0

#: Kinds that judge an output as a whole.
_AGREEMENT = ("cosine", "top1", "topk")

_BY_KIND = {
    "swapped": "make the engine give its outputs under the names that the model has; outputs are "
    "bound by position somewhere.",
    "renamed": "export the model with its old output names, or renew the reference if the new name "
    "is meant.",
    "missing": "mark the tensor as an output of the model again, or renew the reference if the "
    "output was removed on purpose.",
    "extra": "renew the reference if the new output is meant, or remove it from the model.",
    "nothing compared": "give inputs for which the model has something finite to compare, or drop "
    "nan='ignore'.",
    "shape": "feed both sides the same inputs, and check layout and dynamic axes of the export.",
    "dtype": "cast the output to the model's own dtype: the values above tell whether that is all.",
    "not applicable": "take the measure off this output; put it on one whose last axis is classes.",
}

_SAME_INPUTS = (
    "check that both sides get the same preprocessed inputs, in the same batch order and layout, "
    "and the same weights"
)

_BLOCK_LISTS = (
    'trt_model(builder_options={"op_block_list": "..."}) (operators) or {"node_block_list": "..."} '
    "(nodes)"
)

_KEEP_FLOAT32 = f"keep what loses precision in FP32, by {_BLOCK_LISTS}"

#: What brings lost precision back, by the engine's precision.
_MEND = {
    "fp32": "look for what the backend fuses or computes in another way",
    "tf32": "build the engine in fp32",
    "fp16": _KEEP_FLOAT32,
    "int8": f"calibrate on more inputs from real use, or {_KEEP_FLOAT32}",
}

_MEND_UNKNOWN = "keep the layers that lose precision in FP32"


def advice(
    comparison: Comparison,
    precision: str | None,
    *,
    several: bool = False,
    other: OtherModel | None = None,
) -> str:
    """Return the instruction that fits the gravest finding of a comparison that failed.

    Args:
        comparison: What was found.
        precision: The engine's precision, where known.
        several: Whether the test runs in other precisions too.
        other: The model that gave the reference, where that is another one.
    """
    instruction = _advice(comparison, precision, several=several)
    if other is None:
        return instruction
    if other.agrees:
        differs = f" in {other.differs}" if other.differs else ""
        offer = None
        if other.converted and _only_values_differ(comparison):
            offer = _offer(comparison, precision, several=several)
        return (
            f"{other.model} differs from its reference{differs}, and the engine computes what "
            f"{other.model} says, so that none of its options mends this. "
            f"{_mend_model(other, offer)}"
        )
    if other.agrees is not None:
        return f"the engine does not agree with its own model either: {instruction}"
    return (
        "tell first whether the engine or the model is to blame: take reference= out of the test's "
        f"marker and run it again. If it passes, {other.model} differs from its reference: "
        f"{_mend_model(other)} If it fails, the engine is to blame: {instruction}"
    )


def _mend_model(other: OtherModel, offer: str | None = None) -> str:
    if other.converted:
        allow = f"; or, if it is good enough on real data, allow it: {offer}" if offer else ""
        return (
            "Convert it with more care: calibrate on more inputs from real use, or leave what "
            f"loses precision as it was{allow}."
        )
    return (
        f"Bring back what it was: {other.git_restore_hint}. If the change is meant, make it the "
        f"reference: `cp {other.model} {other.path}`."
    )


def _advice(comparison: Comparison, precision: str | None, *, several: bool) -> str:
    finding, output = gravest(comparison)
    if finding.kind == "nothing compared" and output is None:
        return _nothing_compared(comparison)
    if output is not None and finding.kind == "nonfinite":
        return _nonfinite(with_finding(comparison, "nonfinite"), precision)
    if output is not None and finding.kind == "mismatch":
        return _mismatch(output, comparison, precision, several=several)
    if output is not None and finding.kind in _AGREEMENT:
        return _agreement(finding.kind, output, precision)
    return _BY_KIND[finding.kind]


def _nothing_compared(comparison: Comparison) -> str:
    if not comparison.outputs:
        return "compare at least one output: the model, or the reference, gave none."
    return (
        "give inputs for which the model finds something: an output without elements is right "
        "whatever the engine computes."
    )


def _nonfinite(outputs: list[OutputComparison], precision: str | None) -> str:
    # Under another policy than "forbid", what the reference has is allowed for already.
    meant = [o for o in outputs if o.nonfinite.in_reference and o.tolerance.nan == "forbid"]
    engine_only = [output for output in outputs if output not in meant]
    parts = []
    if engine_only:
        parts.append(_overflow(quoted(output.name for output in engine_only), precision))
    if meant:
        names = quoted(output.name for output in meant)
        entries = ", ".join(f'"{output.name}": {{"nan": "match"}}' for output in meant)
        parts.append(
            f"the reference of {names} computes in FP32 and is not finite itself, so look at the "
            "inputs and the model first; if it is meant (a mask of -inf, say), set "
            f"outputs={{{entries}}}"
        )
    return f"{'; '.join(parts)}."


def _overflow(names: str, precision: str | None) -> str:
    if precision in ("fp16", "int8", None):
        which = "" if precision == "fp16" else "if the engine computes in FP16, "
        how = "" if precision is None else f", by {_BLOCK_LISTS}"
        return (
            f"{which}values overflow beyond 65504, as squares in a normalisation or the sums of a "
            f"softmax do: keep the layers before {names} in FP32{how}; name what lies between "
            "them as well, or the values overflow there (`pytest-trt inspect MODEL` lists the "
            "operators)"
        )
    return (
        "this precision has FP32's range, so it is no plain overflow: look before "
        f"{names} for memory that was never written, a wrong input shape, or a division by zero"
    )


def _mismatch(
    output: OutputComparison, comparison: Comparison, precision: str | None, *, several: bool
) -> str:
    if is_exact(output):
        return _exact(output)
    mend = _MEND.get(precision or "", _MEND_UNKNOWN)
    if output.used > _SLIGHTLY_ABOVE and _only_later_rows(output) and _has_batch(comparison):
        assert output.rows is not None
        return (
            f"along axis 0, the batch as it seems, all is right before row {output.rows.first} and "
            "nothing from there on: suspect how the engine or the test handles a batch, and "
            "compare the same rows at batch 1."
        )
    if output.used < _FAR_ABOVE and any(f.kind in _AGREEMENT for f in output.findings):
        return (
            "not only single values differ, the answer does, so raising rtol and atol would not "
            f"make it pass: {mend}."
        )
    offer = _offer(comparison, precision, several=several)
    usual = DEFAULT_TOLERANCES.get(precision or "")
    within_usual = usual is not None and _within(output, usual)
    if output.used >= _FAR_ABOVE and not within_usual:
        return f"a difference of this size is hardly rounding: {_SAME_INPUTS}."
    if offer is None:
        none = beyond_all(_raisable(comparison), precision)
        return f"{none}. First {_SAME_INPUTS}; if they do, {mend}."
    if output.used <= _SLIGHTLY_ABOVE:
        return f"if this difference is acceptable for {output.name!r}, allow it: {offer}."
    if usual is not None and within_usual:
        return (
            f"{precision} usually differs by this much ({usual.allowance}), so the tolerance asks "
            f"for more than the precision holds; to allow it: {offer}."
        )
    return (
        f"this is more than rounding of the last digits: {mend}; or, if the model is still "
        f"good enough on real data, allow it: {offer}."
    )


def _raisable(comparison: Comparison) -> list[OutputComparison]:
    """Return the outputs that another tolerance may let pass."""
    return [o for o in with_finding(comparison, "mismatch") if not is_exact(o)]


def _offer(comparison: Comparison, precision: str | None, *, several: bool) -> str | None:
    """Return the tolerances under which they pass, None where no sensible one lets them."""
    raisable = _raisable(comparison)
    return paste(raisable, precision, several=several) if raisable else None


def _only_values_differ(comparison: Comparison) -> bool:
    """Whether tolerances are all that a comparison fails by."""
    return all(f.kind == "mismatch" for output in comparison.outputs for f in output.findings)


def _within(output: OutputComparison, usual: Tolerance) -> bool:
    """Whether another tolerance would have let every value of the output pass."""
    return output.needed_atol <= usual.atol or output.needed_rtol <= usual.rtol


def _only_later_rows(output: OutputComparison) -> bool:
    """Whether the rows are right up to one and all wrong, two at least, from there on."""
    rows = output.rows
    return (
        rows is not None
        and rows.first > 0
        and rows.mismatched > 1
        and rows.mismatched == rows.total - rows.first
    )


def _has_batch(comparison: Comparison) -> bool:
    """Whether axis 0 may well be the batch: as long in every output, and not followed by a 1.

    Recurrent models give [time, batch, classes], where later rows are worse by nature.
    """
    shapes = [output.shape for output in comparison.outputs if output.shape]
    return len({shape[0] for shape in shapes}) == 1 and not any(
        len(shape) > 2 and shape[1] == 1 for shape in shapes
    )


def _exact(output: OutputComparison) -> str:
    pct = rounded_up(output.mismatched_pct)
    return (
        "such outputs are compared exactly, and near ties upstream flip them: check the scores "
        "they come from, or, if some may flip, allow a share: "
        f'outputs={{"{output.name}": {{"max_mismatch_pct": {min(pct, 100.0):g}}}}}.'
    )


def _agreement(kind: str, output: OutputComparison, precision: str | None) -> str:
    what = "direction" if kind == "cosine" else "ranking"
    mend = _MEND.get(precision or "", _MEND_UNKNOWN)
    return (
        f"each element is within its tolerance, yet the {what} of {output.name!r} changed: {mend};"
        " random inputs give near ties, so judge it on real ones."
    )
