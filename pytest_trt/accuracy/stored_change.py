"""What changed between two stored versions of an output, either of which may be a sketch."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TypeAlias

import numpy as np

from pytest_trt.accuracy.arrays import Array, index_of, is_number, is_text
from pytest_trt.accuracy.compare import compare_output
from pytest_trt.accuracy.result import Element, OutputResult
from pytest_trt.accuracy.sketch import (
    Integers,
    Sketch,
    block_statistics,
    elements_at,
    is_ordered,
    largest_places,
    row_of,
)
from pytest_trt.accuracy.stored import Stored, used_of_blocks
from pytest_trt.accuracy.tolerance import DEFAULT_TOLERANCES

#: What two runs of one model in FP32 may differ by.
FP32 = DEFAULT_TOLERANCES["fp32"]

#: By row the place of its largest element, and all places that tie for it.
_Tops: TypeAlias = dict[int, tuple[int, set[int]]]


@dataclass(frozen=True, slots=True)
class StoredChange:
    """How an output differs from what was stored before.

    Attributes:
        why: Why the two cannot be compared; empty if they can, as the next ones assume.
        size: Elements of the output.
        compared: Elements whose difference was measured.
        largest: The largest |new - old| among them, with its index; None where none differs.
        mean: Their mean |new - old|; 0.0 for text.
        rows: Rows along the last axis whose largest element was compared; 0 where there are none.
        flips: Rows among them whose largest element is at another place.
        within: Whether no difference beyond the tolerance of FP32 is seen.
        share: 0.0 where whole outputs were compared. Of sketches the share of elements of which a
            change is in the sample with 99% probability: one of fewer may not be seen.
    """

    why: str = ""
    size: int = 0
    compared: int = 0
    largest: Element | None = None
    mean: float = 0.0
    rows: int = 0
    flips: int = 0
    within: bool = True
    share: float = 0.0


def stored_change(old: Stored, new: Stored) -> StoredChange:
    """Compare what is stored of an output with what was stored before."""
    if old.shape != new.shape:
        return StoredChange(f"shape {list(old.shape)} -> {list(new.shape)}")
    if old.dtype != new.dtype and not (is_text(old.dtype) and is_text(new.dtype)):
        return StoredChange(f"dtype {old.dtype.name} -> {new.dtype.name}")
    if isinstance(old, Sketch) or isinstance(new, Sketch):
        return _of_sketches(old, new)
    rows, flips = _flips(_tops_of(old), _tops_of(new))
    found = _of_values(old.reshape(-1), new.reshape(-1), old.shape)
    return replace(found, size=old.size, rows=rows, flips=flips)


def _of_values(
    old: Array, new: Array, shape: tuple[int, ...], places: Integers | None = None
) -> StoredChange:
    """Compare elements: all of an output, or those at places in C order."""
    result = compare_output("", new, old, FP32)
    mean = 0.0
    if is_number(old.dtype) and old.size:
        wide = np.complex128 if old.dtype.kind == "c" else np.float64
        with np.errstate(all="ignore"):
            apart = np.abs(new.astype(wide) - old.astype(wide))
        finite = apart[np.isfinite(apart)]
        mean = float(finite.mean()) if finite.size else 0.0
    return StoredChange(
        compared=result.compared,
        largest=_placed(result, shape, places),
        mean=mean,
        within=result.passed or not old.size,
    )


def _placed(
    result: OutputResult, shape: tuple[int, ...], places: Integers | None
) -> Element | None:
    worst = result.worst_abs
    if worst is None:
        return None
    (place,) = worst.index
    return replace(worst, index=index_of(shape, int(place if places is None else places[place])))


def _of_sketches(old: Stored, new: Stored) -> StoredChange:
    if isinstance(old, Sketch):
        before, after = old, new if isinstance(new, Sketch) else _like(new, old)
    else:
        assert isinstance(new, Sketch)
        before, after = _like(old, new), new
    places, of_old, of_new = np.intersect1d(
        before.places, after.places, assume_unique=True, return_indices=True
    )
    found = _of_values(before.values[of_old], after.values[of_new], before.shape, places)
    within = found.within
    if before.sums.size and before.sums.size == after.sums.size:
        statistics = (after.sums, after.magnitudes, after.least, after.largest, after.nonfinite)
        within &= bool((np.maximum(*used_of_blocks(statistics, before, FP32)) <= 1.0).all())
        within &= bool((before.nonfinite == after.nonfinite).all())
    elif not places.size:
        return StoredChange("their sketches have no element in common")
    rows, flips = _flips(_tops_of_sketch(before), _tops_of_sketch(after))
    share = replace(before, places=places).smallest_share
    return replace(found, size=before.size, rows=rows, flips=flips, within=within, share=share)


def _like(array: Array, sketch: Sketch) -> Sketch:
    """Return what another output's sketch has, of a whole output."""
    blocks = (sketch.sums, sketch.magnitudes, sketch.least, sketch.largest, sketch.nonfinite)
    if sketch.sums.size:
        blocks = block_statistics(array, sketch.sums.size)
    tops, values = np.empty_like(sketch.tops), np.empty_like(sketch.top_values)
    for index, number in enumerate(sketch.rows.tolist()):
        row = row_of(array, number)
        tops[index] = largest_places(row, tops.shape[1])
        values[index] = row[tops[index]]
    sample = elements_at(array, sketch.places)
    return Sketch(array.shape, sketch.places, sample, *blocks, sketch.rows, tops, values)


# --- rows


def _tops_of(array: Array) -> _Tops:
    """Return the tops of all rows along the last axis; none where elements have no order."""
    if array.ndim < 2 or array.shape[-1] < 2 or not array.size or not is_ordered(array.dtype):
        return {}
    rows = array.reshape(-1, array.shape[-1]).astype(np.float64)
    rows = np.where(np.isnan(rows), -math.inf, rows)
    return {
        number: (int(row.argmax()), set(np.flatnonzero(row == row.max()).tolist()))
        for number, row in enumerate(rows)
    }


def _tops_of_sketch(sketch: Sketch) -> _Tops:
    if len(sketch.shape) < 2:
        return {}
    return {
        number: (int(tops[0]), set(tops[values == values[0]].tolist()))
        for number, tops, values in zip(
            sketch.rows.tolist(), sketch.tops, sketch.top_values, strict=True
        )
    }


def _flips(old: _Tops, new: _Tops) -> tuple[int, int]:
    """Return how many rows both have, and in how many the largest element moved."""
    shared = old.keys() & new.keys()
    return len(shared), sum(new[number][0] not in old[number][1] for number in shared)
