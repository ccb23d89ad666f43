"""Arrays of .npz and .npy files that somebody else wrote. Nothing is unpickled."""

from __future__ import annotations

import io
import math
import os
import struct
import tokenize
import warnings
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

import numpy.typing as npt
from numpy.lib import format as npy

from pytest_trt import units

_SUFFIX = ".npy"

#: What zipfile and zlib raise on damaged archives, and on those of a form that they cannot read.
_DAMAGED = (
    zipfile.BadZipFile,
    OSError,  # of a place before the file's start
    zlib.error,
    struct.error,
    tokenize.TokenError,
    ValueError,
    TypeError,
    LookupError,
    ArithmeticError,
    SyntaxError,
    EOFError,
    NotImplementedError,
    RuntimeError,
    MemoryError,
)


def read_npz(path: Path, most_bytes: int) -> dict[str, npt.NDArray[Any]]:
    """Return every array of a file that `numpy.savez` or `savez_compressed` wrote, by name.

    Types of ml_dtypes arrive as NumPy stores them: as raw bytes of the same size.

    Args:
        path: The file.
        most_bytes: The most bytes that its arrays may take in memory.

    Raises:
        ValueError: It is damaged, something else, or too large; the message says why.
        OSError: It cannot be read.
    """
    with path.open("rb") as file, _explained():
        return _read_all(file, most_bytes)


def read_npy(path: Path, most_bytes: int) -> npt.NDArray[Any]:
    """Return the array of a file that `numpy.save` wrote; see `read_npz`.

    Raises:
        ValueError: It is damaged, something else, or too large; the message says why.
        OSError: It cannot be read.
    """
    with path.open("rb") as file, _explained():
        size_bytes = os.fstat(file.fileno()).st_size
        require_size(size_bytes, most_bytes)
        _check_header(file, size_bytes)
        file.seek(0)
        array: npt.NDArray[Any] = npy.read_array(file, allow_pickle=False)
        return array


def npy_array(content: bytes) -> npt.NDArray[Any]:
    """Return the array in the content of a file that `numpy.save` wrote.

    Raises:
        ValueError: It is damaged, or something else; the message says why.
    """
    with _explained():
        file = io.BytesIO(content)
        _check_header(file, len(content))
        file.seek(0)
        array: npt.NDArray[Any] = npy.read_array(file, allow_pickle=False)
        return array


@contextmanager
def _explained() -> Iterator[None]:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of headers that Python 2 wrote
            yield
    except _DAMAGED as error:
        # Some of them have no message.
        raise ValueError(str(error) or f"it is damaged ({type(error).__name__})") from error


def require_size(size_bytes: int, most_bytes: int) -> None:
    """Refuse what takes too much memory.

    Raises:
        ValueError: It takes more than is read.
    """
    if size_bytes > most_bytes:
        raise ValueError(
            f"its arrays take {units.size(size_bytes)}, more than the "
            f"{units.size(most_bytes)} that are read"
        )


def _read_all(file: IO[bytes], most_bytes: int) -> dict[str, npt.NDArray[Any]]:
    with zipfile.ZipFile(file) as archive:
        members = archive.infolist()
        require_size(sum(member.file_size for member in members), most_bytes)
        arrays: dict[str, npt.NDArray[Any]] = {}
        for member in members:
            name = member.filename.removesuffix(_SUFFIX)
            if name == member.filename or name in arrays:
                twice = "is there twice" if name in arrays else "is no array"
                raise ValueError(f"its member {member.filename!r} {twice}")
            arrays[name] = _read(archive, member, name)
        return arrays


def _read(archive: zipfile.ZipFile, member: zipfile.ZipInfo, name: str) -> npt.NDArray[Any]:
    try:
        with archive.open(member) as file:
            _check_header(file, member.file_size)
        with archive.open(member) as file:
            array: npt.NDArray[Any] = npy.read_array(file, allow_pickle=False)
            return array
    except _DAMAGED as error:
        raise ValueError(f"array {name!r}: {error}") from error


def _check_header(file: IO[bytes], size_bytes: int) -> None:
    """Check that an array has the size that its header declares, before numpy allocates that.

    Raises:
        ValueError: It has another size, or holds Python objects.
    """
    version = npy.read_magic(file)
    if version == (1, 0):
        shape, _, dtype = npy.read_array_header_1_0(file)
    elif version == (2, 0):
        shape, _, dtype = npy.read_array_header_2_0(file)
    else:
        raise ValueError("it is of a structured type, or damaged")
    if dtype.hasobject:
        raise ValueError("it holds Python objects, which are never unpickled")
    declared_bytes = math.prod(shape) * dtype.itemsize
    if min(shape, default=0) < 0 or file.tell() + declared_bytes != size_bytes:
        raise ValueError(
            f"it is damaged: its header declares {list(shape)} of {dtype}, which is "
            f"{declared_bytes:,} bytes, and {size_bytes - file.tell():,} follow"
        )
