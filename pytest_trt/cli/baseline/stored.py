"""The stored baselines that the commands work on."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timezone
from itertools import chain
from pathlib import Path
from typing import Any, Generic, TypeAlias, TypeVar

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
_File = TypeVar("_File")
_Entry = TypeVar("_Entry")


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
        return self._valid(Stored, baseline_files(self.baselines.path), read_baselines)

    def answers(self) -> tuple[list[Answers], list[BaselineError]]:
        """Return the stored answers of every valid file, and the errors of the others."""
        found, errors = self._valid(Answers, answer_files(self.baselines.path), read_answers)
        return list(chain(*found)), errors

    def metrics(self) -> tuple[list[TaskMetrics], list[BaselineError]]:
        """Return the stored task metrics of every valid file, and the errors of the others."""
        found, errors = self._valid(TaskMetrics, metrics_files(self.baselines.path), read_metrics)
        return list(chain(*found)), errors

    def _valid(
        self, kind: Callable[..., _T], paths: Iterable[Path], read: Callable[[Path], Any]
    ) -> tuple[list[list[_T]], list[BaselineError]]:
        found, errors = [], []
        for path in paths:
            try:
                content = read(path)
            except BaselineError as error:
                errors.append(error)
                continue
            if content is not None:  # else it was removed meanwhile
                tests = sorted(content.tests.items())
                module = module_of(self.baselines.path, path)
                found.append([kind(path, f"{module}::{t}", t, content, one) for t, one in tests])
        return found, errors

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
        return [*chain(*files), *answers, *metrics]


@dataclass(frozen=True, slots=True)
class _Stored(Generic[_File, _Entry]):
    """A baseline of a test, and where it is.

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
    file: _File
    entry: _Entry


class Stored(_Stored[BaselineFile, Entry]):
    """The speed baseline of a test on one target."""

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


class Answers(_Stored[AnswerFile, AnswerEntry]):
    """The stored answers of a test."""

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


class TaskMetrics(_Stored[MetricsFile, MetricsEntry]):
    """The stored task metrics of a test."""

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
