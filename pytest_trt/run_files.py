"""Files about the last run of a project: in the engine cache, one of a kind for each root folder.

They belong to the user, not to the repository, and are sealed: what is in them may become a
baseline, or decide what is deployed.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, Protocol, TypeVar

from pytest_trt.diagnostics import BaselineError, Remedy
from pytest_trt.records import RecordError, from_data, parse_json, to_data
from pytest_trt.sealed import SealError, read_sealed, write_sealed


class _OfRoot(Protocol):
    @property
    def root(self) -> Path:
        """The root folder of pytest."""
        ...


_Run = TypeVar("_Run", bound=_OfRoot)

#: For so many root folders the last run is stored.
_MAX_ROOTS = 50


@dataclass(frozen=True, slots=True)
class RunFiles(Generic[_Run]):
    """Files of one kind.

    Attributes:
        record: What a file holds: a dataclass for `records`, with pytest's root folder.
        kind: The kind, one word.
        suffix: What the names of the files end with.
    """

    record: type[_Run]
    kind: str
    suffix: str

    def write(self, cache: Path, run: _Run) -> None:
        """Store a run in place of the previous one of its root folder.

        Raises:
            OSError: It cannot be written.
        """
        own = self._path(cache, run.root)
        cache.mkdir(parents=True, exist_ok=True)
        write_sealed(own, self.kind, own.stem, json.dumps(to_data(run)).encode())
        # Its own is the newest, also where the clock was set back.
        others = [path for path in cache.glob(f"*{self.suffix}") if path != own]
        for path in sorted(others, key=_changed_at, reverse=True)[_MAX_ROOTS - 1 :]:
            path.unlink(missing_ok=True)

    def read(self, cache: Path, folder: Path) -> _Run | None:
        """Return the last run of the closest root that a folder is in, or None if there is none.

        Raises:
            BaselineError: The file of the closest root is damaged; one further up is of another
                project.
        """
        for root in _upwards(folder.absolute()):
            path = self._path(cache, root)
            try:
                content = bytes(read_sealed(path, self.kind, path.stem).content)
            except FileNotFoundError:
                continue
            except OSError as error:
                raise _damaged(path, error.strerror or str(error)) from error
            except SealError as error:
                raise _damaged(path, str(error)) from error
            try:
                record: Any = self.record
                run: _Run = from_data(record, parse_json(content))
                if run.root != root:
                    raise RecordError(f"expected {str(root)!r}, found {str(run.root)!r}", "root")
            except RecordError as error:
                raise _damaged(path, str(error)) from error
            return run
        return None

    def _path(self, cache: Path, root: Path) -> Path:
        return cache / f"{hashlib.sha256(os.fsencode(root)).hexdigest()[:20]}{self.suffix}"


def _damaged(path: Path, problem: str) -> BaselineError:
    return BaselineError(
        f"the results of the last run cannot be used: {path}: {problem}",
        fix=Remedy("Run the tests again.", ("pytest",)),
        code="TRT641",
        facts={"file": str(path), "problem": problem},
    )


def _upwards(folder: Path) -> Iterator[Path]:
    for path in (folder, folder.resolve()):
        yield from (path, *path.parents)


def _changed_at(path: Path) -> float:
    try:
        return path.stat().st_mtime
    except OSError:
        return 0.0
