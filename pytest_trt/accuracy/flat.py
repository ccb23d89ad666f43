"""Arrays of any layout read in C order, a chunk at a time, without a copy of the whole."""

from __future__ import annotations

from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

#: An array of any element type.
Array: TypeAlias = npt.NDArray[Any]

#: Elements per chunk: four float64 buffers of it fill 1 MiB, the level-2 cache of one core.
CHUNK = 1 << 15


class FlatReader:
    """Reads consecutive elements of an array in C order. Not shared between threads.

    Args:
        array: Any shape, layout and element type.
        chunk: The most elements that one read may ask for.
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
        # numpy may hand out fewer elements per step than the buffer holds.
        for piece in self._iterator:
            self._buffer[filled : filled + len(piece)] = piece
            filled += len(piece)
        return self._buffer[:filled]


def element_at(array: Array, flat_index: int) -> tuple[tuple[int, ...], Any]:
    """Return the index of an element, one entry per axis, and the element as a Python scalar."""
    index = tuple(int(i) for i in np.unravel_index(flat_index, array.shape))
    value = array[index]
    if array.dtype.kind in "fciub":
        # longdouble and the extension types have no exact Python equal; float holds their value.
        return index, value.item() if array.dtype.itemsize <= 16 else float(value)
    return index, str(value) if array.dtype.kind in "OUST" else float(value)
