"""Parts of an output that are small beside its others, such as scores beside coordinates.

One tolerance for both tests the large ones alone: a detector whose classes are dead would pass.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from pytest_trt.accuracy.arrays import Array
from pytest_trt.accuracy.result import SmallParts

#: Along an axis: fewer parts are no channels, and more are positions.
_PARTS = range(4, 257)

#: Elements of a part, at least: of few, some are small by chance.
_ELEMENTS = 16

#: So many times as large are all other parts, at least.
_GAP = 10.0

#: The others reach more than this: in probabilities, small parts are classes that no input is of.
_PROBABILITY = 1.001

#: Small parts are this share of all, at least: a network has single channels that are never used.
_SHARE = 1 / 8


def small_parts(array: Array) -> Iterator[SmallParts]:
    """Yield the parts of an output that are small beside all others, the most first.

    Parts whose elements are all zero are left out: padding, or channels that are not used.

    Args:
        array: An output; of less than three axes, or not of floats, it has none: a classifier
            has classes that no input is of.
    """
    if array.ndim < 3 or array.dtype.kind != "f" or not array.size:
        return
    # Channels are there, and fewer than positions: pixels, frames or boxes may be small by content.
    axis = min(1, array.ndim - 1, key=lambda one: array.shape[one])
    number = array.shape[axis]
    if number not in _PARTS or array.size // number < _ELEMENTS:
        return
    others = tuple(one for one in range(array.ndim) if one != axis)
    peaks = np.maximum(array.max(others), -array.min(others)).astype(np.float64)
    order = np.argsort(peaks)
    ordered = peaks[order]
    if not np.isfinite(peaks).all():
        return
    least = np.maximum(_GAP * ordered[:-1], _PROBABILITY)
    gaps = np.flatnonzero((ordered[:-1] > 0.0) & (ordered[1:] >= least))
    for last in gaps[::-1].tolist():
        small = order[: last + 1][ordered[: last + 1] > 0.0]
        if len(small) >= _SHARE * number:
            indices = tuple(sorted(small.tolist()))
            yield SmallParts(axis, indices, float(ordered[last]), float(ordered[last + 1]))


def with_zeros(array: Array, parts: SmallParts) -> Array:
    """Return a copy of an output with zeros in some of its parts."""
    changed: Array = array.copy()
    changed[(slice(None),) * parts.axis + (list(parts.indices),)] = 0
    return changed
