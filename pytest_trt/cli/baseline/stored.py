"""The stored baselines that the commands work on."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from pytest_trt import units
from pytest_trt.baseline.entry import Entry
from pytest_trt.baseline.file import BaselineFile, baseline_files, module_of, read_baselines
from pytest_trt.baseline.location import BaselineFolder
from pytest_trt.diagnostics import BaselineError, as_typed


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
        """Return the entries of every valid file, and the errors of the others."""
        root = self.baselines.path
        files, errors = [], []
        for path in baseline_files(root):
            try:
                content = read_baselines(path)
            except BaselineError as error:
                errors.append(error)
                continue
            if content is not None:  # else it was removed meanwhile
                module = module_of(root, path)
                files.append(
                    [
                        Stored(path, f"{module}::{test}", test, content, entry)
                        for test, entry in sorted(content.tests.items())
                    ]
                )
        return files, errors

    def stored(self) -> list[Stored]:
        """Return the entries of every file.

        Raises:
            BaselineError: A file cannot be read.
        """
        files, errors = self.files()
        if errors:
            raise errors[0]
        return [stored for listed in files for stored in listed]


@dataclass(frozen=True, slots=True)
class Stored:
    """One entry, and where it is.

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


def target_text(file: BaselineFile) -> str:
    """Return what a file's baselines were measured on, as text."""
    labelled = [f"{k} {v}" if v.isdigit() else v for k, v in file.target.items() if v]
    return ", ".join(labelled)


def age(recorded: str) -> str:
    """Return how long ago something was recorded."""
    moment = datetime.fromisoformat(recorded)
    return units.age((datetime.now(timezone.utc) - moment).total_seconds())
