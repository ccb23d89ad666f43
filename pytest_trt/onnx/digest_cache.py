"""When the stored digest and contents of a model can be used instead of reading its bytes.

A file that has the stamp that it had when it was hashed holds the bytes that were hashed: every
write moves its change time (ctime), which no program can set back. There are two exceptions: a
write in the same tick of the clock as the stamp, and a write through a memory map whose page is
dirty already. So a stamp counts only if the file has been unchanged for a while, by both of its
times. A file that has another stamp after it was hashed than before is an error.

Where digests are stored, and which file systems are reliable, is up to `engine.digest_records`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, TypeAlias

from pytest_trt.diagnostics import ModelError, as_typed
from pytest_trt.files import FileStamp, open_regular

#: The code of the error for a model that changed while it was read.
CHANGED = "TRT207"

#: Stamps of every file that a digest covers, in the order in which the model refers to them.
Stamps: TypeAlias = tuple[FileStamp, ...]


@dataclass(frozen=True, slots=True)
class CachedDigest:
    """The stored digest and contents of a model.

    Attributes:
        stamps: Stamps of its files; the model's own comes first.
        digest: Its digest; valid while all files have these stamps.
        contents: See `Contents.to_dict`; valid while the model's own file has its stamp.
    """

    stamps: Stamps
    digest: str
    contents: Mapping[str, Any]


class DigestCache(Protocol):
    """Stores what is known of models, by the stamps of their files."""

    def recall(self, model: FileStamp) -> CachedDigest | None:
        """Return what is stored for a model whose own file has exactly this stamp."""
        ...

    def wants(self, stamps: Stamps) -> bool:
        """Whether a model with files of these stamps is stored."""
        ...

    def remember(self, found: CachedDigest) -> None:
        """Store it. Never fails: what is not stored is computed again."""
        ...


def recall(memory: DigestCache | None, own: FileStamp, *, started_ns: int) -> CachedDigest | None:
    """Return what is stored for a model whose own file has not changed since.

    Args:
        memory: The store, if any.
        own: The stamp of the model's file as it was opened to be read.
        started_ns: Before the model was opened, in nanoseconds since 1970.
    """
    return memory.recall(own) if memory is not None and own.rested(started_ns) else None


def recall_or_hash(
    memory: DigestCache | None,
    known: CachedDigest | None,
    model: tuple[Path, FileStamp],
    data_files: Sequence[Path],
    *,
    started_ns: int,
    hash_files: Callable[[], str],
    contents: Callable[[], Mapping[str, Any]],
) -> tuple[str, Stamps]:
    """Return a model's digest, the stored one if none of its files has changed since, and stamps.

    Args:
        memory: The store, if any.
        known: What `recall` returned.
        model: The model's path, and the stamp of its file as it was opened to be read.
        data_files: Its external data files.
        started_ns: Before the model was opened, in nanoseconds since 1970.
        hash_files: Computes the digest.
        contents: Returns the contents to store with it.

    Raises:
        ModelError: A file changed while it was hashed.
    """
    path, own = model
    others = stamps_of(data_files)
    before = None if others is None else (own, *others)
    rested = before is not None and all(stamp.rested(started_ns) for stamp in before)
    if before is not None and rested and known is not None and known.stamps == before:
        return known.digest, before
    digest = hash_files()
    after = stamps_of((path, *data_files), before or ())
    if after is None:
        raise changed(path)
    if after != before:
        # Where only a mode or the number of links changed, the bytes are the same.
        same_file = after[0].inode == own.inode
        if (
            not same_file
            or hash_files() != digest
            or stamps_of((path, *data_files), after) != after
        ):
            raise changed(path)
        return digest, after
    if memory is not None and rested and memory.wants(before):
        memory.remember(CachedDigest(before, digest, contents()))
    return digest, before


def stamps_of(files: Sequence[Path], before: Stamps = ()) -> Stamps | None:
    """Return the stamps of files as they are now; None if one cannot be opened.

    Args:
        files: The files.
        before: Their stamps at another time. A link that leads elsewhere now shows in the rest.
    """
    stamps = []
    real_paths = [stamp.path for stamp in before] or [""] * len(files)
    try:
        for path, real_path in zip(files, real_paths, strict=True):
            with open_regular(path) as file:
                stamps.append(FileStamp.of(path, file, real_path))
    except OSError:
        return None
    return tuple(stamps)


def changed(path: Path) -> ModelError:
    """Return the error for a model whose files changed while they were read."""
    return ModelError(
        f"{as_typed(path)} or its data was changed while it was being read",
        fix="run again once the process that writes the file has finished.",
        code=CHANGED,
        facts={"model": str(path)},
    )
