"""Outputs against their references: the verdict, and every figure that explains it."""

from __future__ import annotations

import dataclasses
import itertools
import math
from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from pytest_trt.accuracy.agreement import least_cosine, topk_agreement
from pytest_trt.accuracy.arrays import (
    CHUNK,
    Array,
    FlatReader,
    index_of,
    is_number,
    is_text,
    scalar_at,
)
from pytest_trt.accuracy.elementwise import Deviation, Peak, error_histogram, measure
from pytest_trt.accuracy.explanation import explain
from pytest_trt.accuracy.judge import judge
from pytest_trt.accuracy.one_value import values_within
from pytest_trt.accuracy.resolve import default_tolerance, is_exact_dtype
from pytest_trt.accuracy.result import (
    Comparison,
    Element,
    Finding,
    NonFinite,
    OutputResult,
    RowSpread,
    SmallParts,
)
from pytest_trt.accuracy.sketch import Sketch
from pytest_trt.accuracy.small_parts import small_parts, with_zeros
from pytest_trt.accuracy.structure import holds_values_of, name_findings, shape_finding
from pytest_trt.accuracy.tolerance import Tolerance, topk_can_fail
from pytest_trt.diagnostics import ConfigurationError
from pytest_trt.tensors.elements import dtype_name

#: Elements that are looked at before all are.
_FEW = 4096

#: The same where one of them decides it.
_FEWER = 64

#: Elements of a sample at least: rows of fewer may be detections, which differ as a whole.
_SAMPLE = 32

#: Elements of one value that show that it is lost, at least, and the range of values: of classes.
_OF_VALUE = 16
_MOST_VALUES = 1 << 16

#: Integers of this range that all differ by a small share of it are numbers such as pixels.
_NUMBERS = 64
_LITTLE = 1 / 16

#: By so much, the share of these may differ from that of all.
_CHANCE = 0.1

#: One array, or outputs by name.
Outputs: TypeAlias = "npt.ArrayLike | Mapping[str, npt.ArrayLike]"

#: The name of an output that is given as an array alone.
_ALONE = "output"

#: The dict first: checking an abstract class is slow. A tuple, as `a | b` is made again each time.
_MAPPINGS = (dict, Mapping)

_ALL_FINITE = NonFinite()


def compare_outputs(
    actual: Outputs,
    expected: Outputs,
    tolerance: Tolerance | Mapping[str, Tolerance] | None = None,
    *,
    precision: str = "fp32",
    histogram: bool = False,
) -> Comparison:
    """Compare outputs with the expected ones, in a test or in any script.

        comparison = compare_outputs({"probs": actual}, {"probs": expected}, Tolerance(1e-2, 1e-2))
        assert comparison
        comparison.raise_if_failed()  # the same with the whole explanation

    An element passes when ``|actual - expected| <= atol + rtol * |expected|`` in float64, NumPy's
    rule. NaN and infinities follow the tolerance's policy. Shapes and dtypes must be equal, and
    every output must be on both sides; a comparison of no elements fails.

    Args:
        actual: One array, or outputs by name: any shape and memory layout; floats and integers
            (those of ml_dtypes included, such as bfloat16, float8 and int4), booleans, complex
            numbers or strings. Arrays are read in place and never modified; calls may run in
            several threads.
        expected: The same for what is right.
        tolerance: What is allowed: by output name, or one for all outputs of floats. Integers,
            booleans and strings are compared exactly, unless the mapping names them or the array
            is the only one. By default those of `precision`.
        precision: Whose default tolerances hold: "fp32", "fp16", "int8" or another one.
        histogram: Whether to count how the errors are spread, which takes another pass.

    Returns:
        The comparison; it is true if it passed.

    Raises:
        ConfigurationError: A tolerance is missing for an output, names an output that neither
            side has, or could never fail; or an array is compared with a mapping.
    """
    given = tolerance.values() if isinstance(tolerance, _MAPPINGS) else (tolerance,)
    if not all(one is None or one.elementwise or one.has_measure for one in given):
        raise ConfigurationError(
            "elementwise=False compares no element, and no other measure is given: wrong values "
            "could not fail",
            code="TRT420",
            fix="Give a measure of the whole output, such as cosine=0.99.",
        )
    return compare_values(actual, expected, tolerance, precision=precision, histogram=histogram)


