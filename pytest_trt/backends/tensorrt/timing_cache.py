"""TensorRT's timing cache: read before a build, merged with what others measured after it.

It saves time and nothing else, so whatever is wrong with it is a note and never an error.
"""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import Any

from pytest_trt.engine.timing_cache import TimingFileError, read_timings, write_timings
from pytest_trt.files import locked

#: Seconds to wait for another process that merges its timings, which takes it milliseconds.
_LOCK_TIMEOUT_S = 10.0


class TimingCache:
    """The timings of one build.

    Args:
        config: The vendor's builder configuration, which gets them.
        path: Their file; None leaves the configuration unchanged.

    Attributes:
        notes: Problems with the file.
    """

    def __init__(self, config: Any, path: Path | None) -> None:
        self.notes: list[str] = []
        self._config = config
        self._path = path
        self._cache: Any = None  # the configuration does not own what it refers to
        if path is None:
            return
        timings = self._read(path)
        if timings and not self._use(timings):
            self._discard(path, "the builder rejects it")
            timings = b""
        if not timings:
            self._use(timings)

    def save(self) -> None:
        """Write the timings, merged with those that other processes wrote meanwhile."""
        if self._path is None or self._cache is None:
            return
        try:
            # Readers need no lock: the file is replaced atomically.
            with locked(self._path.with_suffix(".lock"), timeout_s=_LOCK_TIMEOUT_S, remove=True):
                before = self._read(self._path)
                self._add(before)
                serialized = self._cache.serialize()
                if serialized is None:  # out of memory
                    raise OSError("the builder returns none")
                timings = bytes(serialized)
                if timings != before:
                    write_timings(self._path, timings)
        except OSError as error:
            self.notes.append(f"the timing cache {self._path} was not written: {error}")

    def _use(self, timings: bytes) -> bool:
        config = self._config
        cache = config.create_timing_cache(timings)
        if cache is None or not config.set_timing_cache(cache, False):
            return False
        self._cache = cache
        return True

    def _add(self, timings: bytes) -> None:
        others = self._config.create_timing_cache(timings) if timings else None
        if others is not None:
            self._cache.combine(others, False)

    def _read(self, path: Path) -> bytes:
        try:
            return read_timings(path)
        except TimingFileError as error:
            self._discard(path, str(error))
        except OSError as error:
            self.notes.append(f"the timing cache cannot be read: {error}")
        return b""

    def _discard(self, path: Path, reason: str) -> None:
        with contextlib.suppress(OSError):
            path.unlink()
        self.notes.append(f"the timing cache {path} was deleted: {reason}; tactics are timed again")
