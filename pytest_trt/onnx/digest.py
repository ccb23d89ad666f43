"""The digest of a model: SHA-256 over labelled, length-prefixed fields."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from io import FileIO
from pathlib import Path
from typing import TYPE_CHECKING

from pytest_trt.diagnostics import ModelError
from pytest_trt.hashing import LabelledHash

if TYPE_CHECKING:
    from pytest_trt.onnx.external import Region

#: Raise the number when the fields of `model_digest`, their order or their framing change.
MODEL_SCHEMA = "pytest-trt model 1"

#: Large enough that the calls cost next to nothing. A larger buffer would come in fresh pages, and
#: those cost as much as hashing a small model.
STEP_BYTES = 1 << 16

#: A person follows a few lines in a second; more would only slow the hashing down.
_PROGRESS_INTERVAL_S = 0.3

_BYTES_PER_GB = 1_000_000_000
_BYTES_PER_MB = 1_000_000


class ByteProgress:
    """Says how far a long reading is, a few times a second; a short one ends before it speaks."""

    def __init__(
        self,
        name: str,
        total_bytes: int,
        progress: Callable[[str], None],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._name = name
        self._total_bytes = total_bytes
        self._progress = progress
        self._clock = clock
        self._done_bytes = 0
        self._next_s = clock() + _PROGRESS_INTERVAL_S

    def advance(self, count: int) -> None:
        """Note that `count` more bytes are done."""
        self._done_bytes += count
        now_s = self._clock()
        if now_s < self._next_s:
            return
        self._next_s = now_s + _PROGRESS_INTERVAL_S
        unit, divisor = (
            ("GB", _BYTES_PER_GB) if self._total_bytes >= _BYTES_PER_GB else ("MB", _BYTES_PER_MB)
        )
        self._progress(
            f"hashing {self._name}: {self._done_bytes / divisor:.1f} of "
            f"{self._total_bytes / divisor:.1f} {unit}"
        )


def model_digest(
    path: Path,
    model_file: FileIO,
    size_bytes: int,
    regions: Sequence[Region],
    progress: ByteProgress,
) -> str:
    """Return the hex digest of a model: its file, then every external region.

    The file's bytes are taken whole. A canonical form of the graph would call more models equal,
    but protobuf has none, and a wrong "equal" is the one answer that must never come out.

    Regions come with their location as the model spells it, relative to its folder, so that a copy
    elsewhere has the same digest. They are merged (see `external_regions`), so that weights which
    tensors share are read once, and sorted by location and offset. Which tensor uses which part of
    a region is written in the model file, which is hashed already. Bytes of a data file that no
    tensor refers to are left out: they cannot change an answer.

    Raises:
        ModelError: A file became shorter, or unreadable, since it was looked at.
    """
    digest = LabelledHash(MODEL_SCHEMA)
    digest.begin("model", size_bytes)
    _hash_range(digest, path, model_file, 0, size_bytes, progress)
    for region in sorted(regions, key=lambda region: (region.location, region.offset)):
        digest.add("location", region.location)
        digest.add("offset", region.offset)
        digest.begin("external", region.length)
        try:
            with region.path.open("rb", buffering=0) as data_file:
                _hash_range(digest, region.path, data_file, region.offset, region.length, progress)
        except OSError as error:
            raise ModelError(
                f"external data file {region.path} cannot be read: {error.strerror}.",
                fix="make the file readable for this user, then run again.",
            ) from error
    return digest.hexdigest()


def _hash_range(
    digest: LabelledHash, path: Path, file: FileIO, offset: int, length: int, progress: ByteProgress
) -> None:
    buffer = memoryview(bytearray(min(STEP_BYTES, length)))
    file.seek(offset)
    left = length
    while left:
        count = file.readinto(buffer[: min(left, len(buffer))])
        if not count:
            raise ModelError(
                f"{path} ended {left:,} bytes early: it was changed while it was being read.",
                fix="run again once whatever writes the file has finished.",
            )
        digest.update(buffer[:count])
        left -= count
        progress.advance(count)
