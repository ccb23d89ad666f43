"""Outputs against their references: the verdict, and every figure that explains it."""

from __future__ import annotations

import dataclasses
import itertools
import math
from collections.abc import Iterator, Mapping

import numpy as np

from pytest_trt.accuracy.cosine import least_cosine
from pytest_trt.accuracy.element import Element, NonFinite
from pytest_trt.accuracy.elementwise import measure
from pytest_trt.accuracy.findings import Comparison, Finding, OutputComparison, RowSpread
from pytest_trt.accuracy.flat import Array, index_of, scalar_at
from pytest_trt.accuracy.histogram import error_histogram
from pytest_trt.accuracy.judge import judge
from pytest_trt.accuracy.loading import is_number, is_text
from pytest_trt.accuracy.peaks import Deviation, Peak
from pytest_trt.accuracy.ranking import topk_agreement
from pytest_trt.accuracy.structure import holds_values_of, name_findings, shape_finding
from pytest_trt.accuracy.text import count_different
from pytest_trt.accuracy.tolerance import Tolerance
from pytest_trt.diagnostics import ConfigurationError
from pytest_trt.tensors.spec import Tensors


def compare_outputs(
    actual: Tensors,
    reference: Tensors,
    tolerances: Mapping[str, Tolerance],
    *,
    histogram: bool = False,
) -> Comparison:
    """Compare every output of a run with its reference.

    An element passes when |actual - reference| <= atol + rtol * |reference| in float64, numpy's
    rule. NaN and infinities follow the tolerance's policy and are a finding of their own.

    Args:
        actual: What the engine gave.
        reference: What it should have given.
        tolerances: What is allowed, for every output of the reference.
        histogram: Whether to count how the errors are spread, which takes another pass.

    Raises:
        ConfigurationError: An output that both sides have is without a tolerance.
    """
    left = {name: np.asarray(array) for name, array in actual.items()}
    right = {name: np.asarray(array) for name, array in reference.items()}
    shared = [name for name in right if name in left]
    for name in shared:
        if name not in tolerances:
            raise ConfigurationError(
                f"no tolerance is given for output {name!r}; "
                f"given: {', '.join(map(repr, tolerances)) or 'none'}.",
                fix="resolve the tolerances from the same model that gave the outputs.",
            )
    outputs = tuple(
        compare_output(name, left[name], right[name], tolerances[name], histogram=histogram)
        for name in shared
    )
    whole = (*name_findings(left, right), *_swapped(outputs, left, right), *_emptiness(outputs))
    return Comparison(outputs, whole)


def _emptiness(outputs: tuple[OutputComparison, ...]) -> Iterator[Finding]:
    """Find that no output had an element. One that is empty beside others may well be right."""
    if not outputs or any(output.size or output.findings for output in outputs):
        return
    shapes = ", ".join(f"{output.name!r} {list(output.shape)}" for output in outputs)
    which = "the only output has" if len(outputs) == 1 else f"all {len(outputs)} outputs have"
    yield Finding("nothing compared", f"nothing was compared: {which} 0 elements ({shapes}).")


def compare_output(
    name: str, actual: Array, reference: Array, tolerance: Tolerance, *, histogram: bool = False
) -> OutputComparison:
    """Compare one output with its reference: structure first, values where that allows it.

    Values are also compared where only the dtype differs, to tell a cast from a wrong result.
    """
    blank = OutputComparison(
        name=name,
        dtype=actual.dtype.name,
        shape=actual.shape,
        size=actual.size,
        tolerance=tolerance,
    )
    findings = [found] if (found := shape_finding(actual.shape, reference.shape)) else []
    texts = is_text(actual.dtype) and is_text(reference.dtype)
    if not texts and _native(actual) != _native(reference):
        text = f"dtype {actual.dtype.name} where the reference has {reference.dtype.name}."
        findings.append(Finding("dtype", text))
    numbers = is_number(actual.dtype) and is_number(reference.dtype)
    if actual.shape != reference.shape or not (texts or numbers):
        if not findings:
            text = f"elements of dtype {actual.dtype.name} cannot be compared."
            findings.append(Finding("not applicable", text))
        return dataclasses.replace(blank, findings=tuple(findings))
    if texts:
        measured = _measured_text(blank, actual, reference)
    else:
        measured = _with_agreement(_measured(blank, actual, reference), actual, reference)
        if histogram and measured.size:
            counts = error_histogram(actual, reference, rtol=tolerance.rtol, atol=tolerance.atol)
            measured = dataclasses.replace(measured, histogram=counts)
    findings += judge(measured)
    return dataclasses.replace(measured, findings=tuple(findings)) if findings else measured


