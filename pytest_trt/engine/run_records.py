"""A record of what ran without harm, by kinds of inputs: only what did not yet needs isolation."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

import numpy as np

from pytest_trt.hashing import LabelledHash
from pytest_trt.sealed import SealError, read_sealed, write_sealed
from pytest_trt.tensors.spec import Tensors

#: What a record is, as its seal covers it.
_KIND = "runs"

#: Part of every record. Raise the number when models are run differently.
_SCHEMA = "pytest-trt runs 1"

#: Integers and booleans of at most so many elements may be sizes, counts or conditions, which
#: decide what a run does as shapes do: no shape has more dimensions.
_STEERING_ELEMENTS = 8

#: Kinds of inputs that are recorded of one engine: the last ones.
_MOST_KINDS = 256

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
        return f"{value.dtype.name} {value.shape}{held}"
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
    """What ran on this machine with one product: a small file for each model.

    A damaged record does not count. One that cannot be written, or is lost with this process, costs
    only the time of further first runs.

    Args:
        folder: Where the files are, private to the user; None to remember in this process only.
        producer: Product, version and settings that run the models.
    """

    def __init__(self, folder: Path | None = None, *, producer: str = "") -> None:
        self._folder, self._producer = folder, producer
        self._models: dict[str, dict[str, Ran]] = {}

    def of(self, model_digest: str, subject: str) -> Ran:
        """Return what one engine or the reference of a model ran on, to be added to.

        Args:
            model_digest: Digest of the model.
            subject: Digest of the plan, or another word.
        """
        if model_digest not in self._models:
            found = self._read(model_digest)
            self._models[model_digest] = {name: Ran(kinds) for name, kinds in found.items()}
        return self._models[model_digest].setdefault(subject, Ran())

    def save(self) -> None:
        """Store what is new, next to what other processes stored meanwhile."""
        for digest, subjects in self._models.items():
            new = {name: ran for name, ran in subjects.items() if ran.is_new}
            if not new or self._folder is None:
                continue
            kinds = self._read(digest)
            for name, ran in new.items():
                kinds[name] = list(dict.fromkeys([*kinds.get(name, ()), *ran]))[-_MOST_KINDS:]
                ran.is_new = False
            key = self._key(digest)
            with contextlib.suppress(OSError):
                write_sealed(self._path(key), _KIND, key, json.dumps(kinds).encode())

    def _read(self, digest: str) -> dict[str, list[str]]:
        key = self._key(digest)
        if self._folder is None:
            return {}
        try:
            found = json.loads(bytes(read_sealed(self._path(key), _KIND, key).content))
            os.utime(self._path(key))  # the cache evicts what was not used for longest
        except (OSError, SealError, ValueError):
            return {}
        return dict(found)

    def _key(self, digest: str) -> str:
        state = LabelledHash(_SCHEMA)
        state.add("model", digest)
        state.add("producer", self._producer)
        return state.hexdigest()

    def _path(self, key: str) -> Path:
        assert self._folder is not None
        return self._folder / f"{key}.runs"
