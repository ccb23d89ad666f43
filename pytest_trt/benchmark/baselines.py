"""Baselines of tests: where one lies, what is compared with it, and how new ones are written."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path, PurePosixPath

import pytest

from pytest_trt.baseline.entry import Entry, StoredRun
from pytest_trt.baseline.file import baseline_path, how_to_restore, read_baselines
from pytest_trt.baseline.staged import Staged
from pytest_trt.benchmark.differences import Circumstances
from pytest_trt.benchmark.differences import differences as what_differs
from pytest_trt.diagnostics import BaselineError
from pytest_trt.engine.build import Engine
from pytest_trt.statistics.rounds import Rounds


@dataclass(frozen=True, slots=True)
class BaselineLocation:
    """Where the baseline of one test is kept.

    Attributes:
        path: The file.
        shown: The file as people are told of it: relative to pytest's root where it lies below.
        target: What is measured on.
        test: The test's name in the file.
    """

    path: Path
    shown: str
    target: Mapping[str, str]
    test: str

    @classmethod
    def of(cls, item: pytest.Item, root: Path, target: Mapping[str, str]) -> BaselineLocation:
        """Return where a test's baseline is kept.

        Args:
            item: The test.
            root: The folder of all baselines.
            target: What is measured on: "arch" first, then the device.
        """
        module, _, test = item.nodeid.partition("::")
        # A test outside pytest's root must not lead outside the folder of baselines.
        parts = [part for part in PurePosixPath(module).parts if part not in ("..", "/")]
        path = baseline_path(root, target, "/".join(parts))
        within = path.is_relative_to(item.config.rootpath)
        shown = path.relative_to(item.config.rootpath) if within else path
        return cls(path, str(shown), target, test)

    def read(self) -> Entry | None:
        """Return the test's baseline, or None if there is none.

        Raises:
            BaselineError: The file cannot be read, or is of another target.
        """
        found = read_baselines(self.path)
        if found is not None and dict(found.target) != dict(self.target):
            raise BaselineError(
                f"the baseline file {self.shown} was recorded on {_listed(found.target)}, and this "
                f"is {_listed(self.target)}: it was renamed or edited.",
                fix=how_to_restore(self.path),
            )
        return found.tests.get(self.test) if found else None

    def staged(self, entry: Entry, *, add: bool, why: str = "", against: str = "") -> Staged:
        """Return a new baseline for the process that writes.

        Args:
            entry: The baseline, with its new runs.
            add: Whether they join those that are stored.
            why: Why they do not.
            against: Digest of the entry that it was held against.
        """
        return Staged(self.path, self.shown, self.target, self.test, entry, add, why, against)


def _listed(target: Mapping[str, str]) -> str:
    return ", ".join(filter(None, target.values()))


def stored_rounds(run: StoredRun) -> Rounds:
    """Return a stored run's rounds."""
    return Rounds.of_figures(run.rounds, run.calls)


def new_run(
    rounds: Rounds, *, toolchain: str, environment: Mapping[str, str], reason: str
) -> StoredRun:
    """Return rounds of this process as a run to be stored."""
    return StoredRun(
        recorded=datetime.now(timezone.utc).isoformat(timespec="seconds"),
        toolchain=toolchain,
        calls=rounds.calls,
        rounds=rounds.figures(),
        reason=reason,
        environment=environment,
    )


#: Digits that tell plans of one key, and models of one name, apart.
_DIGITS = 16


def engine_facts(engine: Engine) -> dict[str, int | str]:
    """Return an engine's exact facts, as they are stored."""
    facts = engine.facts
    known: dict[str, int | str | None] = {
        "key": engine.key.digest,
        "plan": engine.plan_digest[:_DIGITS],
        "model": engine.model.digest[:_DIGITS],
        "size_bytes": facts.size_bytes,
        "device_memory_bytes": facts.device_memory_bytes,
        "layers": None if facts.layers is None else len(facts.layers),
    }
    return {label: value for label, value in known.items() if value is not None}


def differences(
    entry: Entry, engine: Mapping[str, int | str], toolchain: str, environment: Mapping[str, str]
) -> list[str]:
    """Return what differs between the newest stored run and now, a line each."""
    then = entry.runs[-1]
    return what_differs(
        Circumstances(then.toolchain, then.environment, entry.engine),
        Circumstances(toolchain, environment, engine),
    )
