"""Arrays of any layout and element type, read in C order a chunk at a time, and as float64."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

#: An array of any element type.
Array: TypeAlias = npt.NDArray[Any]

FloatArray: TypeAlias = npt.NDArray[np.float64]

#: Writes |actual - reference| and |reference| of one chunk into the two buffers given last.
Load: TypeAlias = Callable[[Array, Array, FloatArray, FloatArray], None]

#: Elements per chunk: four float64 buffers of it are 2 MiB. Fastest of 2^13 to 2^18 as measured:
#: small enough for a core's caches, large enough that the cost of calls is negligible.
CHUNK = 1 << 16


class FlatReader:
    """Reads consecutive elements of an array in C order.

    Args:
        array: Any shape, layout and element type.
        chunk: The most elements of one read.
    """

    __slots__ = ("_buffer", "_flat", "_iterator")

    def __init__(self, array: Array, chunk: int) -> None:
        self._flat: Array | None = None
        self._iterator: np.nditer | None = None
        if array.flags.c_contiguous:
            self._flat = array.reshape(-1)
            return
        self._buffer = np.empty(min(chunk, array.size), array.dtype)
        self._iterator = np.nditer(
            array,
            flags=["external_loop", "buffered", "ranged", "refs_ok", "zerosize_ok"],
            order="C",
            buffersize=chunk,
        )

    def read(self, start: int, stop: int) -> Array:
        """Return elements [start, stop) as a contiguous vector, valid until the next read."""
        if self._flat is not None:
            return self._flat[start:stop]
        assert self._iterator is not None
        self._iterator.iterrange = (start, stop)  # type: ignore[misc]
        filled = 0
        # numpy may return fewer elements per step than the buffer holds.
        for piece in self._iterator:
            self._buffer[filled : filled + len(piece)] = piece
            filled += len(piece)
        return self._buffer[:filled]


def index_of(shape: tuple[int, ...], flat_index: int) -> tuple[int, ...]:
    """Return the index of an element, one entry per axis."""
    if len(shape) == 1:
        return (flat_index,)
    index: list[int] = []
    for length in reversed(shape):
        flat_index, place = divmod(flat_index, length)
        index.append(place)
    return tuple(reversed(index))


#: What numpy's `item` returns for its own types. A tuple, as `a | b` is made again each time.
_PLAIN = (float, int, bool, str)


def scalar_at(array: Array, flat_index: int) -> Any:
    """Return one element, by its place in C order, as a Python scalar; a complex one as text."""
    value = array.item(flat_index)
    if isinstance(value, _PLAIN):
        return value
    if isinstance(value, complex | np.complexfloating):
        return f"{complex(value):.4g}"
    # longdouble has no Python equal, nor have some extension types; float holds their value.
    return str(value) if array.dtype.kind in "OUST" else float(value)


_TEXT_KINDS = "OUST"


def is_text(dtype: np.dtype[np.generic]) -> bool:
    """Whether elements are strings: numpy's own, or Python objects as ONNX Runtime returns them."""
    return dtype.kind in _TEXT_KINDS


@lru_cache(maxsize=64)
def is_number(dtype: np.dtype[np.generic]) -> bool:
    """Whether elements have a value in float64 or complex128; ml_dtypes' types do."""
    return np.can_cast(dtype, np.complex128, casting="same_kind") and dtype.kind not in "mM"


def load_for(actual: np.dtype[np.generic], reference: np.dtype[np.generic]) -> Load:
    """Return how chunks of these two element types are loaded."""
    if "c" in (actual.kind, reference.kind):
        return _load_complex
    if actual.kind == reference.kind and actual.kind in "iu" and actual.itemsize == 8:
        return _load_wide_integers
    return load_real


def load_real(
    actual: Array, reference: Array, difference: FloatArray, magnitude: FloatArray
) -> None:
    """Load real numbers that float64 holds exactly, or closely enough."""
    np.copyto(difference, actual, casting="unsafe")
    np.copyto(magnitude, reference, casting="unsafe")
    np.subtract(difference, magnitude, out=difference)
    np.abs(difference, out=difference)
    np.abs(magnitude, out=magnitude)


def _load_wide_integers(
    actual: Array, reference: Array, difference: FloatArray, magnitude: FloatArray
) -> None:
    """Subtract before the cast: float64 cannot distinguish neighbours beyond 2^53.

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

    None otherwise. Equal bits leave nothing else to measure.
    """
    if actual.dtype != reference.dtype or actual.dtype.itemsize not in (1, 2, 4, 8):
        return None
    # Complex numbers have no largest one that shows whether all are finite.
    if actual.dtype.kind == "c" or actual[:32].tobytes() != reference[:32].tobytes():
        # The first few are enough for outputs that differ everywhere.
        return None
    bits = np.dtype(f"u{actual.dtype.itemsize}")
    if np.not_equal(actual.view(bits), reference.view(bits), out=flags).any():
        return None
    largest = max(abs(float(actual.max())), abs(float(actual.min())))
    return largest if np.isfinite(largest) else None
