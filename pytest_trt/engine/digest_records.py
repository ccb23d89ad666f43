"""Digests and contents of models, stored in the cache: one small file per model."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
from collections.abc import Callable
from pathlib import Path

from pytest_trt.files import FileStamp, file_system
from pytest_trt.onnx.digest import MODEL_SCHEMA
from pytest_trt.onnx.digest_cache import CachedDigest, Stamps
from pytest_trt.records import to_data
from pytest_trt.sealed import SealError, read_sealed, write_sealed
from pytest_trt.version import __version__

# History of the format:
#   1  first version
#   2  what the model's own file holds, next to the digest
#   3  sealed with its key
#: Format of a record. Records of other versions are ignored: their models are hashed again.
RECORD_SCHEMA = 3

_KIND = "digest"

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
        damaged: Called with every file that is damaged, and why.
        least_bytes: The size of a model, with its data, below which it has no record.
    """

    def __init__(
        self,
        folder: Path,
        kind_of: Callable[[str], str] = file_system,
        stored: Callable[[Path], None] = lambda path: None,
        damaged: Callable[[Path, str], None] = lambda path, reason: None,
        least_bytes: int = 0,
    ) -> None:
        self.folder = folder
        self._kind_of, self._least_bytes = kind_of, least_bytes
        self._stored, self._damaged = stored, damaged
        # Types of file systems by folder and device: the list of mounts is long.
        self._kinds: dict[tuple[str, int], str] = {}

    def recall(self, model: FileStamp) -> CachedDigest | None:
        """Return what is stored for a model whose own file has exactly this stamp."""
        path = self._path(model)
        try:
            content = json.loads(bytes(read_sealed(path, _KIND, path.stem).content))
            if content.pop("format") != _FORMAT:
                return None
            stamps = tuple(FileStamp(**stamp) for stamp in content["files"])
            found = CachedDigest(stamps, content["digest"], content["contents"])
        except OSError:
            return None
        except (SealError, ValueError, KeyError, TypeError, AttributeError) as error:
            self._damaged(path, str(error))
            return None
        if stamps[:1] != (model,):
            return None
        with contextlib.suppress(OSError):
            os.utime(path)  # the cache evicts what was not used for longest
        return found

    def wants(self, stamps: Stamps) -> bool:
        """Whether the files are large enough, and lie on reliable file systems."""
        is_large = sum(stamp.size_bytes for stamp in stamps) >= self._least_bytes
        return is_large and set(map(self._kind, stamps)) <= TRUSTED_FILE_SYSTEMS

    def remember(self, found: CachedDigest) -> None:
        """Store it, if it is wanted and the folder can be written."""
        if not self.wants(found.stamps):
            return
        path = self._path(found.stamps[0])
        stamps = to_data(found.stamps)
        content = {"format": _FORMAT, "files": stamps, "digest": found.digest}
        text = json.dumps({**content, "contents": found.contents})
        with contextlib.suppress(OSError):
            write_sealed(path, _KIND, path.stem, text.encode())
            self._stored(path)

    def _kind(self, stamp: FileStamp) -> str:
        place = str(Path(stamp.path).parent), stamp.device
        if place not in self._kinds:
            self._kinds[place] = self._kind_of(stamp.path)
        return self._kinds[place]

    def _path(self, model: FileStamp) -> Path:
        # By the path of the model file, wherever its external data lies.
        name = hashlib.sha256(os.fsencode(model.path)).hexdigest()[:32]
        return self.folder / f"{name}.digest"


#: What every record of this release begins with.
_FORMAT = [RECORD_SCHEMA, f"pytest-trt {__version__}", MODEL_SCHEMA]