def compare_values(
    actual: Outputs,
    expected: Outputs,
    tolerance: Tolerance | Mapping[str, Tolerance] | None = None,
    *,
    precision: str = "fp32",
    histogram: bool = False,
) -> Comparison:
    """Compare as `compare_outputs` does, also outputs that only metrics judge afterwards."""
    left, right = _by_name(actual), _by_name(expected)
    alone = not isinstance(expected, _MAPPINGS)
    if isinstance(actual, _MAPPINGS) is alone:
        raise ConfigurationError(
            "one side is a single array, the other has outputs by name",
            code="TRT420",
            facts={"actual": list(left), "expected": list(right)},
            fix="Give two arrays, or two mappings with the same names.",
        )
    if isinstance(tolerance, _MAPPINGS):
        _check_names(tolerance, left, right)
    outputs = tuple(
        compare_output(
            name,
            left[name],
            array,
            _tolerance_for(name, array, tolerance, precision, alone=alone),
            histogram=histogram,
        )
        for name, array in right.items()
        if name in left
    )
    return comparison_of(outputs, left, right)


def comparison_of(
    outputs: tuple[OutputResult, ...],
    actual: Mapping[str, Array],
    reference: Mapping[str, Array | Sketch],
) -> Comparison:
    """Return compared outputs as one comparison, with what is wrong with their names."""
    named = actual.keys() == reference.keys()
    if outputs and named and all(o.size and o.passed for o in outputs):
        return Comparison(outputs)
    whole = {name: one for name, one in reference.items() if not isinstance(one, Sketch)}
    findings = (
        *name_findings(actual, reference),
        *_swapped(outputs, actual, whole),
        *_emptiness(outputs),
    )
    comparison = Comparison(outputs, findings)
    return (
        comparison if comparison.passed else Comparison(outputs, findings, (explain(comparison),))
    )


def _by_name(outputs: Outputs) -> dict[str, Array]:
    if isinstance(outputs, _MAPPINGS):
        return {name: np.asarray(array) for name, array in outputs.items()}
    return {_ALONE: np.asarray(outputs)}


def _check_names(
    tolerances: Mapping[str, Tolerance], actual: Mapping[str, Array], expected: Mapping[str, Array]
) -> None:
    for name in tolerances:
        if name not in expected and name not in actual:
            raise ConfigurationError(
                f"a tolerance is given for output {name!r}, which neither side has",
                code="TRT420",
                facts={"output": name, "outputs": list(expected)},
                fix=f"Name one of the outputs: {', '.join(map(repr, expected)) or 'none'}.",
            )


def _tolerance_for(
    name: str,
    array: Array,
    tolerance: Tolerance | Mapping[str, Tolerance] | None,
    precision: str,
    *,
    alone: bool,
) -> Tolerance:
    if isinstance(tolerance, _MAPPINGS):
        if name in tolerance:
            return tolerance[name]
        raise ConfigurationError(
            f"no tolerance is given for output {name!r}",
            code="TRT420",
            facts={"output": name, "tolerances": list(tolerance)},
            fix="Give one for every output, or one Tolerance for all of them.",
        )
    dtype = _name_of(array.dtype)
    if tolerance is None or (is_exact_dtype(dtype) and not alone):
        return default_tolerance(precision, dtype)
    return tolerance


@lru_cache(maxsize=64)
def _name_of(dtype: np.dtype[np.generic]) -> str:
    # numpy builds the name each time, which takes as long as comparing ten elements.
    return dtype_name(dtype)


