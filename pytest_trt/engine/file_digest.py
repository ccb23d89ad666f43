"""The digest of a file, made on all cores: SHA-256 over the SHA-256 of its pieces."""

from __future__ import annotations

import errno
import hashlib
import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from pytest_trt.model import LabelledHash

#: Part of every digest. Raise the number when pieces are cut or put together in another way.
_SCHEMA = "pytest-trt file 1"

#: What one core hashes at a time: some milliseconds of work, and enough pieces for many cores.
PIECE_BYTES = 4 << 20

#: More than this finds no more memory bandwidth to read with.
_MAX_THREADS = 16

#: A buffer of this size comes from memory that the process has already; fresh pages cost as much
#: as hashing a small plan.
_STEP_BYTES = 1 << 16


@dataclass(frozen=True, slots=True)
class FileDigest:
    """Size and digest of one file.

    Attributes:
        digest: Hex SHA-256 over the size and the SHA-256 of every piece of `PIECE_BYTES`, in order.
        size_bytes: The size.
    """

    digest: str
    size_bytes: int


def digest_file(path: Path) -> FileDigest:
    """Return a file's size and digest; memory does not grow with the file.

    Raises:
        OSError: The file cannot be read, or became shorter meanwhile.
    """
    with path.open("rb", buffering=0) as file:
        descriptor = file.fileno()
        size_bytes = os.fstat(descriptor).st_size

        def piece(start: int) -> bytes:
            return _hash_range(descriptor, start, min(start + PIECE_BYTES, size_bytes))

        state = LabelledHash(_SCHEMA)
        state.add("size", size_bytes)
        for digest in _on_all_cores(piece, range(0, size_bytes, PIECE_BYTES)):
            state.add("piece", digest)
    return FileDigest(state.hexdigest(), size_bytes)


def _on_all_cores(work: Callable[[int], bytes], starts: Sequence[int]) -> list[bytes]:
    """Return the work's results in order. Reading and hashing let other threads run meanwhile."""
    threads = min(len(starts), len(os.sched_getaffinity(0)), _MAX_THREADS)
    if threads < 2:
        return [work(start) for start in starts]
    with ThreadPoolExecutor(threads) as pool:
        return list(pool.map(work, starts))


def _hash_range(descriptor: int, start: int, end: int) -> bytes:
    state = hashlib.sha256()
    buffer = memoryview(bytearray(min(_STEP_BYTES, end - start)))
    while start < end:
        count = os.preadv(descriptor, [buffer[: end - start]], start)
        if not count:
            raise OSError(errno.EIO, "it became shorter while it was read")
        state.update(buffer[:count])
        start += count
    return state.digest()
