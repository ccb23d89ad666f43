"""A comparison told to the person who must act: what differs, where, by how much, what to do."""

from __future__ import annotations

from collections.abc import Iterator

from pytest_trt.accuracy.advice import OtherModel, advice
from pytest_trt.accuracy.element import Element
from pytest_trt.accuracy.findings import Comparison, OutputComparison
from pytest_trt.accuracy.headline import headline
from pytest_trt.accuracy.numbers import figure, multiple, rounded_up, scalar, share
from pytest_trt.accuracy.tolerance import Tolerance
from pytest_trt.wording import count

#: dtypes, by how their names begin, for which a tolerance above zero is an answer.
_FLOATING = ("float", "bfloat", "complex")


def explain(
    comparison: Comparison,
    *,
    subject: str,
    precision: str | None = None,
    several: bool = False,
    other: OtherModel | None = None,
) -> list[str]:
    """Return the failure text: the failing outputs in full, one line for each that passes, a fix.

    Args:
        comparison: What was found.
        subject: What was compared: "digits.onnx in fp16 on sm86". It follows the fact.
        precision: The engine's precision, where known: the fix depends on it.
        several: Whether the test runs in other precisions too: what is offered is for this one.
        other: The model that gave the reference, where that is another one.
    """
    failed = [output for output in comparison.outputs if not output.passed]
    passed = [output for output in comparison.outputs if output.passed]
    lines = [headline(comparison, subject)]
    lines += [f"  {finding.text}" for finding in comparison.findings]
    # No tolerance is to be raised for an engine that computes what its model says.
    offered = other is None or not other.agrees
    for output in failed:
        lines += _failing(output, offered=offered)
    if any(output.size for output in comparison.outputs):
        lines += [f"  {_passing(output)}" for output in passed]
    if not comparison.passed:
        told = advice(comparison, precision, several=several, other=other)
        lines.append(f"Fix: {told}")
    return lines


def _failing(output: OutputComparison, *, offered: bool) -> Iterator[str]:
    yield f"  {output.name}: {output.dtype}{list(output.shape)}"
    for finding in output.findings:
        yield f"    {finding.text}"
    if output.worst_used is None:
        return
    yield from _elements(output)
    if output.rows is not None and output.rows.total > 1:
        yield f"    {_rows(output)}"
    if offered:
        yield from _needed(output)


def _elements(output: OutputComparison) -> Iterator[str]:
    worst = output.worst_used
    yield f"    allowed: {_allowed(output.tolerance)}"
    if worst is not None and output.worst_abs is None:
        yield f"    first difference {_where(worst)}"
        return
    others = [e.index for e in (output.worst_abs, output.worst_rel) if e is not None]
    furthest = worst.index if worst is not None and worst.value > 1.0 else None
    if worst is not None and furthest is not None and furthest not in others:
        times = multiple(worst.value)
        yield f"    furthest beyond its tolerance, {times} times it, {_where(worst)}"
    if output.worst_abs is not None:
        yield _worst(output, "absolute", output.worst_abs, furthest)
    if output.worst_rel is not None:
        said = output.worst_abs is not None and output.worst_abs.index == furthest
        yield _worst(output, "relative", output.worst_rel, None if said else furthest)
    elif output.worst_abs is not None:
        yield "    no relative difference: the reference is 0 wherever they differ"


def _allowed(tolerance: Tolerance) -> str:
    if tolerance.atol == tolerance.rtol == 0.0:
        return f"no difference  ({tolerance.origin})"
    return (
        f"|actual - reference| <= {figure(tolerance.atol)} + {figure(tolerance.rtol)} * "
        f"|reference|  ({tolerance.origin})"
    )


def _worst(
    output: OutputComparison, which: str, element: Element, furthest: tuple[int, ...] | None
) -> str:
    """The line of the worst absolute or relative difference, with what was allowed there."""
    tolerance = output.tolerance
    magnitude = abs(_number(element.reference))
    allowed = tolerance.atol + tolerance.rtol * magnitude
    if which == "relative":
        allowed = allowed / magnitude if magnitude else allowed
    # The largest difference need not be the one that fails.
    within = "within the " if element.value <= allowed else ""
    # Which of the lines the headline's multiple is of.
    is_furthest = allowed and element.index == furthest
    times = f", {multiple(element.value / allowed)} times that" if is_furthest else ""
    return (
        f"    worst {which} difference {figure(element.value)} {_where(element)}, "
        f"{within}allowed {figure(allowed)}{times}"
    )


def _where(element: Element) -> str:
    actual, reference = scalar(element.actual), scalar(element.reference)
    if actual == reference:
        # Four digits hide a difference in the fifth.
        actual, reference = repr(element.actual), repr(element.reference)
    place = f"at {list(element.index)} " if element.index else ""
    return f"{place}(actual {actual}, reference {reference})"


def _number(value: object) -> complex:
    return value if isinstance(value, int | float | complex) else 0.0


def _rows(output: OutputComparison) -> str:
    rows = output.rows
    assert rows is not None
    if rows.mismatched == rows.total:
        return f"mismatches are in all {rows.total:,} rows along axis 0"
    span = f"row {rows.first}"
    if rows.mismatched > 1:
        solid = rows.last - rows.first + 1 == rows.mismatched
        span = (
            f"rows {rows.first} to {rows.last}"
            if solid
            else (f"{rows.mismatched:,} rows from {rows.first} to {rows.last}")
        )
    return f"mismatches are in {span} of {rows.total:,} along axis 0; the others agree"


def _needed(output: OutputComparison) -> Iterator[str]:
    tolerance = output.tolerance
    if not output.mismatched or output.worst_abs is None:
        return
    if tolerance.atol == tolerance.rtol == 0.0 and not output.dtype.startswith(_FLOATING):
        return
    atol, rtol = (figure(rounded_up(n, 4)) for n in (output.needed_atol, output.needed_rtol))
    text = f"atol={atol} at rtol={figure(tolerance.rtol)}"
    if output.needed_rtol < float("inf"):
        text += f", or rtol={rtol} at atol={figure(tolerance.atol)}"
    alone = len(output.findings) == 1 and not tolerance.max_mismatch_pct
    what = "that would have passed" if alone else "under which every finite element passes"
    yield f"    the smallest tolerance {what}: {text}"


def _passing(output: OutputComparison) -> str:
    if not output.size:
        return f"{output.name}: passed, but it has no elements ({list(output.shape)})"
    parts = [f"{share(100.0 * output.used)} of the tolerance used"]
    if output.worst_abs is None:
        parts = ["equal in every element"]
    if output.mismatched:
        allowed = output.tolerance.max_mismatch_pct
        parts = [f"{share(output.mismatched_pct)} of the elements beyond it, {allowed:g}% may be"]
    parts += [
        f"{name} {value:.4g}"
        for name, value in (
            ("cosine", output.cosine),
            ("top1", output.top1),
            (f"top{(output.tolerance.topk or (0,))[0]}", output.topk),
        )
        if value is not None
    ]
    if output.nonfinite.positions:
        verb = "left out" if output.tolerance.nan == "ignore" else "the same on both sides"
        parts.append(f"{count(output.nonfinite.positions, 'non-finite position')} {verb}")
    return f"{output.name}: passed, {', '.join(parts)}"