def _emptiness(outputs: tuple[OutputResult, ...]) -> Iterator[Finding]:
    """Find that no output had an element. An empty output next to others may be right.

    So may one that metrics judge, such as the detections in an image without any.
    """
    if not outputs or any(
        output.size or output.findings or not output.tolerance.elementwise for output in outputs
    ):
        return
    shapes = ", ".join(f"{output.name!r} {list(output.shape)}" for output in outputs)
    which = "the only output has" if len(outputs) == 1 else f"all {len(outputs)} outputs have"
    yield Finding("nothing compared", f"{which} 0 elements ({shapes})")


def compare_output(
    name: str, actual: Array, reference: Array, tolerance: Tolerance, *, histogram: bool = False
) -> OutputResult:
    """Compare one output with its reference: structure first, values where that allows it.

    Values are also compared where only the dtype differs: is it a cast, or a wrong result?
    """
    findings = misfits(actual, reference, tolerance)
    same_shape = actual.shape == reference.shape
    if same_shape and is_text(actual.dtype) and is_text(reference.dtype):
        measured = _measured_text(name, actual, reference, tolerance)
        several = reference.ndim and len(reference) > 1
        same = bool((reference == reference[:1]).all()) if several else None
        return judged(dataclasses.replace(measured, same_samples=same))
    if same_shape and is_number(actual.dtype) and is_number(reference.dtype):
        measured = _measured(name, actual, reference, tolerance, histogram=histogram)
        return judged(measured, findings)
    if not findings and not same_shape:
        return judged(_of_two_shapes(name, actual, reference, tolerance))
    if not findings and tolerance.elementwise:
        text = f"elements of dtype {_name_of(actual.dtype)} cannot be compared"
        findings.append(Finding("not applicable", text))
    return OutputResult(
        name, _name_of(actual.dtype), actual.shape, actual.size, tolerance, findings=tuple(findings)
    )


def misfits(actual: Array, reference: Array | Sketch, tolerance: Tolerance) -> list[Finding]:
    """Return how the shape and the dtype of an output differ from those of its reference.

    Metrics may judge other shapes; cosine and ranks cannot.
    """
    findings: list[Finding] = []
    aligned = tolerance.elementwise or tolerance.has_measure
    if aligned and actual.shape != reference.shape:
        findings.append(shape_finding(actual.shape, reference.shape))
    texts = is_text(actual.dtype) and is_text(reference.dtype)
    if not texts and not _same_type(actual.dtype, reference.dtype):
        text = f"dtype {_name_of(actual.dtype)}, reference {_name_of(reference.dtype)}"
        findings.append(Finding("dtype", text))
    return findings


def _of_two_shapes(
    name: str, actual: Array, reference: Array, tolerance: Tolerance
) -> OutputResult:
    """Return an output that has no elements to compare with: only what is not finite counts."""
    sides = [_not_finite(side) for side in (actual, reference)]
    nonfinite = _ALL_FINITE
    if any(map(sum, sides)):
        nonfinite = NonFinite(*sides[0], *sides[1], positions=sum(map(sum, sides)))
    return OutputResult(
        name, _name_of(actual.dtype), actual.shape, actual.size, tolerance, nonfinite=nonfinite
    )


def _not_finite(array: Array) -> tuple[int, int, int]:
    """Return how many elements are NaN, +Inf and -Inf."""
    if not array.size or not is_number(array.dtype) or array.dtype.kind in "biu":
        return 0, 0, 0
    wide = array.astype(np.complex128 if array.dtype.kind == "c" else np.float64)
    infinite = np.isinf(wide)
    negative = infinite & (wide.real < 0)
    nan, both, below = map(np.count_nonzero, (np.isnan(wide), infinite, negative))
    return int(nan), int(both - below), int(below)


def judged(measured: OutputResult, findings: Sequence[Finding] = ()) -> OutputResult:
    """Return what was measured of an output with why it does not pass, if it does not."""
    found = (*findings, *judge(measured))
    return dataclasses.replace(measured, findings=found) if found else measured


def _same_type(one: np.dtype[np.generic], other: np.dtype[np.generic]) -> bool:
    # Byte order is a matter of storage; a file may hold the other one.
    return one == other or one.newbyteorder("=") == other.newbyteorder("=")


