"""How the errors of one output are spread, as shares of its tolerance."""

from __future__ import annotations

import numpy as np

from pytest_trt.accuracy.elementwise import shares_of
from pytest_trt.accuracy.flat import CHUNK, Array, FlatReader
from pytest_trt.accuracy.loading import load_for

#: Upper ends of the bins, as shares of the tolerance; each belongs to its bin, so that what is
#: exactly at the limit is on the side that passes. Doublings: what matters is how far from 1.
HISTOGRAM_EDGES = tuple(2.0**exponent for exponent in range(-10, 11))


def error_histogram(
    actual: Array, reference: Array, *, rtol: float, atol: float, chunk: int = CHUNK
) -> tuple[int, ...]:
    """Return how many elements use which share of the tolerance.

    The first count is of elements without any error, then one for each of `HISTOGRAM_EDGES`, and
    the last is of those beyond. Elements that are not finite on both sides are left out.

    Args:
        actual: Numbers of any layout.
        reference: The same shape.
        rtol: See `Tolerance`.
        atol: See `Tolerance`.
        chunk: Elements counted at a time.
    """
    load = load_for(actual.dtype, reference.dtype)
    readers = FlatReader(actual, chunk), FlatReader(reference, chunk)
    buffers = np.empty((3, min(chunk, actual.size)))
    edges = np.array((0.0, *HISTOGRAM_EDGES))
    counts = np.zeros(edges.size + 1, np.int64)
    with np.errstate(all="ignore"):
        for start in range(0, actual.size, chunk):
            stop = min(start + chunk, actual.size)
            left, right = (reader.read(start, stop) for reader in readers)
            difference, limit, shares = (buffer[: stop - start] for buffer in buffers)
            load(left, right, difference, limit)
            known = np.isfinite(left) & np.isfinite(right)
            # Not multiplied by 0: of a magnitude that overflowed it would be NaN.
            limit[:] = limit * rtol + atol if rtol else atol
            shares_of(difference, limit, shares)
            places = np.searchsorted(edges, shares[known], side="left")
            counts += np.bincount(places, minlength=counts.size)
    return tuple(int(count) for count in counts)
