"""What the last run measured, stored for `pytest-trt baseline accept`.

It belongs to the user, not to the repository: a file in the engine cache for each root folder of
pytest. It is sealed, as what is in it may become a baseline.
"""

from __future__ import annotations

import hashlib
import json
import os
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from pytest_trt.baseline.staged import Staged
from pytest_trt.baseline.staged_answers import StagedAnswers, sweep_drafts
from pytest_trt.diagnostics import BaselineError, Remedy
from pytest_trt.records import RecordError, from_json, to_data
from pytest_trt.sealed import SealError, read_sealed, write_sealed

_KIND = "last-run"

#: For so many root folders the last run is stored.
_MAX_ROOTS = 50


@dataclass(frozen=True, slots=True)
class Candidate:
    """What one test of the run measured.

    Attributes:
        test: The test's node id.
        staged: Its possible new baseline: of its speed, or of its answers; None if there is none.
        refused: Why that cannot be accepted; empty if it can.
        failed: Whether the test failed because of its speed or answers, or for lack of a baseline.
    """

    test: str
    staged: Staged | StagedAnswers | None
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
    """Store a run in place of the previous one of its root folder.

    Args:
        cache: The engine cache's folder for such runs, private to the user.
        run: The run.

    Raises:
        OSError: It cannot be written.
    """
    own = _path(cache, run.root)
    cache.mkdir(parents=True, exist_ok=True)
    write_sealed(own, _KIND, own.stem, json.dumps(to_data(run)).encode())
    drafts = [one.staged.draft for one in run.candidates if isinstance(one.staged, StagedAnswers)]
    sweep_drafts(cache, drafts, time.time())
    # Its own is the newest, also where the clock was set back.
    others = [path for path in cache.glob(f"*{own.suffix}") if path != own]
    for path in sorted(others, key=_changed_at, reverse=True)[_MAX_ROOTS - 1 :]:
        path.unlink(missing_ok=True)


def read_last_run(cache: Path, folder: Path) -> LastRun | None:
    """Return the last run of the closest root that a folder is in, or None if there is none.

    Args:
        cache: The engine cache's folder for such runs.
        folder: Where to look from.

    Raises:
        BaselineError: The file of the closest root is damaged; one further up is another project's.
    """
    for root in _upwards(folder.absolute()):
        path = _path(cache, root)
        try:
            content = bytes(read_sealed(path, _KIND, path.stem).content)
        except FileNotFoundError:
            continue
        except OSError as error:
            raise _damaged(path, error.strerror or str(error)) from error
        except SealError as error:
            raise _damaged(path, str(error)) from error
        try:
            run = from_json(LastRun, content)
            if run.root != root:
                raise RecordError(f"expected {str(root)!r}, found {str(run.root)!r}", "root")
        except RecordError as error:
            raise _damaged(path, str(error)) from error
        return run
    return None


def _damaged(path: Path, problem: str) -> BaselineError:
    return BaselineError(
        f"the results of the last run cannot be used: {path}: {problem}",
        fix=Remedy("Run the tests again.", ("pytest",)),
        code="TRT641",
        facts={"file": str(path), "problem": problem},
    )


def _path(cache: Path, root: Path) -> Path:
    return cache / f"{hashlib.sha256(os.fsencode(root)).hexdigest()[:20]}.run"


def _upwards(folder: Path) -> Iterator[Path]:
    for path in (folder, folder.resolve()):
        yield from (path, *path.parents)


def _changed_at(path: Path) -> float:
    try:
        return path.stat().st_mtime
    except OSError:
        return 0.0