def _measured_text(
    name: str, actual: Array, reference: Array, tolerance: Tolerance
) -> OutputResult:
    different, first = _count_different(actual, reference)
    return OutputResult(
        name,
        _name_of(actual.dtype),
        actual.shape,
        actual.size,
        tolerance,
        compared=actual.size,
        mismatched=different,
        worst_used=_element(Peak(math.inf, first), actual, reference),
    )


def _count_different(actual: Array, reference: Array) -> tuple[int, int]:
    """Return how many strings differ, and the flat index of the first that does (or -1)."""
    count, first = 0, -1
    left, right = actual.flat, reference.flat
    for start in range(0, actual.size, CHUNK):
        chunks = (side[start : start + CHUNK].astype(object) for side in (left, right))
        different = np.not_equal(*chunks).astype(np.bool_)
        if first < 0 and different.any():
            first = start + int(different.argmax())
        count += int(np.count_nonzero(different))
    return count, first


def _measured(
    name: str, actual: Array, reference: Array, tolerance: Tolerance, *, histogram: bool
) -> OutputResult:
    """Return an output of numbers, measured, with what would pass too."""
    least, largest = _range(reference, tolerance)
    measured = _of_values(name, actual, reference, tolerance, histogram=histogram)
    return dataclasses.replace(
        measured,
        least=least,
        largest=largest,
        same_samples=_same_samples(name, reference, tolerance),
        lost_samples=_lost_samples(measured.rows, measured.mismatched, reference),
        lost_values=_lost_values(actual, reference, tolerance) if measured.mismatched else 0,
        unseen=_unseen(name, reference, tolerance),
    )


def _unseen(name: str, array: Array, tolerance: Tolerance) -> SmallParts | None:
    """Return the most parts that are small beside the others and pass as zeros; None for none."""
    exact = tolerance.elementwise and not tolerance.max_mismatch_pct
    for parts in small_parts(array):
        if exact and parts.largest > tolerance.atol + tolerance.rtol * parts.largest:
            continue
        alone = exact and not tolerance.has_measure
        if alone or _passes(name, with_zeros(array, parts), array, tolerance):
            return parts
    return None


def _lost_samples(rows: RowSpread | None, mismatched: int, array: Array) -> int:
    """Return how many samples differ, if they differ in most of their elements."""
    if rows is None or rows.total == 1 or array[0].size < _SAMPLE:
        return 0
    return rows.mismatched if 2 * mismatched > rows.mismatched * array[0].size else 0


def _lost_values(actual: Array, reference: Array, tolerance: Tolerance) -> int:
    """Return how many integers, such as classes, differ wherever the reference has them."""
    integers = actual.dtype.kind in "iu" and reference.dtype.kind in "iu"
    if not integers or not tolerance.max_mismatch_pct:
        return 0
    values = reference.ravel().astype(np.int64)
    least = int(values.min())
    span = int(values.max()) - least
    if span >= _MOST_VALUES:
        return 0
    differences = np.abs(actual.ravel().astype(np.float64) - values)
    if span >= _NUMBERS and differences.max() <= _LITTLE * span:
        return 0
    wrong = differences > tolerance.atol + tolerance.rtol * np.abs(values)
    counts, lost = (
        np.bincount(one - least, minlength=_MOST_VALUES) for one in (values, values[wrong])
    )
    return int(np.count_nonzero((counts >= _OF_VALUE) & (counts == lost)))


def _of_values(
    name: str,
    actual: Array,
    reference: Array,
    tolerance: Tolerance,
    *,
    histogram: bool = False,
) -> OutputResult:
    rtol, atol = tolerance.rtol, tolerance.atol
    found = measure(actual, reference, rtol=rtol, atol=atol)
    cosine, top1, topk = _agreement(actual, reference, tolerance)
    counts = None
    if histogram and actual.size:
        counts = error_histogram(actual, reference, rtol=rtol, atol=atol)
    return OutputResult(
        name,
        _name_of(actual.dtype),
        actual.shape,
        actual.size,
        tolerance,
        found.compared,
        found.mismatched,
        _element(found.worst_abs, actual, reference),
        _element(found.worst_rel, actual, reference),
        _element(found.worst_used, actual, reference),
        found.needed_atol,
        found.needed_rtol,
        found.scale,
        _nonfinite(found, actual, reference),
        _rows(found) if found.mismatched else None,
        cosine,
        top1,
        topk,
        histogram=counts,
    )


