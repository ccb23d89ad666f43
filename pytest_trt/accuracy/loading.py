"""Chunks of two arrays turned into |actual - reference| and |reference| in float64."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from pytest_trt.accuracy.flat import Array

FloatArray: TypeAlias = npt.NDArray[np.float64]

#: Writes |actual - reference| and |reference| of one chunk into the two buffers given last.
Load: TypeAlias = Callable[[Array, Array, FloatArray, FloatArray], None]

_TEXT_KINDS = "OUST"


def is_text(dtype: np.dtype[np.generic]) -> bool:
    """Whether elements are strings: numpy's own, or Python objects as ONNX Runtime returns them."""
    return dtype.kind in _TEXT_KINDS


def is_number(dtype: np.dtype[np.generic]) -> bool:
    """Whether elements have a value in float64 or complex128; ml_dtypes' types do."""
    return np.can_cast(dtype, np.complex128, casting="same_kind") and dtype.kind not in "mM"


def load_for(actual: np.dtype[np.generic], reference: np.dtype[np.generic]) -> Load:
    """Return how chunks of these two element types are loaded."""
    if "c" in (actual.kind, reference.kind):
        return _load_complex
    if actual.kind == reference.kind and actual.kind in "iu" and actual.itemsize == 8:
        return _load_wide_integers
    return _load_real


def _load_real(
    actual: Array, reference: Array, difference: FloatArray, magnitude: FloatArray
) -> None:
    np.copyto(difference, actual, casting="unsafe")
    np.copyto(magnitude, reference, casting="unsafe")
    np.subtract(difference, magnitude, out=difference)
    np.abs(difference, out=difference)
    np.abs(magnitude, out=magnitude)


def _load_wide_integers(
    actual: Array, reference: Array, difference: FloatArray, magnitude: FloatArray
) -> None:
    """Subtract before the cast: float64 cannot tell neighbours beyond 2^53 apart.

    Larger minus smaller, in the unsigned type, is exact whatever the signs.
    """
    larger = np.maximum(actual, reference).view(np.uint64)
    smaller = np.minimum(actual, reference).view(np.uint64)
    np.copyto(difference, larger - smaller, casting="unsafe")
    np.copyto(magnitude, reference, casting="unsafe")
    np.abs(magnitude, out=magnitude)


def _load_complex(
    actual: Array, reference: Array, difference: FloatArray, magnitude: FloatArray
) -> None:
    wide = reference.astype(np.complex128)
    np.abs(actual - wide, out=difference)
    np.abs(wide, out=magnitude)


def same_bits(actual: Array, reference: Array, flags: npt.NDArray[np.bool_]) -> float | None:
    """Return the largest magnitude of two chunks of the same bits, all of them finite.

    None if they are not; nothing else is left to measure if they are.
    """
    if actual.dtype != reference.dtype or actual.dtype.itemsize not in (1, 2, 4, 8):
        return None
    # Complex numbers have no largest one that would tell whether all are finite.
    if actual.dtype.kind == "c" or actual[:32].tobytes() != reference[:32].tobytes():
        # A look at the first few settles it for outputs that differ everywhere.
        return None
    bits = np.dtype(f"u{actual.dtype.itemsize}")
    if np.not_equal(actual.view(bits), reference.view(bits), out=flags).any():
        return None
    largest = max(abs(float(actual.max())), abs(float(actual.min())))
    return largest if np.isfinite(largest) else None