def _native(array: Array) -> np.dtype[np.generic]:
    # Byte order is a matter of storage; a file may hold the other one.
    native: np.dtype[np.generic] = array.dtype.newbyteorder("=")
    return native


def _measured_text(blank: OutputComparison, actual: Array, reference: Array) -> OutputComparison:
    different, first = count_different(actual, reference)
    worst = _element(Peak(math.inf, first), actual, reference)
    return dataclasses.replace(blank, compared=blank.size, mismatched=different, worst_used=worst)


def _measured(blank: OutputComparison, actual: Array, reference: Array) -> OutputComparison:
    tolerance = blank.tolerance
    found = measure(actual, reference, rtol=tolerance.rtol, atol=tolerance.atol)
    return OutputComparison(
        name=blank.name,
        dtype=blank.dtype,
        shape=blank.shape,
        size=blank.size,
        tolerance=tolerance,
        compared=found.compared,
        mismatched=found.mismatched,
        worst_abs=_element(found.worst_abs, actual, reference),
        worst_rel=_element(found.worst_rel, actual, reference),
        worst_used=_element(found.worst_used, actual, reference),
        needed_atol=found.needed_atol,
        needed_rtol=found.needed_rtol,
        scale=found.scale,
        nonfinite=_nonfinite(found, actual, reference),
        rows=_rows(found),
    )


def _element(peak: Peak, actual: Array, reference: Array) -> Element | None:
    if peak.index < 0:
        return None
    index = index_of(actual.shape, peak.index)
    return Element(peak.value, index, scalar_at(actual, index), scalar_at(reference, index))


def _with_agreement(
    measured: OutputComparison, actual: Array, reference: Array
) -> OutputComparison:
    """Add the whole-output measures that the tolerance asks for and that make sense here."""
    tolerance = measured.tolerance
    if (tolerance.cosine, tolerance.top1, tolerance.topk) == (None, None, None):
        return measured
    if not actual.ndim or not actual.size or {actual.dtype.kind, reference.dtype.kind} & {"b", "c"}:
        return measured
    cosine = top1 = topk = None
    if tolerance.cosine is not None:
        cosine = least_cosine(actual, reference)
    if tolerance.top1 is not None:
        top1 = topk_agreement(actual, reference, 1, tolerance.nan)
    if tolerance.topk is not None and tolerance.topk[0] <= actual.shape[-1]:
        topk = topk_agreement(actual, reference, tolerance.topk[0], tolerance.nan)
    return dataclasses.replace(measured, cosine=cosine, top1=top1, topk=topk)


def _nonfinite(found: Deviation, actual: Array, reference: Array) -> NonFinite:
    tally = found.nonfinite
    if not tally.positions:
        return NonFinite()

    return NonFinite(
        actual_nan=tally.actual[0],
        actual_pos_inf=tally.actual[1],
        actual_neg_inf=tally.actual[2],
        reference_nan=tally.reference[0],
        reference_pos_inf=tally.reference[1],
        reference_neg_inf=tally.reference[2],
        positions=tally.positions,
        disagreeing=tally.disagreeing,
        first=_element(Peak(math.nan, tally.first), actual, reference),
        first_disagreeing=_element(Peak(math.nan, tally.first_disagreeing), actual, reference),
    )


def _rows(found: Deviation) -> RowSpread | None:
    mismatched = np.flatnonzero(found.mismatched_rows)
    if not mismatched.size:
        return None
    return RowSpread(
        total=found.mismatched_rows.size,
        mismatched=mismatched.size,
        first=int(mismatched[0]),
        last=int(mismatched[-1]),
    )


def _swapped(
    outputs: tuple[OutputComparison, ...],
    actual: Mapping[str, Array],
    reference: Mapping[str, Array],
) -> Iterator[Finding]:
    """Find pairs of failing outputs that hold each other's values."""
    failing = [output for output in outputs if output.mismatched and not output.passed]
    numeric = [output for output in failing if is_number(actual[output.name].dtype)]
    for one, other in itertools.combinations(numeric, 2):
        if all(
            holds_values_of(
                actual[mine.name],
                reference[theirs.name],
                theirs.tolerance.rtol,
                theirs.tolerance.atol,
            )
            for mine, theirs in ((one, other), (other, one))
        ):
            yield Finding(
                "swapped",
                f"outputs {one.name!r} and {other.name!r} hold each other's values: each is within "
                "the tolerance of the other's reference.",
                (one.name, other.name),
            )
