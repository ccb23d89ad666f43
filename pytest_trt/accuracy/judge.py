"""What was measured against what is allowed: the findings of one output."""

from __future__ import annotations

from collections.abc import Iterator

from pytest_trt.accuracy.element import Element
from pytest_trt.accuracy.findings import Finding, OutputComparison
from pytest_trt.accuracy.numbers import scalar, share
from pytest_trt.wording import count

#: dtypes, by how their names begin, whose elements have no order or no length worth a similarity.
_UNORDERED = ("bool", "complex", "str", "bytes", "object", "String")


def judge(output: OutputComparison) -> Iterator[Finding]:
    """Yield why an output whose structure is right does not pass, the gravest reason first."""
    yield from _judge_nonfinite(output)
    yield from _judge_emptiness(output)
    yield from _judge_elements(output)
    yield from _judge_agreement(output)


def _judge_nonfinite(output: OutputComparison) -> Iterator[Finding]:
    nonfinite, policy = output.nonfinite, output.tolerance.nan
    if policy == "forbid" and nonfinite.positions:
        whose = _whose(nonfinite.in_actual, nonfinite.in_reference)
        yield Finding(
            "nonfinite",
            f"{whose}: {_counts(output)}; first at {_place(nonfinite.first)}.",
        )
    if policy == "match" and nonfinite.disagreeing:
        yield Finding(
            "nonfinite",
            f"NaN or infinity on one side and not the same on the other, at "
            f"{count(nonfinite.disagreeing, 'position')}: {_counts(output)}; first at "
            f"{_place(nonfinite.first_disagreeing)}.",
        )


def _whose(actual: int, reference: int) -> str:
    if not reference:
        return "not finite, while the reference is finite everywhere"
    if not actual:
        return "finite, but the reference itself is not finite"
    return "not finite, and the reference itself is not finite either"


def _counts(output: OutputComparison) -> str:
    nonfinite = output.nonfinite
    sides = (
        ("actual", nonfinite.actual_nan, nonfinite.actual_pos_inf, nonfinite.actual_neg_inf),
        (
            "reference",
            nonfinite.reference_nan,
            nonfinite.reference_pos_inf,
            nonfinite.reference_neg_inf,
        ),
    )
    texts = []
    for side, *counts in sides:
        named = zip(("NaN", "+Inf", "-Inf"), counts, strict=True)
        parts = [f"{number:,} {kind}" for kind, number in named if number]
        texts.append(f"{side} {' and '.join(parts) if parts else 'none'}")
    return f"{', '.join(texts)}, of {count(output.size, 'element')}"


def _place(element: Element | None) -> str:
    if element is None:
        return "?"
    return (
        f"{list(element.index)} (actual {scalar(element.actual)}, "
        f"reference {scalar(element.reference)})"
    )


def _judge_emptiness(output: OutputComparison) -> Iterator[Finding]:
    if output.size and not output.compared and output.tolerance.nan == "ignore":
        yield Finding(
            "nothing compared",
            f"nothing was compared: of {count(output.size, 'element')} none is finite on both "
            "sides, and nan='ignore' leaves out what is not.",
        )


def _judge_elements(output: OutputComparison) -> Iterator[Finding]:
    allowed = output.tolerance.max_mismatch_pct
    if 100.0 * output.mismatched <= allowed * output.compared:
        return
    text = (
        f"{output.mismatched:,} of {count(output.compared, 'element')} "
        f"({share(output.mismatched_pct)}) mismatched"
    )
    yield Finding("mismatch", f"{text}; {allowed:g}% may be." if allowed else f"{text}.")


def _judge_agreement(output: OutputComparison) -> Iterator[Finding]:
    tolerance = output.tolerance
    k, least_topk = tolerance.topk or (0, None)
    largest = "largest element" if k == 1 else f"{k} largest elements"
    for kind, value, least, label in (
        ("cosine", output.cosine, tolerance.cosine, "the smallest cosine similarity of a row"),
        ("top1", output.top1, tolerance.top1, "the share of rows with the same largest element"),
        ("topk", output.topk, least_topk, f"the mean overlap of the {largest}"),
    ):
        if least is None or not output.size:
            continue
        if value is None:
            yield _not_measured(output, kind)
        elif value < least:
            yield Finding(kind, f"{label} is {value:.4g}; at least {least:g} is asked for.")


def _not_measured(output: OutputComparison, kind: str) -> Finding:
    """Why a measure that was asked for has no value: it must not pass for agreement."""
    if output.dtype.startswith(_UNORDERED):
        why = f"makes no sense on {output.dtype} elements"
    elif not output.shape:
        why = "needs at least one axis, and this output is a single number"
    elif kind == "topk" and output.tolerance.topk and output.tolerance.topk[0] > output.shape[-1]:
        why = (
            f"asks for the {output.tolerance.topk[0]} largest of a last axis of length "
            f"{output.shape[-1]}"
        )
    else:
        return Finding("nothing compared", f"{kind} found no finite row to compare.")
    return Finding("not applicable", f"{kind} {why}: it was not checked.")
