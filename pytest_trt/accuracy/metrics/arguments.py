"""The arrays that a metric is given: checked before anything is computed from them."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

from pytest_trt.accuracy.arrays import CHUNK, Array, FlatReader, FloatArray, is_number, load_for
from pytest_trt.diagnostics import ConfigurationError
from pytest_trt.tensors.elements import dtype_name


def unfit(metric: str, why: str, fix: str) -> ConfigurationError:
    """Return the error of arrays that a metric cannot judge."""
    return ConfigurationError(f"{metric}: {why}", code="TRT421", facts={"metric": metric}, fix=fix)


def numbers(metric: str, outputs: npt.ArrayLike, reference: npt.ArrayLike) -> tuple[Array, Array]:
    """Return both sides as arrays of numbers that have one shape and at least one element.

    Raises:
        ConfigurationError: They are something else.
    """
    left, right = np.asarray(outputs), np.asarray(reference)
    for side in (left, right):
        if not is_number(side.dtype):
            raise unfit(
                metric, f"{dtype_name(side.dtype)} elements are not numbers", "Give numbers."
            )
    if left.shape != right.shape:
        raise unfit(
            metric,
            f"the shapes differ: {list(left.shape)}, reference {list(right.shape)}",
            "Give arrays of one shape.",
        )
    if not left.size:
        raise unfit(metric, "the arrays have no elements", "Use inputs that give some.")
    return left, right


def rows(
    metric: str, outputs: npt.ArrayLike, reference: npt.ArrayLike
) -> tuple[FloatArray, FloatArray]:
    """Return both sides as float64 rows [rows, length] along the last axis.

    Args:
        metric: The metric's name.
        outputs: Real numbers with at least one axis.
        reference: The same shape.

    Raises:
        ConfigurationError: They are something else.
    """
    left, right = real_numbers(metric, outputs, reference)
    length = left.shape[-1] if left.ndim else 1
    if length < 2:
        raise unfit(
            metric,
            f"the last axis has {length} elements, and at least 2 are needed",
            "Give one row of scores for each sample, along the last axis.",
        )
    one, other = (side.astype(np.float64).reshape(-1, length) for side in (left, right))
    return one, other


def real_numbers(
    metric: str, outputs: npt.ArrayLike, reference: npt.ArrayLike
) -> tuple[Array, Array]:
    """Return both sides as `numbers` does, and refuse complex ones, too."""
    left, right = numbers(metric, outputs, reference)
    if "c" in (left.dtype.kind, right.dtype.kind):
        raise unfit(metric, "complex numbers have no order", "Give real numbers.")
    return left, right


def differences(left: Array, right: Array) -> Iterator[tuple[FloatArray, FloatArray]]:
    """Yield |left - right| and |right| in chunks of float64, valid until the next one.

    Equal values have no difference, infinities among them.
    """
    load = load_for(left.dtype, right.dtype)
    readers = FlatReader(left, CHUNK), FlatReader(right, CHUNK)
    buffers = np.empty((2, min(CHUNK, left.size)))
    for start in range(0, left.size, CHUNK):
        stop = min(start + CHUNK, left.size)
        one, other = (reader.read(start, stop) for reader in readers)
        difference, magnitude = buffers[:, : stop - start]
        with np.errstate(all="ignore"):
            load(one, other, difference, magnitude)
            if np.isnan(difference.max()):
                difference[one == other] = 0.0
        yield difference, magnitude
