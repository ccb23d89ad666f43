"""A record of models that were loaded in a child process, so that they need not be again."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from pathlib import Path
from typing import Protocol

from pytest_trt.hashing import LabelledHash
from pytest_trt.sealed import SealError, read_sealed, write_sealed

#: What a record is, as its seal covers it.
_KIND = "loaded"

#: Part of every record. Raise the number when models are loaded differently.
_SCHEMA = "pytest-trt loaded 1"


class Loaded(Protocol):
    """Digests of models that were loaded; a set is one."""

    def __contains__(self, digest: object, /) -> bool:
        """Whether a model was loaded."""
        ...

    def add(self, digest: str, /) -> None:
        """Note that a model was loaded."""
        ...


class LoadedModels:
    """A folder of records, one small file per model that a product has loaded.

    A damaged record does not count. One that cannot be written costs only the time to
    load the model again.

    Args:
        folder: Where they are, private to the user.
        producer: Product, version and settings that load the models.
        stored: Called with every new file.
    """

    def __init__(
        self, folder: Path, *, producer: str, stored: Callable[[Path], None] = lambda path: None
    ) -> None:
        self._folder, self._producer, self._stored = folder, producer, stored

    def __contains__(self, digest: object) -> bool:
        key = self._key(str(digest))
        try:
            read_sealed(self._path(key), _KIND, key)
        except (OSError, SealError):
            return False
        return True

    def add(self, digest: str) -> None:
        """Note that a model was loaded."""
        key = self._key(digest)
        with contextlib.suppress(OSError):
            write_sealed(self._path(key), _KIND, key)
            self._stored(self._path(key))

    def _key(self, digest: str) -> str:
        state = LabelledHash(_SCHEMA)
        state.add("model", digest)
        state.add("producer", self._producer)
        return state.hexdigest()

    def _path(self, key: str) -> Path:
        return self._folder / f"{key}.loaded"
