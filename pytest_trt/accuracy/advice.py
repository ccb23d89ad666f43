"""What to do about a failed comparison: one instruction, for the gravest finding."""

from __future__ import annotations

import math

from pytest_trt.accuracy.findings import Comparison, OutputComparison
from pytest_trt.accuracy.numbers import rounded_up
from pytest_trt.accuracy.tolerance import DEFAULT_TOLERANCES, Tolerance

#: Up to this many times the tolerance, a difference looks like rounding rather than a defect.
_SLIGHTLY_ABOVE = 4.0

#: From this many times the tolerance on, no rounding explains a difference.
_FAR_ABOVE = 100.0

#: Kinds of findings, the one that explains the others first.
_GRAVITY = (
    "swapped",
    "renamed",
    "missing",
    "extra",
    "nothing compared",
    "shape",
    "nonfinite",
    "dtype",
    "mismatch",
    "not applicable",
    "cosine",
    "top1",
    "topk",
)

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


def advice(comparison: Comparison, precision: str | None) -> str:
    """Return the instruction that fits the gravest finding of a comparison that failed."""
    found = [(finding.kind, None) for finding in comparison.findings]
    by_output = [
        (finding.kind, output) for output in comparison.outputs for finding in output.findings
    ]
    kind, output = min([*found, *by_output], key=_rank)
    if output is not None and kind == "nonfinite":
        return _nonfinite(output, precision)
    if output is not None and kind == "mismatch":
        return _mismatch(output, comparison, precision)
    if output is not None and kind in _AGREEMENT:
        return _agreement(kind, output, precision)
    if not comparison.outputs and kind == "nothing compared":
        return "compare at least one output: the model, or the reference, gave none."
    return _BY_KIND[kind]


def _rank(found: tuple[str, OutputComparison | None]) -> tuple[int, bool, float]:
    kind, output = found
    if output is None:
        return _GRAVITY.index(kind), False, 0.0
    # A class or an index follows from the scores: where those fail too, they are the cause.
    return _GRAVITY.index(kind), _is_exact(output), -output.used


def _nonfinite(output: OutputComparison, precision: str | None) -> str:
    if output.nonfinite.in_reference:
        return (
            "the reference computes in FP32 and is not finite itself, so look at the inputs and "
            "the model first; if it is meant (a mask of -inf, say), set "
            f'outputs={{"{output.name}": {{"nan": "match"}}}}.'
        )
    if precision in ("fp16", "int8", None):
        which = "" if precision == "fp16" else "if the engine computes in FP16, "
        return (
            f"{which}values overflow beyond 65504, as squares in a normalisation or the sums of a "
            "softmax do: keep the layers before this output in FP32."
        )
    return (
        "this precision has FP32's range, so it is no plain overflow: look for memory that was "
        "never written, a wrong input shape, or a division by zero."
    )


def _mismatch(output: OutputComparison, comparison: Comparison, precision: str | None) -> str:
    if _is_exact(output):
        return _exact(output)
    paste = _paste_all(comparison)
    if output.used > _SLIGHTLY_ABOVE and _only_later_rows(output):
        return (
            "the first rows agree and every later one does not: suspect how the engine or the test "
            "handles a batch, and compare the same rows at batch 1."
        )
    if output.used < _FAR_ABOVE and any(f.kind in _AGREEMENT for f in output.findings):
        return (
            "not only single values differ, the answer does, so raising rtol and atol would not "
            "make it pass: keep the layers that lose precision in FP32."
        )
    if output.used <= _SLIGHTLY_ABOVE:
        return f"if this difference is acceptable for {output.name!r}, allow it: {paste}."
    usual = DEFAULT_TOLERANCES.get(precision or "")
    if usual is not None and _within(output, usual):
        return (
            f"{precision} usually differs by this much ({usual.allowance}), so the tolerance asks "
            f"for more than the precision holds; to allow it: {paste}."
        )
    if output.used < _FAR_ABOVE:
        mend = (
            "calibrate on more inputs from real use, or keep the layers that lose precision in FP32"
            if precision == "int8"
            else "keep the layers that lose precision in FP32"
        )
        return (
            f"this is more than rounding of the last digits: {mend}; or, if the model is still "
            f"good enough on real data, allow it: {paste}."
        )
    return (
        "a difference of this size is hardly rounding: check that both sides get the same "
        "preprocessed inputs, in the same batch order and layout, and the same weights."
    )


def _within(output: OutputComparison, usual: Tolerance) -> bool:
    """Whether another tolerance would have let every value of the output pass."""
    return output.needed_atol <= usual.atol or output.needed_rtol <= usual.rtol


def _is_exact(output: OutputComparison) -> bool:
    """Whether equality is asked for, or all that there is: a larger tolerance is no answer then."""
    zero = output.tolerance.atol == output.tolerance.rtol == 0.0
    return output.worst_abs is None or output.dtype == "bool" or (zero and "int" in output.dtype)


def _only_later_rows(output: OutputComparison) -> bool:
    """Whether the rows are right up to one and all wrong, two at least, from there on."""
    rows = output.rows
    return (
        rows is not None
        and rows.first > 0
        and rows.mismatched > 1
        and rows.mismatched == rows.total - rows.first
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
    cause = (
        "calibrate with inputs from real use, or keep the last layers in FP32"
        if precision == "int8"
        else "keep the layers that lose precision in FP32"
    )
    return (
        f"each element is within its tolerance, yet the {what} of {output.name!r} changed: {cause};"
        " random inputs give near ties, so judge it on real ones."
    )


def _paste_all(comparison: Comparison) -> str:
    """The marker's argument that would let every value pass, ready to paste."""
    failing = [
        output
        for output in comparison.outputs
        if any(finding.kind == "mismatch" for finding in output.findings) and not _is_exact(output)
    ]
    return f"outputs={{{', '.join(map(_entry, failing))}}}"


def _entry(output: OutputComparison) -> str:
    tolerance = output.tolerance
    rtol, atol = tolerance.rtol, rounded_up(output.needed_atol)
    # Raise the part that has to grow less; one that is 0 was set so on purpose, or is unfit.
    if _growth(output.needed_rtol, tolerance.rtol) < _growth(output.needed_atol, tolerance.atol):
        rtol, atol = rounded_up(output.needed_rtol), tolerance.atol
    fields = [f'"rtol": {rtol:g}', f'"atol": {atol:g}', *_kept(tolerance)]
    return f'"{output.name}": {{{", ".join(fields)}}}'


def _growth(needed: float, given: float) -> float:
    return needed / given if given else math.inf


def _kept(tolerance: Tolerance) -> list[str]:
    """What the tolerance says beyond rtol and atol: a pasted entry must not lose it."""
    fields: list[tuple[str, object]] = [
        ("max_mismatch_pct", tolerance.max_mismatch_pct or None),
        ("cosine", tolerance.cosine),
        ("top1", tolerance.top1),
        ("topk", tolerance.topk),
        ("nan", None if tolerance.nan == "forbid" else tolerance.nan),
    ]
    return [
        f'"{name}": "{value}"' if isinstance(value, str) else f'"{name}": {value}'
        for name, value in fields
        if value is not None
    ]
