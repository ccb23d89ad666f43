"""Comparison with stored outputs, which are sketches if they are large."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from pytest_trt.accuracy.arrays import Array, FloatArray, index_of, scalar_at
from pytest_trt.accuracy.compare import compare_output, comparison_of, judged, misfits
from pytest_trt.accuracy.result import (
    Comparison,
    Element,
    Finding,
    NonFinite,
    OutputResult,
)
from pytest_trt.accuracy.sketch import (
    Integers,
    Sketch,
    Statistics,
    block_statistics,
    bounds_of,
    elements_at,
    is_ordered,
    largest_places,
    row_of,
    sketch_from,
    smallest_share,
)
from pytest_trt.accuracy.tolerance import Tolerance
from pytest_trt.tensors.elements import dtype_name, from_bits
from pytest_trt.units import percent_of
from pytest_trt.wording import count

#: An output as it is stored.
Stored: TypeAlias = "Array | Sketch"

#: What rounding adds to the sum of a block: pairwise sums in float64.
_ROUNDING = 1e-11


def compare_stored(
    actual: Mapping[str, Array],
    stored: Mapping[str, Stored],
    tolerances: Mapping[str, Tolerance],
    *,
    histogram: bool = False,
) -> Comparison:
    """Compare outputs with stored ones, as `compare_outputs` does."""
    outputs = [
        _compare_sketch(name, actual[name], one, tolerances[name])
        if isinstance(one, Sketch)
        else compare_output(name, actual[name], one, tolerances[name], histogram=histogram)
        for name, one in stored.items()
        if name in actual
    ]
    return comparison_of(tuple(outputs), actual, stored)


def stored_from(
    parts: Mapping[str, Array], dtype: str, shape: tuple[int, ...], *, whole: bool
) -> Stored:
    """Return an output from the arrays that are stored of it.

    Raises:
        ValueError: These are not its arrays.
    """
    if not whole:
        return sketch_from(shape, dtype, parts)
    if parts.keys() != {"values"}:
        raise ValueError("its arrays are not those of a whole output")
    array = from_bits(parts["values"], dtype)
    if array.shape != shape or (dtype_name(array.dtype) != dtype and array.dtype.kind != "U"):
        raise ValueError(f"it has {dtype_name(array.dtype)}{list(array.shape)} stored")
    return array


def _compare_sketch(name: str, actual: Array, sketch: Sketch, tolerance: Tolerance) -> OutputResult:
    findings = misfits(actual, sketch, tolerance)
    if findings or actual.shape != sketch.shape:
        return OutputResult(
            name,
            dtype_name(actual.dtype),
            actual.shape,
            actual.size,
            tolerance,
            findings=tuple(findings),
            whole_bytes=sketch.whole_bytes,
        )
    result = _of_sample(name, actual, sketch, tolerance)
    if sketch.sums.size:
        result = _with_blocks(result, actual, sketch)
    if is_ordered(actual.dtype) and (tolerance.top1 is not None or tolerance.topk is not None):
        result = _with_ranks(result, actual, sketch)
    # Whatever the sample has found by itself is judged again with the rest.
    return replace(judged(result, result.findings), tolerance=tolerance)


def _of_sample(name: str, actual: Array, sketch: Sketch, tolerance: Tolerance) -> OutputResult:
    """Return what the sample measured, at its places in the whole output."""
    sampled = elements_at(actual, sketch.places)
    found = compare_output(name, sampled, sketch.values, tolerance)

    def placed(element: Element | None) -> Element | None:
        if element is None:
            return None
        place = int(sketch.places[element.index[0]])
        return replace(element, index=index_of(sketch.shape, place))

    nonfinite = replace(
        found.nonfinite,
        first=placed(found.nonfinite.first),
        first_disagreeing=placed(found.nonfinite.first_disagreeing),
    )
    return replace(
        found,
        shape=actual.shape,
        size=actual.size,
        # A sketch does not show which tolerance all elements need.
        needed_atol=math.inf,
        needed_rtol=math.inf,
        top1=None,
        topk=None,
        sampled=sketch.places.size,
        whole_bytes=sketch.whole_bytes,
        worst_abs=placed(found.worst_abs),
        worst_rel=placed(found.worst_rel),
        worst_used=placed(found.worst_used),
        nonfinite=nonfinite,
        findings=(),
        least=None,
        largest=None,
    )


def _with_blocks(result: OutputResult, actual: Array, sketch: Sketch) -> OutputResult:
    """Add what the exact statistics show: NaN and infinities, and differences of whole blocks."""
    statistics = block_statistics(actual, sketch.sums.size)
    counts = statistics[-1]
    if counts.any() or sketch.nonfinite.any():
        result = replace(result, nonfinite=_nonfinite(result.nonfinite, actual, counts, sketch))
    # Where some elements may differ, their sum may differ by anything.
    if result.tolerance.max_mismatch_pct or not result.tolerance.elementwise:
        return result
    of_sums, of_extremes = used_of_blocks(statistics, sketch, result.tolerance)
    used = np.maximum(of_sums, of_extremes)
    block = int(used.argmax())
    if used[block] <= max(1.0, result.used):
        return result
    begin, end = bounds_of(actual.size, used.size)[block : block + 2].tolist()
    findings = result.findings
    if not result.mismatched:
        text = (
            f"elements {begin:,} to {end - 1:,} (in C order) cannot all be within the tolerance: "
            f"their sum or an extreme differs by {used[block]:.3g} times what it allows"
        )
        findings = (*findings, Finding("mismatch", text))
    place, here, there = begin, statistics[0][block], sketch.sums[block]
    if of_extremes[block] == used[block]:
        part = elements_at(actual, np.arange(begin, end)).astype(np.float64)
        apart = abs(statistics[2][block] - sketch.least[block])
        if apart >= abs(statistics[3][block] - sketch.largest[block]):
            place, there = begin + int(part.argmin()), sketch.least[block]
        else:
            place, there = begin + int(part.argmax()), sketch.largest[block]
        here = part[place - begin]
    index = index_of(actual.shape, place)
    worst = Element(float(used[block]), index, float(here), float(there))
    return replace(
        result,
        mismatched=max(1, result.mismatched),
        worst_abs=replace(worst, value=float(abs(here - there))),
        worst_used=worst,
        findings=findings,
    )


def used_of_blocks(
    statistics: Statistics, sketch: Sketch, tolerance: Tolerance
) -> tuple[FloatArray, FloatArray]:
    """Return which share of the allowed difference the sums and extremes of blocks use.

    Of |a - r| <= atol + rtol |r| for every element follows |sum a - sum r| <= n atol + rtol sum|r|,
    and that each extreme differs by atol + rtol max|r| at most. A block with NaN or infinities on
    either side is left out: its other elements may be different ones.

    Args:
        statistics: Of as many blocks as the sketch has.
        sketch: Of the reference.
        tolerance: What each element may differ by.

    Returns:
        For each block the share of the allowance that its sum uses, and that its extremes use.
    """
    sums, _, least, largest, counts = statistics
    sizes = np.diff(bounds_of(sketch.size, sums.size))
    finite = ~(counts.any(axis=1) | sketch.nonfinite.any(axis=1))
    scale = np.maximum(np.abs(sketch.least), np.abs(sketch.largest))
    with np.errstate(all="ignore"):
        of_sums = np.abs(sums - sketch.sums) - _ROUNDING * sketch.magnitudes
        allowed = sizes * tolerance.atol + tolerance.rtol * sketch.magnitudes
        of_extremes = np.maximum(np.abs(least - sketch.least), np.abs(largest - sketch.largest))
        pairs = ((of_sums, allowed), (of_extremes, tolerance.atol + tolerance.rtol * scale))
        sums_used, extremes_used = (
            np.where(finite & (difference > 0), difference / limit, 0.0)
            for difference, limit in pairs
        )
    return sums_used, extremes_used


def _nonfinite(sample: NonFinite, actual: Array, counts: Integers, sketch: Sketch) -> NonFinite:
    """Return the exact counts of NaN and infinities; of where they disagree, the least number."""
    apart = np.abs(counts - sketch.nonfinite)
    disagreeing = max(sample.disagreeing, int(apart.max(axis=1).sum()))
    wrong = np.asarray((apart if disagreeing else counts).any(axis=1))
    first = sample.first_disagreeing if sample.first_disagreeing and disagreeing else sample.first
    if first is None:
        first = _first_nonfinite(actual, wrong)
    nan, pos_inf, neg_inf = map(int, counts.sum(axis=0))
    reference_nan, reference_pos_inf, reference_neg_inf = map(int, sketch.nonfinite.sum(axis=0))
    return NonFinite(
        nan,
        pos_inf,
        neg_inf,
        reference_nan,
        reference_pos_inf,
        reference_neg_inf,
        positions=int(max(counts.sum(), sketch.nonfinite.sum())),
        disagreeing=disagreeing,
        first=sample.first or first,
        first_disagreeing=first if disagreeing else None,
    )


def _first_nonfinite(actual: Array, blocks: npt.NDArray[np.bool_]) -> Element | None:
    """Return the first element that is not finite in the first of some blocks, if one is."""
    block = int(blocks.argmax())
    begin, end = bounds_of(actual.size, blocks.size)[block : block + 2].tolist()
    part = elements_at(actual, np.arange(begin, end)).astype(np.float64)
    found = np.flatnonzero(~np.isfinite(part))
    if not found.size:
        return None
    place = begin + int(found[0])
    return Element(math.nan, index_of(actual.shape, place), scalar_at(actual, place), "not stored")


def _with_ranks(result: OutputResult, actual: Array, sketch: Sketch) -> OutputResult:
    """Add top-1 and top-k of the rows whose largest elements are stored.

    The tolerance returned lacks a limit that needs more of them than the sketch has.
    """
    tolerance, length = result.tolerance, sketch.shape[-1] if sketch.shape else 0
    stored = sketch.tops.shape[1] if sketch.rows.size else 0
    wanted = {"top1": 1} if tolerance.top1 is not None else {}
    if tolerance.topk is not None:
        wanted["topk"] = tolerance.topk[0]
    missing = {name: k for name, k in wanted.items() if stored < k < length}
    findings = [
        Finding(
            "not stored",
            f"top{k} needs the {count(k, 'largest element')} of a row, and the sketch has "
            f"{stored or 'none'}",
        )
        for k in missing.values()
    ]
    shares: dict[str, Any] = {
        name: _agreement(actual, sketch, k) for name, k in wanted.items() if k <= stored
    }
    unlimited: dict[str, Any] = dict.fromkeys(missing)
    return replace(
        result,
        **shares,
        tolerance=replace(tolerance, **unlimited),
        ranked=sketch.rows.size,
        findings=(*result.findings, *findings),
    )


def _agreement(actual: Array, sketch: Sketch, k: int) -> float:
    """Return the mean share of the k largest elements of a row that are the reference's too.

    An element that ties for the reference's last place counts, as in `agreement`.
    """
    shares = []
    for number, tops, values in zip(
        sketch.rows.tolist(), sketch.tops, sketch.top_values, strict=True
    ):
        right = set(tops[values >= values[k - 1]].tolist())
        picks = largest_places(row_of(actual, number), k).tolist()
        shares.append(sum(pick in right for pick in picks) / k)
    return float(np.mean(shares))


def unchecked(output: OutputResult) -> Iterator[str]:
    """Yield what a comparison with a sketch could check in part only, of an output that passed.

    Args:
        output: The output; nothing is yielded of one that is stored whole.
    """
    tolerance = output.tolerance
    if output.sampled < output.size and output.sampled:
        sampled = f"{output.sampled:,} of {count(output.size, 'element')}"
        if tolerance.elementwise and tolerance.max_mismatch_pct:
            yield f"max_mismatch_pct was estimated from {sampled}"
        elif tolerance.elementwise:
            share = percent_of(100.0 * smallest_share(output.sampled))
            yield f"a change of fewer than {share} of them may be missed ({sampled} compared)"
        if tolerance.cosine is not None:
            yield f"cosine is that of {sampled} together, not the smallest of a row"
    rows = output.size // output.shape[-1] if output.shape and output.size else 0
    if output.ranked is not None and output.ranked < rows:
        names = ["top1"] * (tolerance.top1 is not None)
        names += [f"top{k}" for k, _ in filter(None, [tolerance.topk])]
        yield f"{' and '.join(names)} compared in {output.ranked:,} of {count(rows, 'row')}"
