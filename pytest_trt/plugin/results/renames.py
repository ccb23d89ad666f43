"""Baselines without a test, proposed to a test without a baseline, which may have been renamed."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from pytest_trt.baseline.answers import read_answers
from pytest_trt.baseline.file import ANSWERS, module_of, read_baselines
from pytest_trt.baseline.location import BaselineFolder, BaselineLocation
from pytest_trt.baseline.renaming import is_mentioned, rename_command
from pytest_trt.diagnostics import BaselineError, Diagnostic, Remedy
from pytest_trt.plugin.results.pinning import answers_nodeid
from pytest_trt.plugin.state import plan_of, settings_of

if TYPE_CHECKING:
    from pytest_trt.benchmark.evidence import Subject
    from pytest_trt.benchmark.result import BenchmarkResult

_RENAMES_KEY = pytest.StashKey["Renames"]()


def renames_of(item: pytest.Item) -> Renames:
    """Return the proposals for the tests of a run."""
    return item.config.stash.setdefault(_RENAMES_KEY, Renames(item.session.items))


class Renames:
    """What tests of a run may have been called before.

    A baseline counts as one without a test if the run has not collected it and its test module is
    missing, or does not mention its name. So tests that were deselected have theirs.

    Args:
        items: The tests of the run.
    """

    def __init__(self, items: Sequence[pytest.Item]) -> None:
        self._items = items
        self._orphans: dict[Path, list[tuple[str, Any]]] = {}

    def command(self, location: BaselineLocation, fits: Callable[[Any], bool]) -> str:
        """Return the command that moves a baseline to a test; empty if none fits.

        Args:
            location: Where the baseline of the test would be.
            fits: Whether an entry is of what the test runs.
        """
        folder = location.folder
        fitting = [name for name, one in self._of(folder, location.device) if fits(one)]
        nodeid = f"{module_of(folder.path, location.path)}::{location.test}"
        return rename_command(nodeid, fitting, lambda module: (folder.base / module).exists())

    def _of(self, folder: BaselineFolder, target: str) -> list[tuple[str, Any]]:
        """Return the node id and the entry of each baseline without a test; read once a run."""
        key = folder.path / target
        if key not in self._orphans:
            read: Callable[[Path], Any] = read_answers if target == ANSWERS else read_baselines
            found = self._orphans[key] = []
            for path in sorted(key.glob("**/[!.]*.json")):
                with suppress(BaselineError):  # for its own tests to report
                    content = read(path)
                    found += self._without_test(folder, path, content.tests if content else {})
        return self._orphans[key]

    def _without_test(
        self, folder: BaselineFolder, path: Path, tests: dict[str, Any]
    ) -> list[tuple[str, Any]]:
        module = module_of(folder.path, path)
        file = folder.base / module
        source = file.read_text("utf-8", errors="replace") if file.is_file() else ""
        return [
            (f"{module}::{test}", entry)
            for test, entry in tests.items()
            if (file, test) not in self._collected and not is_mentioned(test, source)
        ]

    @cached_property
    def _collected(self) -> set[tuple[Path, str]]:
        """The file of each test, and its name: of its speed, and of its answers."""
        found = set()
        for item in self._items:
            plan = plan_of(item)
            names = [item.nodeid, *([answers_nodeid(item, plan)] if plan else [])]
            found |= {(item.path, name.partition("::")[2]) for name in names}
        return found


def move_remedy(command: str, record: str) -> Remedy:
    """Return what to do about a test that may have been renamed.

    Args:
        command: What moves the baseline.
        record: What records another one.
    """
    return Remedy(
        "If the test was renamed, move its baseline, and commit the files:",
        (command,),
        (f"If it is new, record it: `{record}`",),
    )


def perhaps_renamed(what: str, file: str, test: str, command: str) -> Diagnostic:
    """Return the warning that nothing was recorded, as a baseline without a test would fit.

    Args:
        what: "answers" or "speed".
        file: Where the baseline would be.
        test: The test's name there.
        command: What moves the baseline that fits.
    """
    return Diagnostic(
        "TRT677",
        f"no {what} of {test} recorded: a baseline whose test no longer exists matches it",
        {"file": file, "test": test, "what": what, "command": command},
        remedy=move_remedy(command, "pytest --trt-update-new"),
        severity="warning",
    )


def with_renames(
    item: pytest.Item, result: BenchmarkResult, subject: Subject, location: BaselineLocation
) -> BenchmarkResult:
    """Propose a baseline for a speed that has none; without an explicit wish none is recorded.

    Args:
        item: The test.
        result: Its result.
        subject: What was timed.
        location: Where its baseline would be.
    """
    missing = any(one.code == "TRT660" for one in result.diagnostics)
    settings = settings_of(item.config)
    automatic = result.update == "first" and not (settings.update or settings.update_new)
    # Of what runs no engine, the specs of all tests are alike.
    if not (missing or automatic) or "model" not in subject.spec:
        return result

    def fits(entry: Any) -> bool:
        return entry.differs(mode=subject.mode, spec=subject.spec) is None

    command = renames_of(item).command(location, fits)
    if not command:
        return result
    if missing:
        found = tuple(
            replace(one, remedy=move_remedy(command, one.remedy.commands[0]))
            if one.code == "TRT660"
            else one
            for one in result.diagnostics
        )
        return replace(result, diagnostics=found)
    warning = perhaps_renamed("speed", location.shown, location.test, command)
    return replace(result, update="not recorded", diagnostics=(*result.diagnostics, warning))
