"""Inputs and outputs in a file, for another process of the same user. Nothing is pickled.

A file is a sequence of records, one for each set. A record begins with two lengths, of its JSON and
of all of it, and the JSON: what is where. Bytes of arrays follow, each at a multiple of 64. Records
are written and read one at a time; a reader of few sets maps the file, so that arrays are copied
once, by the writer. An archive of NumPy's takes ten times as long to write for small arrays.
"""

from __future__ import annotations

import json
import mmap
import struct
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import IO, Any, TypeAlias

import numpy as np
import numpy.typing as npt

from pytest_trt.tensors.elements import as_bits, dtype_name, from_bits
from pytest_trt.tensors.spec import Tensors

#: How the lengths of the JSON and of the record are written.
_LENGTHS = struct.Struct("<QQ")

#: Records and arrays begin at multiples of this, as NumPy's own arrays do.
_ALIGNMENT = 64

_Buffer: TypeAlias = "mmap.mmap | bytearray"


def write_samples(path: Path, samples: Iterable[Tensors]) -> None:
    """Write sets of inputs: arrays, strings, sequences, maps, and None for an optional.

    Args:
        path: The file to write, in a folder that only this user can write to.
        samples: The sets; each has values by the name of the input.

    Raises:
        ValueError: A value is another object.
        OSError: The file cannot be written.
    """
    with path.open("wb") as file:
        for sample in samples:
            write_sample(file, sample)


def write_sample(file: IO[bytes], sample: Tensors) -> None:
    """Add a set to a file; see `write_samples`."""
    arrays: list[npt.NDArray[Any]] = []
    try:
        layout = json.dumps(_described(dict(sample), arrays)).encode()
    except TypeError as error:
        raise ValueError(f"the inputs hold a Python object: {error}") from error
    end = _LENGTHS.size + len(layout)
    for array in arrays:
        end = _aligned(end) + array.nbytes
    file.write(_LENGTHS.pack(len(layout), _aligned(end)) + layout)
    for array in arrays:
        file.write(bytes(-file.tell() % _ALIGNMENT))
        file.write(array.reshape(-1).view(np.uint8).data)
    file.write(bytes(-file.tell() % _ALIGNMENT))


def read_samples(path: Path) -> list[Tensors]:
    """Return what `write_samples` wrote. Its arrays can be changed; the file stays as it is.

    Raises:
        ValueError: The file is damaged.
        OSError: It cannot be read.
    """
    with path.open("rb", buffering=0) as file:
        places = _places(file, path)
        content = mmap.mmap(file.fileno(), places[-1], access=mmap.ACCESS_COPY)
    return [_sample(content, start, path) for start in places[:-1]]


class StoredSamples:
    """What `write_samples` wrote, read one set at a time, as often as needed.

    Raises:
        ValueError: The file is damaged.
        OSError: It cannot be read.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        with path.open("rb", buffering=0) as file:
            self._places = _places(file, path)

    def __len__(self) -> int:
        return len(self._places) - 1

    def __iter__(self) -> Iterator[Tensors]:
        with self._path.open("rb") as file:
            for start, end in zip(self._places, self._places[1:], strict=False):
                content = bytearray(end - start)
                file.readinto(content)
                yield _sample(content, 0, self._path)


def _places(file: IO[bytes], path: Path) -> list[int]:
    """Return where records begin, and where the last one ends.

    Raises:
        ValueError: The file does not end with a record, or is empty.
    """
    size_bytes = file.seek(0, 2)
    places = [0]
    while places[-1] < size_bytes or not places[-1]:
        file.seek(places[-1])
        lengths = file.read(_LENGTHS.size)
        end = places[-1] + (_LENGTHS.unpack(lengths)[1] if len(lengths) == _LENGTHS.size else 0)
        if not places[-1] < end <= size_bytes:
            raise ValueError(f"{path} has {size_bytes} bytes")
        places.append(end)
    return places


def _sample(content: _Buffer, start: int, path: Path) -> Tensors:
    length, _ = _LENGTHS.unpack_from(content, start)
    begin = start + _LENGTHS.size
    reader = _Reader(content, begin + length)
    try:
        sample: Tensors = reader.value(json.loads(content[begin : begin + length]))
        return sample
    except (KeyError, TypeError) as error:
        raise ValueError(f"{path} is damaged: {error}") from error


def _aligned(place: int) -> int:
    return place + -place % _ALIGNMENT


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
        content: The file, or a record of it.
        end: Where the JSON ends.
    """

    def __init__(self, content: _Buffer, end: int) -> None:
        self._content, self._end = content, end

    def value(self, described: Any) -> Any:
        """Return a value."""
        if not isinstance(described, dict):
            return described
        if "array" in described:
            begin, dtype = _aligned(self._end), np.dtype(described["array"])
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
