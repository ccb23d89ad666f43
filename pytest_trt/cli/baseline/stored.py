"""The stored baselines that the commands work on."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path
from typing import Any, TypeAlias, TypeVar

import click
from click.shell_completion import CompletionItem

from pytest_trt import units
from pytest_trt.baseline.answers import AnswerEntry, AnswerFile, answer_files, read_answers
from pytest_trt.baseline.entry import Entry
from pytest_trt.baseline.file import BaselineFile, baseline_files, module_of, read_baselines
from pytest_trt.baseline.location import BaselineFolder
from pytest_trt.baseline.metrics import MetricsEntry, MetricsFile, metrics_files, read_metrics
from pytest_trt.cli.completion import matching_tests
from pytest_trt.diagnostics import BaselineError, PytestTrtError, as_typed

_T = TypeVar("_T")


@dataclass(frozen=True, slots=True)
class Folders:
    """The folders that the commands work in.

    Attributes:
        baselines: The folder of all baselines.
        cache: The engine cache.
        baselines_of: Returns the folder of the baselines of tests in a folder.
    """

    baselines: BaselineFolder
    cache: Path
    baselines_of: Callable[[Path], BaselineFolder]

    @property
    def shown(self) -> str:
        """The folder of all baselines as messages name it."""
        return as_typed(self.baselines.path)

    def files(self) -> tuple[list[list[Stored]], list[BaselineError]]:
        """Return the speed baselines of every valid file, and the errors of the others."""
        found, errors = _valid(baseline_files(self.baselines.path), read_baselines)
        return [
            [
                Stored(path, self._nodeid(path, test), test, content, entry)
                for test, entry in sorted(content.tests.items())
            ]
            for path, content in found
        ], errors

    def answers(self) -> tuple[list[Answers], list[BaselineError]]:
        """Return the stored answers of every valid file, and the errors of the others."""
        found, errors = _valid(answer_files(self.baselines.path), read_answers)
        return [
            Answers(path, self._nodeid(path, test), test, content, entry)
            for path, content in found
            for test, entry in sorted(content.tests.items())
        ], errors

    def metrics(self) -> tuple[list[TaskMetrics], list[BaselineError]]:
        """Return the stored task metrics of every valid file, and the errors of the others."""
        found, errors = _valid(metrics_files(self.baselines.path), read_metrics)
        return [
            TaskMetrics(path, self._nodeid(path, test), test, content, entry)
            for path, content in found
            for test, entry in sorted(content.tests.items())
        ], errors

    def _nodeid(self, path: Path, test: str) -> str:
        return f"{module_of(self.baselines.path, path)}::{test}"

    def stored(self) -> list[AnyStored]:
        """Return the speed baselines, the answers and the task metrics of every file.

        Raises:
            BaselineError: A file cannot be read.
        """
        files, errors = self.files()
        answers, more = self.answers()
        metrics, others = self.metrics()
        if errors or more or others:
            raise (*errors, *more, *others)[0]
        return [*(stored for listed in files for stored in listed), *answers, *metrics]


def _valid(
    paths: Iterable[Path], read: Callable[[Path], _T | None]
) -> tuple[list[tuple[Path, _T]], list[BaselineError]]:
    found, errors = [], []
    for path in paths:
        try:
            content = read(path)
        except BaselineError as error:
            errors.append(error)
            continue
        if content is not None:  # else it was removed meanwhile
            found.append((path, content))
    return found, errors


@dataclass(frozen=True, slots=True)
class Stored:
    """The speed baseline of a test on one target, and where it is.

    Attributes:
        path: The file.
        nodeid: The test's node id.
        test: The test's name in the file.
        file: The whole file.
        entry: The entry.
    """

    path: Path
    nodeid: str
    test: str
    file: BaselineFile
    entry: Entry

    def to_dict(self) -> dict[str, Any]:
        """Return a summary of the entry as JSON-simple data."""
        newest = self.entry.runs[-1]
        return {
            "kind": "speed",
            "file": as_typed(self.path),
            "test": self.nodeid,
            "target": dict(self.file.target),
            "mode": self.entry.mode,
            "p50_ms": self.entry.figure("p50"),
            "p95_ms": self.entry.figure("p95"),
            "p99_ms": self.entry.figure("p99"),
            "items_per_s": self.entry.figure("throughput"),
            "runs": len(self.entry.runs),
            "recorded": newest.recorded,
            "reason": newest.reason,
            "toolchain": newest.toolchain,
            "environment": dict(newest.environment),
        }


@dataclass(frozen=True, slots=True)
class Answers:
    """The stored answers of a test, and where they are; the fields are those of `Stored`."""

    path: Path
    nodeid: str
    test: str
    file: AnswerFile
    entry: AnswerEntry

    def is_of(self, nodeid: str) -> bool:
        """Whether they are of a test with these parameters and perhaps more."""
        (own, few), (test, all_) = (_split(one) for one in (self.nodeid, nodeid))
        return own == test and few <= all_

    @property
    def sketches(self) -> tuple[int, int]:
        """How many outputs are stored as sketches, and how many in all."""
        kinds = [one.stored for answer in self.entry.answers for one in answer.outputs.values()]
        return kinds.count("sketch"), len(kinds)

    def to_dict(self) -> dict[str, Any]:
        """Return a summary as JSON-simple data."""
        sketches, outputs = self.sketches
        return {
            "kind": "answers",
            "file": as_typed(self.path),
            "test": self.nodeid,
            "model": self.entry.model,
            "inputs": len(self.entry.answers),
            "outputs": outputs,
            "sketches": sketches,
            "recorded": self.entry.recorded,
            "reason": self.entry.reason,
            "producer": self.entry.producer,
        }


@dataclass(frozen=True, slots=True)
class TaskMetrics:
    """The stored task metrics of a test, and where they are; the fields are those of `Stored`."""

    path: Path
    nodeid: str
    test: str
    file: MetricsFile
    entry: MetricsEntry

    def to_dict(self) -> dict[str, Any]:
        """Return a summary as JSON-simple data."""
        return {
            "kind": "metrics",
            "file": as_typed(self.path),
            "test": self.nodeid,
            "target": dict(self.file.target),
            "values": {name: one.value for name, one in self.entry.metrics.items()},
            "recorded": self.entry.recorded,
            "reason": self.entry.reason,
            "toolchain": self.entry.toolchain,
        }


AnyStored: TypeAlias = "Stored | Answers | TaskMetrics"


def _split(nodeid: str) -> tuple[str, set[str]]:
    """Return a node id without parameters, and the parts of its parameters."""
    base, bracket, parameters = nodeid.removesuffix("]").partition("[")
    return base, set(parameters.split("-")) if bracket else set()


def place_text(stored: AnyStored) -> str:
    """Return what an entry is, after its test's name."""
    if isinstance(stored, TaskMetrics):
        return f"metrics on {stored.file.target.get('arch', '')}"
    return "answers" if isinstance(stored, Answers) else f"on {target_text(stored.file)}"


def target_text(file: BaselineFile) -> str:
    """Return what a file's baselines were measured on, as text."""
    labelled = [f"{k} {v}" if v.isdigit() else v for k, v in file.target.items() if v]
    return ", ".join(labelled)


def age(recorded: str) -> str:
    """Return how long ago something was recorded."""
    moment = datetime.fromisoformat(recorded)
    return units.age((datetime.now(timezone.utc) - moment).total_seconds())


def complete_baselines(
    context: click.Context, parameter: click.Parameter, incomplete: str
) -> list[CompletionItem[str]]:
    """Return the tests that have baselines."""
    from pytest_trt.cli.ini import read_project

    with suppress(PytestTrtError, OSError):
        project = read_project()
        folders = Folders(project.baselines(None), project.cache(), project.baselines)
        return matching_tests((one.nodeid for one in folders.stored()), incomplete)
    return []
