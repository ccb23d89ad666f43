"""A record of what ran without harm, by kinds of inputs: only what did not yet needs isolation."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
from collections.abc import Iterable, Iterator, Mapping
from functools import cached_property
from pathlib import Path

import numpy as np

from pytest_trt.files import locked
from pytest_trt.hashing import LabelledHash
from pytest_trt.sealed import SealError, read_sealed, write_sealed
from pytest_trt.tensors.elements import dtype_name
from pytest_trt.tensors.spec import Tensors

#: What a record is, as its seal covers it.
_KIND = "runs"

#: Part of every record. Raise the number when models are run differently.
_SCHEMA = "pytest-trt runs 2"

#: Integers and booleans of at most so many elements may be sizes, counts or conditions, which
#: decide what a run does as shapes do: no shape has more dimensions.
_STEERING_ELEMENTS = 8

#: Kinds of inputs that are recorded of one engine: the last ones.
_MOST_KINDS = 256

#: Models that are recorded: those used last.
_MOST_MODELS = 20_000

#: Seconds to wait for other processes that store their records.
_LOCK_S = 5.0

#: Longer descriptions are recorded by their digest.
_LONGEST_KIND = 120


def kind_of(inputs: Tensors) -> str:
    """Return what decides whether a run is a first one.

    Names, dtypes and shapes, and the values of integers and booleans with few elements.
    """
    kind = "; ".join(f"{name} {_described(inputs[name])}" for name in sorted(inputs))
    return kind if len(kind) <= _LONGEST_KIND else hashlib.sha256(kind.encode()).hexdigest()


def _described(value: object) -> str:
    if isinstance(value, np.ndarray):
        steers = value.size <= _STEERING_ELEMENTS and value.dtype.kind in "iub"
        held = f" {value.tolist()}" if steers else ""
        return f"{dtype_name(value.dtype)} {value.shape}{held}"
    if isinstance(value, Mapping):
        return f"map of {len(value)}"
    if isinstance(value, list | tuple):
        return f"[{', '.join(map(_described, value))}]"
    return type(value).__name__


class Ran:
    """Kinds of inputs that one engine or reference ran on."""

    def __init__(self, kinds: Iterable[str] = ()) -> None:
        self._kinds = dict.fromkeys(kinds)
        #: Whether some are not stored yet.
        self.is_new = False

    def __contains__(self, kind: str) -> bool:
        return kind in self._kinds

    def __iter__(self) -> Iterator[str]:
        return iter(self._kinds)

    def add(self, kind: str) -> None:
        """Note that it ran on a kind of inputs."""
        self._kinds[kind] = None
        self.is_new = True


class RunRecords:
    """What ran on this machine with one product: one file, which a process reads once.

    A damaged file does not count. One that cannot be written, or is lost with this process, costs
    only the time of further first runs.

    Args:
        folder: Where the file is, private to the user; None to remember in this process only.
        producer: Product, version and settings that run the models.
    """

    def __init__(self, folder: Path | None = None, *, producer: str = "") -> None:
        state = LabelledHash(_SCHEMA)
        state.add("producer", producer)
        self._folder, self._key = folder, state.hexdigest()
        # By model and subject; what was used last is at the end.
        self._used: dict[str, dict[str, Ran]] = {}

    def of(self, model_digest: str, subject: str) -> Ran:
        """Return what one engine or the reference of a model ran on, to be added to.

        Args:
            model_digest: Digest of the model.
            subject: Digest of the plan, or another word.
        """
        if model_digest not in self._used:
            found = self._stored.get(model_digest, {})
            self._used[model_digest] = {name: Ran(kinds) for name, kinds in found.items()}
        return self._used[model_digest].setdefault(subject, Ran())

    def save(self) -> None:
        """Store what is new, next to what other processes stored meanwhile."""
        subjects = [ran for one in self._used.values() for ran in one.values()]
        folder = self._folder
        if folder is None or not folder.is_dir() or not any(ran.is_new for ran in subjects):
            return
        with contextlib.suppress(OSError):
            # Processes of one run end together. Whoever waits too long loses a little time later.
            lock = folder / f".{self._key[:20]}.lock"
            with locked(lock, timeout_s=_LOCK_S, remove=True):
                merged = self._merged(self._read())
                write_sealed(self._path, _KIND, self._key, json.dumps(merged).encode())
        for ran in subjects:
            ran.is_new = False

    def _merged(self, stored: dict[str, dict[str, list[str]]]) -> dict[str, dict[str, list[str]]]:
        for digest, subjects in self._used.items():
            models = stored.pop(digest, {})
            for name, ran in subjects.items():
                kinds = dict.fromkeys([*models.get(name, ()), *ran])
                models[name] = [*kinds][-_MOST_KINDS:]
            stored[digest] = models
        return dict([*stored.items()][-_MOST_MODELS:])

    @cached_property
    def _stored(self) -> dict[str, dict[str, list[str]]]:
        """What was stored when this process first needed it."""
        return self._read()

    def _read(self) -> dict[str, dict[str, list[str]]]:
        if self._folder is None:
            return {}
        try:
            found = json.loads(bytes(read_sealed(self._path, _KIND, self._key).content))
            os.utime(self._path)  # the cache evicts what was not used for longest
        except (OSError, SealError, ValueError):
            return {}
        return dict(found)

    @property
    def _path(self) -> Path:
        assert self._folder is not None
        return self._folder / f"{self._key}.runs"
