"""Judges one output: what was measured against its tolerance, as findings by severity."""

from __future__ import annotations

import math
from collections.abc import Iterator

from pytest_trt.accuracy.result import (
    KINDS,
    Comparison,
    Element,
    Finding,
    Kind,
    NonFinite,
    OutputResult,
    Scalar,
)
from pytest_trt.accuracy.tolerance import Tolerance, field_that_cannot_fail
from pytest_trt.units import below, percent_of
from pytest_trt.wording import count

#: dtypes, by how their names begin, whose elements have no order or no length worth a similarity.
_UNORDERED = ("bool", "complex", "str", "bytes", "object", "String")

#: Integers that are rounded numbers differ by this much at most, reach this much at least, and so
#: many of them differ.
_STEPS, _RANGE, _ROUNDED = 2.0, 64.0, 16


def judge(output: OutputResult) -> Iterator[Finding]:
    """Yield why an output whose structure is right does not pass, the gravest reason first."""
    if output.nonfinite.positions:
        yield from _judge_nonfinite(output)
        yield from _judge_emptiness(output)
    if output.mismatched and output.tolerance.elementwise:
        yield from _judge_elements(output)
    yield from _judge_agreement(output)
    idle = idle_field(output) if output.size else None
    if idle and idle[0] == "atol":
        yield Finding("not applicable", f"atol {idle[1]}, so it was not checked")


def found_in_all(comparison: Comparison) -> Iterator[Finding]:
    """Yield what concerns no single output: the set of outputs, and metrics."""
    yield from comparison.findings
    for metric in comparison.failed_metrics:
        of = f" of output {metric.output!r}" if metric.output else ""
        names = (metric.output,) if metric.output else ()
        text = f"metric {metric.name!r}{of} is {metric.figure}, required: {metric.limit}"
        if metric.problem:
            text = f"metric {metric.name!r}{of} has no value: {metric.problem}"
        yield Finding(metric.kind, text, names)


def gravest(comparison: Comparison) -> tuple[Finding, OutputResult | None]:
    """Return the finding of a failed comparison that explains the others, and its output.

    The output is None where the finding concerns the set of outputs. Of several outputs with
    findings of one kind, it is the one that exceeds its tolerance most.
    """
    whole = [(finding, None) for finding in found_in_all(comparison)]
    single = [(finding, output) for output in comparison.outputs for finding in output.findings]
    return min([*whole, *single], key=_rank)


def _rank(found: tuple[Finding, OutputResult | None]) -> tuple[int, bool, float]:
    finding, output = found
    gravity = KINDS.index(finding.kind)
    if output is None:
        return gravity, False, 0.0
    # A class or an index follows from the scores: where those fail too, they are the cause.
    return gravity, is_exact(output), -output.used


def with_finding(comparison: Comparison, kind: Kind) -> list[OutputResult]:
    """Return the outputs that have a finding of a kind."""
    return [o for o in comparison.outputs if any(f.kind == kind for f in o.findings)]


def is_exact(output: OutputResult) -> bool:
    """Whether only equality makes sense: a larger tolerance is no answer then."""
    zero = output.tolerance.atol == output.tolerance.rtol == 0.0
    return output.worst_abs is None or output.dtype == "bool" or (zero and "int" in output.dtype)


def is_rounded(output: OutputResult) -> bool:
    """Whether integers differ by a step or two of many, as rounded pixels do: they are no classes.

    A class or an index that flips is mostly further off, and few of them are not enough to tell.
    """
    steps = output.worst_abs.value if output.worst_abs is not None else 0.0
    return 0.0 < steps <= _STEPS and output.scale >= _RANGE and output.mismatched >= _ROUNDED


def idle_field(output: OutputResult) -> tuple[str, str] | None:
    """Return a field of the tolerance that cannot fail on an output, and why; None if none."""
    last = output.shape[-1] if output.shape else None
    return field_that_cannot_fail(output.tolerance, output.dtype, last)


def scalar(value: Scalar) -> str:
    """Return one tensor element as text: floats with four digits, everything else in full."""
    return f"{value:.4g}" if isinstance(value, float | complex) else repr(value)


def _judge_nonfinite(output: OutputResult) -> Iterator[Finding]:
    nonfinite, policy = output.nonfinite, output.tolerance.nan
    if policy == "forbid" and nonfinite.positions:
        first = f"; first at {_place(nonfinite.first)}" if nonfinite.first else ""
        yield Finding("nonfinite", f"{_counts(output)}{first}")
    if policy == "match" and nonfinite.disagreeing:
        where = count(nonfinite.disagreeing, "position")
        yield Finding(
            "nonfinite",
            f"NaN and infinities do not match at {where}: {_counts(output)}; first at "
            f"{_place(nonfinite.first_disagreeing)}",
        )


