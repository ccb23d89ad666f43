"""Digests of models that were hashed before, in the cache's folder: one small file per model."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import tempfile
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

from pytest_trt import __version__
from pytest_trt.engine.mounts import file_system
from pytest_trt.model import MODEL_SCHEMA, Stamps

# History of the format:
#   1  first version
#: Format of a record. One of another version is not read: its model is hashed again.
RECORD_SCHEMA = 1

#: File systems that move a file's change time with every write of its bytes and keep its number.
#: Left out: those of networks, whose times come from another clock or by way of a cache; FUSE,
#: where everything is up to the program behind it; and tmpfs, where stores through a memory map
#: move no time but for the first.
TRUSTED_FILE_SYSTEMS = frozenset(
    {"bcachefs", "btrfs", "ext2", "ext3", "ext4", "f2fs", "overlay", "xfs", "zfs"}
)

#: How many models are remembered: far more than a machine tests, and few enough to list.
MAX_RECORDS = 1000


class DigestRecords:
    """A folder of digests by the stamps of the files that they cover.

    A record is believed only when it is, byte for byte, what would be written today for these
    stamps and this digest: whatever damaged it, whoever wrote another format, the model is hashed.
    A folder that cannot be written costs the same.

    Args:
        folder: Where the records are, private to the user.
        kind_of: Returns the type of the file system that holds a path.
    """

    def __init__(self, folder: Path, kind_of: Callable[[str], str] = file_system) -> None:
        self.folder = folder
        self._kind_of = kind_of

    def recall(self, stamps: Stamps) -> str | None:
        """Return the digest that was remembered for exactly these stamps."""
        try:
            found = self._path(stamps).read_bytes()
            digest = json.loads(found)["digest"]
        except (OSError, ValueError, KeyError, TypeError, RecursionError):
            return None
        return digest if found == _record(stamps, digest) else None

    def remember(self, stamps: Stamps, digest: str) -> None:
        """Keep a digest, if the files lie where stamps can be trusted and the folder allows it."""
        if not {self._kind_of(stamp.path) for stamp in stamps} <= TRUSTED_FILE_SYSTEMS:
            return
        with contextlib.suppress(OSError):
            handle, temporary = tempfile.mkstemp(dir=self.folder, suffix=".part")
            try:
                with os.fdopen(handle, "wb") as file:
                    file.write(_record(stamps, digest))
                Path(temporary).replace(self._path(stamps))
            finally:
                Path(temporary).unlink(missing_ok=True)
            self._forget_oldest()

    def _path(self, stamps: Stamps) -> Path:
        # The model comes first, and has a record of its own wherever its data lies.
        name = hashlib.sha256(os.fsencode(stamps[0].path)).hexdigest()[:32]
        return self.folder / f"{name}.json"

    def _forget_oldest(self) -> None:
        records = list(self.folder.iterdir())
        if len(records) > MAX_RECORDS:
            records.sort(key=lambda path: path.stat().st_mtime_ns)
            for path in records[: len(records) // 2]:
                path.unlink(missing_ok=True)


def _record(stamps: Stamps, digest: object) -> bytes:
    content: dict[str, object] = {
        "schema": RECORD_SCHEMA,
        "written_by": f"pytest-trt {__version__}",
        "rules": MODEL_SCHEMA,
        "files": [asdict(stamp) for stamp in stamps],
        "digest": digest,
    }
    # Over all of it: a digest that lost a bit on the disk is no digest of anything.
    content["seal"] = hashlib.sha256(json.dumps(content).encode()).hexdigest()
    return (json.dumps(content, indent=2) + "\n").encode()
