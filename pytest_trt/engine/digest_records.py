"""Digests and contents of models, stored in the cache: one small file per model."""

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
#   2  what the model's own file holds, next to the digest
#: Format of a record. Records of other versions are ignored: their models are hashed again.
RECORD_SCHEMA = 2

#: File systems that move a file's change time with every write and retain its number. Excluded:
#: network file systems, whose times come from another clock or through a cache; FUSE, where
#: everything is up to the program behind it; and tmpfs, where only the first store through a memory
#: map moves the time.
TRUSTED_FILE_SYSTEMS = frozenset(
    {"bcachefs", "btrfs", "ext2", "ext3", "ext4", "f2fs", "overlay", "xfs", "zfs"}
)


class DigestRecords:
    """A folder of digests and contents of models by the stamps of their files.

    A record is used only if its seal is correct and this release wrote it; otherwise the model is
    hashed, as it is when the folder cannot be written.

    Args:
        folder: Where the records are, private to the user.
        kind_of: Returns the type of the file system that holds a path.
        stored: Called with every new file.
    """

    def __init__(
        self,
        folder: Path,
        kind_of: Callable[[str], str] = file_system,
        stored: Callable[[Path], None] = lambda path: None,
    ) -> None:
        self.folder = folder
        self._kind_of = kind_of
        self._stored = stored

    def recall(self, model: FileStamp) -> CachedDigest | None:
        """Return what is stored for a model whose own file has exactly this stamp."""
        try:
            path = self._path(model)
            with path.open("rb", buffering=0) as file:
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
        with contextlib.suppress(OSError):
            os.utime(path)  # the cache evicts what was not used for longest
        return CachedDigest(stamps, content["digest"], content["contents"])

    def remember(self, found: CachedDigest) -> None:
        """Store it, if the files lie on reliable file systems and the folder can be written."""
        if not {self._kind_of(stamp.path) for stamp in found.stamps} <= TRUSTED_FILE_SYSTEMS:
            return
        path = self._path(found.stamps[0])
        with contextlib.suppress(OSError):
            with atomic_open(path, mode=PRIVATE, sync=False) as file:
                file.write(_record(found))
            self._stored(path)

    def _path(self, model: FileStamp) -> Path:
        # By the path of the model file, wherever its external data lies.
        name = hashlib.sha256(os.fsencode(model.path)).hexdigest()[:32]
        return self.folder / f"{name}.json"


def _record(found: CachedDigest) -> bytes:
    stamps = [asdict(stamp) for stamp in found.stamps]
    return _sealed(_HEAD + _lines(files=stamps, digest=found.digest, contents=found.contents))


def _lines(**content: object) -> bytes:
    # A line for each field: with an indented line for each value, thousands of tensors take long.
    lines = (f"  {json.dumps(name)}: {json.dumps(it)},\n" for name, it in content.items())
    return "".join(lines).encode()


def _sealed(lines: bytes) -> bytes:
    # The seal covers everything: one flipped bit would make a wrong digest.
    seal = hashlib.sha256(lines).hexdigest().encode()
    return _BEGIN + lines + _SEAL + b'"%b"\n}\n' % seal


_BEGIN, _SEAL = b"{\n", b'  "seal": '

#: The first lines of every record of this release.
_HEAD = _lines(schema=RECORD_SCHEMA, written_by=f"pytest-trt {__version__}", rules=MODEL_SCHEMA)