def _counts(output: OutputResult) -> str:
    found: NonFinite = output.nonfinite
    actual = (found.actual_nan, found.actual_pos_inf, found.actual_neg_inf)
    reference = (found.reference_nan, found.reference_pos_inf, found.reference_neg_inf)
    of = count(output.size, "element")
    return f"{_tally(actual)} in the output ({of}), {_tally(reference)} in the reference"


def _tally(counts: tuple[int, ...]) -> str:
    named = zip(("NaN", "+Inf", "-Inf"), counts, strict=True)
    return " and ".join(f"{number:,} {kind}" for kind, number in named if number) or "none"


def _place(element: Element | None) -> str:
    if element is None:
        return "?"
    return f"{list(element.index)}: {scalar(element.actual)}, reference {scalar(element.reference)}"


def _judge_emptiness(output: OutputResult) -> Iterator[Finding]:
    # Ranks find by themselves that they have nothing to rank; cosine leaves out what is not finite.
    measured = output.tolerance.elementwise or output.tolerance.cosine is not None
    if not output.size or output.compared or not measured:
        return
    if output.tolerance.nan == "ignore":
        yield Finding(
            "nothing compared",
            f"none of {count(output.size, 'element')} is finite on both sides, and nan='ignore' "
            "skips the others",
        )
    elif output.tolerance.nan == "match" and (
        output.nonfinite.actual_nan == output.nonfinite.reference_nan == output.size
    ):
        # Infinities of one sign are equal values; NaN are not.
        yield Finding(
            "nothing compared", f"all {count(output.size, 'element')} are NaN on both sides"
        )


def _judge_elements(output: OutputResult) -> Iterator[Finding]:
    allowed = output.tolerance.max_mismatch_pct
    if 100.0 * output.mismatched <= allowed * output.compared or _may_be_chance(output):
        return
    share, tolerance = percent_of(output.mismatched_pct), output.tolerance
    if is_exact(output) or tolerance.atol == tolerance.rtol == 0.0:
        # The headline has the counts already.
        text = f"{share} of the elements differ; equality is required ({tolerance.origin})"
    else:
        text = (
            f"{output.mismatched:,} of {count(output.compared, 'element')} ({share}) differ by "
            f"more than {_formula(tolerance)} ({tolerance.origin})"
        )
    yield Finding("mismatch", f"{text}; {allowed:g}% may differ" if allowed else text)


def _may_be_chance(output: OutputResult) -> bool:
    """Whether a sample has more mismatches than allowed by chance, with a probability above 1%.

    Chernoff's bound: with a share p in the whole output, n sampled elements have a share q > p or
    more with a probability of at most exp(-n KL(q, p)).
    """
    allowed, share = output.tolerance.max_mismatch_pct / 100.0, output.mismatched_pct / 100.0
    if not output.sampled or not allowed or share == 1.0:
        return False
    divergence = share * math.log(share / allowed)
    divergence += (1.0 - share) * math.log((1.0 - share) / (1.0 - allowed))
    return output.compared * divergence < math.log(100.0)


def _formula(tolerance: Tolerance) -> str:
    parts = []
    if tolerance.atol:
        parts.append(f"{tolerance.atol:.4g}")
    if tolerance.rtol:
        parts.append(f"{tolerance.rtol:.4g}*|reference|")
    return " + ".join(parts)


def _judge_agreement(output: OutputResult) -> Iterator[Finding]:
    tolerance = output.tolerance
    k, least_topk = tolerance.topk or (0, None)
    measures: tuple[tuple[Kind, float | None, float | None, str], ...] = (
        ("cosine", output.cosine, tolerance.cosine, "the smallest cosine similarity of a row"),
        ("top1", output.top1, tolerance.top1, "the share of rows with the same largest element"),
        ("topk", output.topk, least_topk, f"the mean overlap of the {k} largest elements"),
    )
    for kind, value, least, label in measures:
        if least is None or not output.size:
            continue
        if value is None:
            yield _not_measured(output, kind)
        elif value < least:
            yield Finding(kind, f"{label} is {below(value, least)}, below the limit of {least:g}")


def _not_measured(output: OutputResult, kind: Kind) -> Finding:
    """Explain why a requested measure has no value: it must not pass as agreement."""
    idle = idle_field(output)
    if output.dtype.startswith(_UNORDERED):
        why = f"does not apply to {output.dtype} elements"
    elif not output.shape:
        why = "needs at least one axis, but this output is a scalar"
    elif idle and idle[0] == kind:
        _, why = idle
    else:
        return Finding(
            "nothing compared",
            f"{kind} has no row to rank: every reference row is constant or has no finite element",
        )
    return Finding("not applicable", f"{kind} {why}, so it was not checked")
