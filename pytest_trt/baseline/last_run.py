"""What the last run measured, stored for `pytest-trt baseline accept`.

It belongs to the user, not to the repository, see `pytest_trt.run_files`.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

from pytest_trt.baseline.staged import Staged
from pytest_trt.baseline.staged_answers import StagedAnswers, sweep_drafts
from pytest_trt.baseline.staged_metrics import StagedMetrics
from pytest_trt.run_files import RunFiles

#: A new entry of any kind.
AnyNew: TypeAlias = Staged | StagedAnswers | StagedMetrics


@dataclass(frozen=True, slots=True)
class Candidate:
    """What one test of the run measured.

    Attributes:
        test: The test's node id.
        staged: Its possible new baseline: of its speed, its answers or its task metrics; None if
            there is none.
        refused: Why that cannot be accepted; empty if it can.
        failed: Whether the test failed because of these, or for lack of a baseline.
    """

    test: str
    staged: AnyNew | None
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


#: Where such runs are stored.
LAST_RUNS = RunFiles(LastRun, "last-run", ".run")

read_last_run = LAST_RUNS.read


def write_last_run(cache: Path, run: LastRun) -> None:
    """Store a run in place of the previous one of its root folder, and sweep drafts of answers.

    Raises:
        OSError: It cannot be written.
    """
    LAST_RUNS.write(cache, run)
    drafts = [one.staged.draft for one in run.candidates if isinstance(one.staged, StagedAnswers)]
    sweep_drafts(cache, drafts, time.time())
