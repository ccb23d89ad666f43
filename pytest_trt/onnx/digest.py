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

#: Large enough that the calls cost next to nothing. The fresh pages of a larger buffer would cost
#: as much as hashing a small model.
STEP_BYTES = 1 << 16

#: Seconds between progress messages.
_PROGRESS_INTERVAL_S = 0.3

_BYTES_PER_GB = 1_000_000_000
_BYTES_PER_MB = 1_000_000


class ByteProgress:
    """Reports the progress of hashing a few times a second; a short hash reports nothing."""

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
        """Add `count` bytes to those done."""
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

    The file is hashed byte by byte: protobuf has no canonical form, and two different models must
    never have the same digest.

    Locations of regions are relative to the model's folder, so that a copy elsewhere has the same
    digest. Regions are merged (see `external_regions`), so that shared weights are read once, and
    sorted by location and offset. The tensors' parts of a region are written in the model file,
    which is hashed already. Bytes that no tensor refers to are left out.

    Raises:
        ModelError: A file became shorter or unreadable meanwhile.
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
                f"external data file {region.path} of {path} cannot be read: {error.strerror}",
                fix="make the file readable for this user, then run again.",
                code="TRT202",
                facts={"model": str(path), "location": region.location},
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
                f"{path} ended {left:,} bytes early: it was changed while it was being read",
                fix="run again once the process that writes the file has finished.",
                code="TRT207",
                facts={"model": str(path), "missing_bytes": left},
            )
        digest.update(buffer[:count])
        left -= count
        progress.advance(count)
