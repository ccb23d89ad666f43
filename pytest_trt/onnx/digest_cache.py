"""When what is known of a model may be taken from memory instead of from its bytes.

A file whose stamp is the one that it had when it was hashed holds the bytes that were hashed: every
write moves its change time (ctime), which no program can set back. Two holes are kept shut. A write
in the same tick of the clock as the stamp would not show, and neither would one through a memory
map whose page is dirty already. So a file must have been left alone for a while, by both of its
times, before its stamp counts for anything; and it must have the same stamp after it was hashed as
before. Where the memory is kept, and which file systems keep their times so well, is not decided
here.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from io import FileIO
from pathlib import Path
from typing import Any, Protocol, TypeAlias

#: How long files must have been left alone. Longer than a tick of any file system's clock (2 s on
#: FAT), and than Linux leaves a stored-to page of a memory map dirty (30 s, looked at every 5 s):
#: until the page is written back, further stores do not move the file's times.
#: Source: https://docs.kernel.org/admin-guide/sysctl/vm.html, dirty_expire_centisecs.
REST_NS = 60 * 10**9


@dataclass(frozen=True, slots=True)
class FileStamp:
    """What the file system says of a file, but for its bytes.

    Attributes:
        path: The file, absolute, links resolved.
        device: Number of the file system.
        inode: Number of the file in it.
        size_bytes: Its size.
        mtime_ns: When its bytes last changed, as far as programs let it be known.
        ctime_ns: When anything of it last changed.
    """

    path: str
    device: int
    inode: int
    size_bytes: int
    mtime_ns: int
    ctime_ns: int

    @classmethod
    def of(cls, path: Path, file: FileIO) -> FileStamp:
        """Return the stamp of an open file. Opening is what asks a network server anew."""
        status = os.fstat(file.fileno())
        return cls(
            path=os.path.realpath(path),
            device=status.st_dev,
            inode=status.st_ino,
            size_bytes=status.st_size,
            mtime_ns=status.st_mtime_ns,
            ctime_ns=status.st_ctime_ns,
        )

    def rested(self, now_ns: int) -> bool:
        """Whether the file had been left alone for long enough at that time.

        Never where the file system numbers no files or keeps no change times.
        """
        known = self.inode > 0 and self.ctime_ns > 0
        return known and max(self.mtime_ns, self.ctime_ns) + REST_NS < now_ns


#: Stamps of every file that a digest covers, in the order in which the model refers to them.
Stamps: TypeAlias = tuple[FileStamp, ...]


@dataclass(frozen=True, slots=True)
class CachedDigest:
    """What was found out of a model, and when that holds.

    Attributes:
        stamps: Its files as they were.
        digest: Its digest, which holds while all of them are as they were.
        contents: What its own file holds, see `Contents.to_dict`; holds while that file is so.
    """

    stamps: Stamps
    digest: str
    contents: Mapping[str, Any]


class DigestCache(Protocol):
    """What was found out of models, by the stamps of their files."""

    def recall(self, model: FileStamp) -> CachedDigest | None:
        """Return what was remembered of a model whose own file has exactly this stamp."""
        ...

    def remember(self, found: CachedDigest) -> None:
        """Keep what was found out. Never fails: what is not kept is found out again."""
        ...


def recall(
    memory: DigestCache | None, model: tuple[Path, FileIO], *, started_ns: int
) -> CachedDigest | None:
    """Return what is remembered of a model whose own file is the one that was read then.

    Args:
        memory: Where it is kept, if anywhere.
        model: The model's path, and its file as it was opened to be read.
        started_ns: Before the model was opened, in nanoseconds since 1970.
    """
    if memory is None:
        return None
    stamp = FileStamp.of(*model)
    return memory.recall(stamp) if stamp.rested(started_ns) else None


def recall_or_hash(
    memory: DigestCache | None,
    known: CachedDigest | None,
    model: tuple[Path, FileIO],
    data_files: Sequence[Path],
    *,
    started_ns: int,
    hash_files: Callable[[], str],
    contents: Callable[[], Mapping[str, Any]],
) -> str:
    """Return a model's digest, out of memory where its files are those that were hashed.

    Args:
        memory: Where digests are kept, if anywhere.
        known: What `recall` returned.
        model: The model's path, and its file as it was opened to be read.
        data_files: Its external data files.
        started_ns: Before the model was opened, in nanoseconds since 1970.
        hash_files: Computes the digest.
        contents: Returns what is to be remembered beside it.
    """
    if memory is None:
        return hash_files()
    # What `recall` has found bears the stamp that the model's own file had a moment ago.
    own = known.stamps[0] if known is not None else FileStamp.of(*model)
    before = _stamps(own, data_files)
    if before is None or not all(stamp.rested(started_ns) for stamp in before):
        return hash_files()
    if known is not None and known.stamps == before:
        return known.digest
    digest = hash_files()
    if _stamps(FileStamp.of(*model), data_files) == before:
        memory.remember(CachedDigest(before, digest, contents()))
    return digest


def _stamps(model: FileStamp, data_files: Iterable[Path]) -> Stamps | None:
    stamps = [model]
    try:
        for path in data_files:
            with path.open("rb", buffering=0) as file:
                stamps.append(FileStamp.of(path, file))
    except OSError:
        return None  # hashing says what is wrong with it
    return tuple(stamps)