def _same_samples(name: str, array: Array, tolerance: Tolerance) -> bool | None:
    """Whether the values of the first sample pass in all samples, which are rows along axis 0."""
    if array.ndim < 2 or min(len(array), array[:1].size) < 2 or array.dtype.kind == "c":
        return None
    return _passes(name, array[0], array, tolerance)


def sample_passes(output: OutputResult, sample: Array, reference: Array) -> bool:
    """Whether the values of one sample [1, ...] would pass for a reference."""
    return _passes(output.name, sample[0], reference, output.tolerance)


def _passes(name: str, sample: Array, array: Array, tolerance: Tolerance) -> bool:
    """Whether the values of one sample pass in all rows of an array."""
    found = np.broadcast_to(sample, array.shape)
    if not (tolerance.elementwise or tolerance.has_measure):
        return True  # metrics alone judge it
    if _few_differ(found, array, tolerance):
        return False
    return judged(_of_values(name, found, array, tolerance)).passed


def _few_differ(found: Array, array: Array, tolerance: Tolerance) -> bool:
    """Whether a few elements or rows show that one would not pass, as in nearly all outputs."""
    if tolerance.elementwise:
        most = tolerance.max_mismatch_pct / 100.0
        places = np.arange(0, array.size, 1 + array.size // (_FEW if most else _FEWER))
        few, own = (side.flat[places].astype(np.float64) for side in (found, array))
        with np.errstate(all="ignore"):
            differ = _differ(few, own, tolerance).mean()
        return bool(differ > (most + _CHANCE if most else 0.0))
    if tolerance.cosine is not None and array.dtype.kind != "b":
        step = 1 + array[-1].size // _FEW
        last = (side[-1].flat[::step] for side in (found, array))
        return least_cosine(*last) < tolerance.cosine - _CHANCE
    rows, length = array.size // array.shape[-1], array.shape[-1]
    few_rows = np.linspace(0, rows - 1, min(rows, _FEWER, 1 + _FEW * _FEWER // length), dtype=int)
    index = np.unravel_index(few_rows, array.shape[:-1])
    _, top1, topk = _agreement(found[index], array[index], tolerance)
    limits = ((top1, tolerance.top1), (topk, tolerance.topk and tolerance.topk[1]))
    return any(
        share is not None and least is not None and share < least - _CHANCE
        for share, least in limits
    )


def _differ(
    actual: npt.NDArray[np.float64], reference: npt.NDArray[np.float64], tolerance: Tolerance
) -> npt.NDArray[np.bool_]:
    found: npt.NDArray[np.bool_] = np.abs(
        actual - reference
    ) > tolerance.atol + tolerance.rtol * np.abs(reference)
    return found


def _range(array: Array, tolerance: Tolerance) -> tuple[float | None, float | None]:
    """Return the smallest and the largest element, if one value within the tolerance passes in all.

    Elements that may differ are left out where the others alone allow one value.
    """
    if not array.size or array.dtype.kind == "c":
        return None, None
    if tolerance.only_cosine:
        return _range_of_direction(array, tolerance.cosine or 0.0)
    if tolerance.max_mismatch_pct and tolerance.elementwise and not tolerance.has_measure:
        with np.errstate(all="ignore"):
            array = _without_peaks(array, tolerance)
    least = largest = 0.0
    for part in (array.flat[:_FEW], array):  # the first elements of nearly all outputs decide it
        least, largest = _ends(part)
        low, high = values_within(least, largest, tolerance.rtol, tolerance.atol)
        if not (math.isfinite(largest - least) and low <= high):
            return None, None
    return least, largest


def _ends(array: Array) -> tuple[float, float]:
    with np.errstate(invalid="ignore"):  # ml_dtypes warns of NaN
        return float(array.min()), float(array.max())


def _range_of_direction(array: Array, cosine: float) -> tuple[float | None, float | None]:
    """Return the range of elements of one sign, if one value has nearly their direction."""
    least = largest = 0.0
    for part in (array.flat[:_FEW], array):
        least, largest = _ends(part)
        if not math.isfinite(largest - least) or least < 0.0 < largest:
            return None, None
    found = least_cosine(np.full(array.shape, (least + largest) / 2), array) if array.ndim else None
    passes = least == largest or (found is not None and found >= cosine)
    return (least, largest) if passes else (None, None)


def _without_peaks(array: Array, tolerance: Tolerance) -> Array:
    """Return the ends of what 0 or the median passes, if all others may differ; else all."""
    few = array.flat[:: 1 + array.size // _FEW].astype(np.float64)
    most = tolerance.max_mismatch_pct / 100.0
    for value in (0.0, float(np.median(few))):
        if _differ(np.full_like(few, value), few, tolerance).mean() > most + _CHANCE:
            continue
        count, ends, reader = 0, list[float](), FlatReader(array, CHUNK)
        for start in range(0, array.size, CHUNK):
            wide = reader.read(start, min(start + CHUNK, array.size)).astype(np.float64)
            differ = ~(np.abs(wide - value) <= tolerance.atol + tolerance.rtol * np.abs(wide))
            count += int(np.count_nonzero(differ))
            if count > most * array.size or not np.isfinite(wide[differ]).all():
                break
            near = wide[~differ]
            ends += (near.min(), near.max()) if near.size else ()
        else:
            return np.array(ends)
    return array


def _element(peak: Peak, actual: Array, reference: Array) -> Element | None:
    if peak.index < 0:
        return None
    index = index_of(actual.shape, peak.index)
    return Element(
        peak.value, index, scalar_at(actual, peak.index), scalar_at(reference, peak.index)
    )


def _agreement(
    actual: Array, reference: Array, tolerance: Tolerance
) -> tuple[float | None, float | None, float | None]:
    """Return cosine, top1 and topk, where the tolerance limits them and they apply."""
    cosine = top1 = topk = None
    if tolerance.cosine is None and tolerance.top1 is None and tolerance.topk is None:
        return cosine, top1, topk
    if not actual.ndim or not actual.size or {actual.dtype.kind, reference.dtype.kind} & {"b", "c"}:
        return cosine, top1, topk
    if tolerance.cosine is not None:
        cosine = least_cosine(actual, reference)
    if tolerance.top1 is not None and actual.shape[-1] > 1:
        top1 = topk_agreement(actual, reference, 1, tolerance.nan)
    if tolerance.topk is not None and topk_can_fail(tolerance.topk, actual.shape[-1]):
        topk = topk_agreement(actual, reference, tolerance.topk[0], tolerance.nan)
    return cosine, top1, topk


def _nonfinite(found: Deviation, actual: Array, reference: Array) -> NonFinite:
    tally = found.nonfinite
    if not tally.positions:
        return _ALL_FINITE
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
    if not mismatched.size:  # no batch axis
        return None
    return RowSpread(
        total=found.mismatched_rows.size,
        mismatched=mismatched.size,
        first=int(mismatched[0]),
        last=int(mismatched[-1]),
    )


def _swapped(
    outputs: tuple[OutputResult, ...],
    actual: Mapping[str, Array],
    reference: Mapping[str, Array],
) -> Iterator[Finding]:
    """Find pairs of failing outputs that hold each other's values; a sketch does not show it."""
    failing = [output for output in outputs if output.mismatched and not output.passed]
    numeric = [
        output
        for output in failing
        if is_number(actual[output.name].dtype) and output.name in reference
    ]
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
                "the tolerance of the other's reference",
                (one.name, other.name),
            )
