"""Inputs and outputs in a file, for another process of the same user. Nothing is pickled.

A file begins with JSON, behind its length: what is where. Bytes of arrays follow, each at a
multiple of 64. A reader maps the file, so arrays are copied once, by the writer. An archive of
NumPy's takes ten times as long to write for small arrays.
"""

from __future__ import annotations

import io
import json
import mmap
import struct
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from pytest_trt.tensors.elements import as_bits, dtype_name, from_bits
from pytest_trt.tensors.spec import Tensors

#: How the length of the JSON is written.
_LENGTH = struct.Struct("<Q")

#: Arrays begin at multiples of this, as NumPy's own do.
_ALIGNMENT = 64


def write_samples(path: Path, samples: Sequence[Tensors]) -> None:
    """Write sets of inputs: arrays, strings, sequences, maps, and None for an optional.

    Args:
        path: The file to write, in a folder that only this user can write to.
        samples: The sets; each has values by the name of the input.

    Raises:
        ValueError: A value is another object.
        OSError: The file cannot be written.
    """
    arrays: list[npt.NDArray[Any]] = []
    try:
        layout = json.dumps([_described(dict(sample), arrays) for sample in samples]).encode()
    except TypeError as error:
        raise ValueError(f"the inputs hold a Python object: {error}") from error
    with path.open("wb") as file:
        file.write(_LENGTH.pack(len(layout)) + layout)
        for array in arrays:
            file.write(bytes(-file.tell() % _ALIGNMENT))
            file.write(array.reshape(-1).view(np.uint8).data)


def read_samples(path: Path) -> list[Tensors]:
    """Return what `write_samples` wrote. Its arrays can be changed; the file stays as it is.

    Raises:
        ValueError: The file is damaged.
        OSError: It cannot be read.
    """
    with path.open("rb", buffering=0) as file:
        size_bytes = file.seek(0, io.SEEK_END)
        if size_bytes < _LENGTH.size:
            raise ValueError(f"{path} has {size_bytes} bytes")
        content = mmap.mmap(file.fileno(), size_bytes, access=mmap.ACCESS_COPY)
    (length,) = _LENGTH.unpack_from(content)
    end = _LENGTH.size + length
    reader = _Reader(content, end)
    try:
        return [reader.value(sample) for sample in json.loads(content[_LENGTH.size : end])]
    except (KeyError, TypeError) as error:
        raise ValueError(f"{path} is damaged: {error}") from error


def _described(value: object, arrays: list[npt.NDArray[Any]]) -> object:
    """Return a value as JSON-simple data, and add its arrays."""
    if isinstance(value, np.ndarray) and value.dtype.hasobject:
        return {"strings": value.reshape(-1).tolist(), "shape": value.shape}
    if isinstance(value, np.ndarray | np.generic):
        array = np.asarray(as_bits(np.asarray(value)), order="C")
        arrays.append(array)
        element = dtype_name(np.asarray(value).dtype)
        return {"array": array.dtype.str, "shape": array.shape, "element": element}
    if isinstance(value, Mapping):
        entries = [
            [_described(key, arrays), _described(item, arrays)] for key, item in value.items()
        ]
        return {"entries": entries}
    if isinstance(value, list | tuple):
        return {"items": [_described(item, arrays) for item in value]}
    return value


class _Reader:
    """Reads described values, in the order in which they were written.

    Args:
        content: The file.
        end: Where the JSON ends.
    """

    def __init__(self, content: mmap.mmap, end: int) -> None:
        self._content, self._end = content, end

    def value(self, described: Any) -> Any:
        """Return a value."""
        if not isinstance(described, dict):
            return described
        if "array" in described:
            begin, dtype = self._end + -self._end % _ALIGNMENT, np.dtype(described["array"])
            if dtype.hasobject:
                raise ValueError("an array holds Python objects")
            array: npt.NDArray[Any] = np.ndarray(described["shape"], dtype, self._content, begin)
            self._end = begin + array.nbytes
            return from_bits(array, described["element"])
        if "strings" in described:
            return np.array(described["strings"], dtype=object).reshape(described["shape"])
        if "entries" in described:
            return {self.value(key): self.value(item) for key, item in described["entries"]}
        return [self.value(item) for item in described["items"]]
