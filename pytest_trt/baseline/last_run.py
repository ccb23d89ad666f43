"""What the last run measured, kept for `pytest-trt baseline accept`.

It is the user's own and no part of the repository: a file in the engine cache for each folder that
pytest calls its root.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pytest_trt.baseline.checks import MalformedError, checked_entry, field
from pytest_trt.baseline.staged import Staged
from pytest_trt.files import PRIVATE, atomic_write

#: Format of the file; another one is as good as none.
_SCHEMA = 1

#: Roots of which the last run is kept; runs of the others are the oldest.
_ROOTS_KEPT = 50


@dataclass(frozen=True, slots=True)
class Candidate:
    """What one test of the run measured.

    Attributes:
        test: The test as pytest names it.
        staged: What would become its baseline; None where there is nothing.
        refused: Why that cannot be accepted; empty where it can.
        failed: Whether the test failed for its speed, or for the lack of a baseline.
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
    """

    root: Path
    finished: str
    candidates: Sequence[Candidate]


def write_last_run(cache: Path, run: LastRun) -> None:
    """Keep a run in place of the one before.

    Args:
        cache: The engine cache's folder for such runs, private to the user.
        run: The run.

    Raises:
        OSError: It cannot be written.
    """
    content = {
        "schema": _SCHEMA,
        "root": str(run.root),
        "finished": run.finished,
        "candidates": [
            {
                "test": one.test,
                "staged": None if one.staged is None else one.staged.to_dict(),
                "refused": one.refused,
                "failed": one.failed,
            }
            for one in run.candidates
        ],
    }
    atomic_write(_path(cache, run.root), json.dumps(content), mode=PRIVATE)
    kept = sorted(cache.glob("*.json"), key=_age, reverse=True)
    for path in kept[_ROOTS_KEPT:]:
        path.unlink(missing_ok=True)


def read_last_run(cache: Path, folder: Path) -> LastRun | None:
    """Return the last run of the closest root that a folder is in, or None if there is none.

    Args:
        cache: The engine cache's folder for such runs.
        folder: Where to look from.
    """
    for root in _upwards(folder.absolute()):
        try:
            content = json.loads(_path(cache, root).read_text(encoding="utf-8"))
        except (OSError, ValueError):
            continue
        with suppress(KeyError, TypeError, AttributeError, MalformedError):
            if content["schema"] == _SCHEMA:
                return _run(content)
    return None


def _run(content: Mapping[str, Any]) -> LastRun:
    candidates = []
    for one in content["candidates"]:
        staged = one["staged"]
        if staged is not None:
            checked_entry(field(staged, "entry", dict, ""))
            staged = Staged.from_dict(staged)
        candidates.append(Candidate(one["test"], staged, one["refused"], one["failed"]))
    return LastRun(Path(content["root"]), content["finished"], candidates)


def _path(cache: Path, root: Path) -> Path:
    return cache / f"{hashlib.sha256(str(root).encode()).hexdigest()[:20]}.json"


def _upwards(folder: Path) -> Iterator[Path]:
    for path in (folder, folder.resolve()):
        yield from (path, *path.parents)


def _age(path: Path) -> float:
    try:
        return path.stat().st_mtime
    except OSError:
        return 0.0
