"""What the last run measured, stored for `pytest-trt baseline accept`.

It belongs to the user, not to the repository: a file in the engine cache for each root folder of
pytest.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from pytest_trt.baseline.staged import Staged
from pytest_trt.files import PRIVATE, atomic_write
from pytest_trt.records import from_data, to_data

#: Format of the file; files of another one are ignored.
_SCHEMA = 1

#: For so many root folders the last run is stored.
_MAX_ROOTS = 50


@dataclass(frozen=True, slots=True)
class Candidate:
    """What one test of the run measured.

    Attributes:
        test: The test's node id.
        staged: Its possible new baseline; None if there is none.
        refused: Why that cannot be accepted; empty if it can.
        failed: Whether the test failed because of its speed, or for lack of a baseline.
    """

    test: str
    staged: Staged | None
    refused: str = ""
    failed: bool = False


@dataclass(frozen=True, slots=True)
class LastRun:
    """The last run that measured something.

    Attributes:
        root: pytest's root folder.
        finished: When it ended, ISO 8601 in UTC.
        candidates: What its tests measured.
        schema: Format of the file.
    """

    root: Path
    finished: str
    candidates: Sequence[Candidate]
    schema: int = _SCHEMA


def write_last_run(cache: Path, run: LastRun) -> None:
    """Store a run in place of the previous one of its root folder.

    Args:
        cache: The engine cache's folder for such runs, private to the user.
        run: The run.

    Raises:
        OSError: It cannot be written.
    """
    atomic_write(_path(cache, run.root), json.dumps(to_data(run)), mode=PRIVATE)
    newest_first = sorted(cache.glob("*.json"), key=_changed_at, reverse=True)
    for path in newest_first[_MAX_ROOTS:]:
        path.unlink(missing_ok=True)


def read_last_run(cache: Path, folder: Path) -> LastRun | None:
    """Return the last run of the closest root that a folder is in, or None if there is none.

    Args:
        cache: The engine cache's folder for such runs.
        folder: Where to look from.
    """
    for root in _upwards(folder.absolute()):
        try:
            text = _path(cache, root).read_text(encoding="utf-8")
            run = from_data(LastRun, json.loads(text))
        except (OSError, ValueError):  # among them RecordError
            continue
        if run.schema == _SCHEMA:
            return run
    return None


def _path(cache: Path, root: Path) -> Path:
    return cache / f"{hashlib.sha256(str(root).encode()).hexdigest()[:20]}.json"


def _upwards(folder: Path) -> Iterator[Path]:
    for path in (folder, folder.resolve()):
        yield from (path, *path.parents)


def _changed_at(path: Path) -> float:
    try:
        return path.stat().st_mtime
    except OSError:
        return 0.0
