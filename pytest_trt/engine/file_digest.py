"""The digest of a file: BLAKE3 over its bytes, as `b3sum` prints it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

#: A buffer of this size comes from memory that the process has already; fresh pages cost as much
#: as hashing a small plan, and larger steps hash no faster.
_STEP_BYTES = 1 << 16


@dataclass(frozen=True, slots=True)
class FileDigest:
    """Size and digest of one file.

    Attributes:
        digest: Hex BLAKE3 of its bytes.
        size_bytes: The size.
    """

    digest: str
    size_bytes: int


def digest_file(path: Path) -> FileDigest:
    """Return a file's size and digest; memory does not grow with the file.

    It is read in steps, by one thread. Through a memory map, a file that is cut short meanwhile, or
    removed on a server, would end the interpreter (SIGBUS); and neither a map nor more threads were
    faster in a fresh process: 117 MB took 22 ms in steps, 21 through a map, 24 with two threads.

    Raises:
        OSError: The file cannot be read.
    """
    from blake3 import blake3

    state, size_bytes = blake3(), 0
    buffer = memoryview(bytearray(_STEP_BYTES))
    with path.open("rb", buffering=0) as file:
        while count := file.readinto(buffer):
            state.update(buffer[:count])
            size_bytes += count
    return FileDigest(state.hexdigest(), size_bytes)
