"""The format of every file of ours in the cache: content that is sealed together with its key.

::

    pytest-trt sealed 1 93fa...     BLAKE3 of all bytes after this line, in hex
    reference 5c1e...               what the file holds, and the key that it was stored under
    ...                             the content

A file is what was stored under a key, or it is damaged: one changed bit, a truncated file, and a
file that was swapped with another are noticed alike. The seal is no signature: the cache's folder
is private.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from io import FileIO
from pathlib import Path

from pytest_trt.files import PRIVATE, atomic_open, open_regular

#: The beginning of every file. Another format gets another number.
_MAGIC = b"pytest-trt sealed 1 "
_HEX_BYTES = 64
_HEAD_BYTES = len(_MAGIC) + _HEX_BYTES + 1


class SealError(Exception):
    """A file is damaged, or holds something else; the text says which."""


@dataclass(frozen=True, slots=True)
class Sealed:
    """What a file holds.

    Attributes:
        key: What it was stored under.
        content: The content, in memory of its own.
    """

    key: str
    content: memoryview


def sealed(kind: str, key: str, *parts: bytes | memoryview) -> list[bytes | memoryview]:
    """Return the bytes of a file, in pieces.

    Args:
        kind: What it holds, one word.
        key: What it is stored under, one line.
        parts: The content; memory must be contiguous.
    """
    from blake3 import blake3

    named = f"{kind} {key}\n".encode()
    seal = blake3(named)
    for part in parts:
        seal.update(part)
    return [_MAGIC + seal.hexdigest().encode() + b"\n" + named, *parts]


def write_sealed(path: Path, kind: str, key: str, *parts: bytes | memoryview) -> None:
    """Replace a file, at once for every reader. Nothing waits for the disk: readers verify.

    Raises:
        OSError: It cannot be written; the old file is unchanged.
    """
    # Where the cache assembles everything: it is swept by the next process that opens the cache.
    drafts = path.parent.with_name("building")
    drafts = drafts if drafts.is_dir() else path.parent
    with atomic_open(path, mode=PRIVATE, sync=False, drafts=drafts) as file:
        file.writelines(sealed(kind, key, *parts))


def read_sealed(path: Path, kind: str, key: str | None = None) -> Sealed:
    """Return what a file holds, see `unseal`.

    Raises:
        FileNotFoundError: There is none.
        OSError: It cannot be read, or is no regular file.
        SealError: As for `unseal`.
    """
    with open_regular(path) as file:
        return unseal(file, kind, key)


def unseal(file: FileIO, kind: str, key: str | None = None) -> Sealed:
    """Return what an open file holds, after checking every byte of it.

    Args:
        file: The file.
        kind: What it should hold.
        key: What it should be stored under; None for any key.

    Raises:
        OSError: It cannot be read.
        SealError: It is damaged, or was stored under another key.
    """
    from blake3 import blake3

    content = _read(file)
    view = memoryview(content)
    if not content.startswith(_MAGIC):
        raise SealError("it has no seal of this version")
    seal = blake3(view[_HEAD_BYTES:]).hexdigest().encode()
    if content[:_HEAD_BYTES] != _MAGIC + seal + b"\n":
        raise SealError("its bytes do not match its seal")
    end = content.find(b"\n", _HEAD_BYTES)
    found_kind, _, found_key = content[_HEAD_BYTES:end].decode(errors="replace").partition(" ")
    if found_kind != kind or key not in (None, found_key):
        raise SealError(f"it was stored as {found_kind} {found_key[:12]}")
    return Sealed(found_key, view[end + 1 :])


def _read(file: FileIO) -> bytearray:
    content = bytearray(os.fstat(file.fileno()).st_size)
    rest = memoryview(content)
    while rest and (count := file.readinto(rest)):
        rest = rest[count:]
    return content
