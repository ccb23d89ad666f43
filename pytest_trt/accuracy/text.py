"""Outputs of strings: equal or not, nothing in between."""

from __future__ import annotations

import numpy as np

from pytest_trt.accuracy.flat import CHUNK, Array


def count_different(actual: Array, reference: Array) -> tuple[int, int]:
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
