"""What was found out of models before, in the cache's folder: one small file per model."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

from pytest_trt.files import PRIVATE, atomic_open, file_system
from pytest_trt.onnx.digest import MODEL_SCHEMA
from pytest_trt.onnx.digest_cache import CachedDigest, FileStamp
from pytest_trt.version import __version__

# History of the format:
#   1  first version
#   2  what the model's own file holds, beside the digest
#: Format of a record. One of another version is not read: its model is hashed again.
RECORD_SCHEMA = 2

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
    """A folder of digests and contents of models by the stamps of their files.

    A record is believed only when its seal holds and this release wrote it: whatever damaged it,
    whoever wrote another format, the model is read and hashed.
    A folder that cannot be written costs the same.

    Args:
        folder: Where the records are, private to the user.
        kind_of: Returns the type of the file system that holds a path.
    """

    def __init__(self, folder: Path, kind_of: Callable[[str], str] = file_system) -> None:
        self.folder = folder
        self._kind_of = kind_of

    def recall(self, model: FileStamp) -> CachedDigest | None:
        """Return what was remembered of a model whose own file has exactly this stamp."""
        try:
            with self._path(model).open("rb", buffering=0) as file:
                found = file.read()
            lines = found.removeprefix(_BEGIN).rpartition(_SEAL)[0]
            if not lines.startswith(_HEAD) or found != _sealed(lines):
                return None
            content = json.loads(found)
            stamps = tuple(FileStamp(**stamp) for stamp in content["files"])
        except (OSError, ValueError, KeyError, TypeError):
            return None
        if stamps[:1] != (model,):
            return None
        return CachedDigest(stamps, content["digest"], content["contents"])

    def remember(self, found: CachedDigest) -> None:
        """Keep it, if the files lie where stamps can be trusted and the folder allows it."""
        if not {self._kind_of(stamp.path) for stamp in found.stamps} <= TRUSTED_FILE_SYSTEMS:
            return
        with contextlib.suppress(OSError):
            with atomic_open(self._path(found.stamps[0]), mode=PRIVATE) as file:
                file.write(_record(found))
            self._forget_oldest()

    def _path(self, model: FileStamp) -> Path:
        # A model has a record of its own wherever its data lies.
        name = hashlib.sha256(os.fsencode(model.path)).hexdigest()[:32]
        return self.folder / f"{name}.json"

    def _forget_oldest(self) -> None:
        records = list(self.folder.iterdir())
        if len(records) > MAX_RECORDS:
            records.sort(key=lambda path: path.stat().st_mtime_ns)
            for path in records[: len(records) // 2]:
                path.unlink(missing_ok=True)


def _record(found: CachedDigest) -> bytes:
    stamps = [asdict(stamp) for stamp in found.stamps]
    return _sealed(_HEAD + _lines(files=stamps, digest=found.digest, contents=found.contents))


def _lines(**content: object) -> bytes:
    # A line for each: thousands of tensors with external data take long with a line for everything.
    lines = (f"  {json.dumps(name)}: {json.dumps(it)},\n" for name, it in content.items())
    return "".join(lines).encode()


def _sealed(lines: bytes) -> bytes:
    # Over all of it: a digest that lost a bit on the disk is no digest of anything.
    seal = hashlib.sha256(lines).hexdigest().encode()
    return _BEGIN + lines + _SEAL + b'"%b"\n}\n' % seal


_BEGIN, _SEAL = b"{\n", b'  "seal": '

#: The first lines of every record of this release.
_HEAD = _lines(schema=RECORD_SCHEMA, written_by=f"pytest-trt {__version__}", rules=MODEL_SCHEMA)
