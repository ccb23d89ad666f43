"""Where the commands look, and what they find there."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from pytest_trt import units
from pytest_trt.baseline.entry import Entry
from pytest_trt.baseline.file import BaselineFile, baseline_files, module_of, read_baselines
from pytest_trt.diagnostics import BaselineError


@dataclass(frozen=True, slots=True)
class Places:
    """The folders that the group's options name.

    Attributes:
        baselines: The folder of all baselines.
        cache: The engine cache.
    """

    baselines: Path
    cache: Path

    def files(self) -> tuple[list[list[Stored]], list[BaselineError]]:
        """Return the entries of every file that can be read, and what is wrong with the others."""
        files, broken = [], []
        for path in baseline_files(self.baselines):
            try:
                content = read_baselines(path)
            except BaselineError as error:
                broken.append(error)
                continue
            if content is not None:  # removed meanwhile
                module = module_of(self.baselines, path)
                files.append(
                    [
                        Stored(path, f"{module}::{test}", test, content, entry)
                        for test, entry in sorted(content.tests.items())
                    ]
                )
        return files, broken

    def stored(self) -> list[Stored]:
        """Return the entries of every file.

        Raises:
            BaselineError: A file cannot be read.
        """
        files, broken = self.files()
        if broken:
            raise broken[0]
        return [stored for listed in files for stored in listed]


@dataclass(frozen=True, slots=True)
class Stored:
    """One entry, and where it is.

    Attributes:
        path: The file.
        nodeid: The test as pytest names it.
        test: The test as the file names it.
        file: The whole file.
        entry: The entry.
    """

    path: Path
    nodeid: str
    test: str
    file: BaselineFile
    entry: Entry

    def to_dict(self) -> dict[str, Any]:
        """Return what is listed of the entry, for programs."""
        newest = self.entry.runs[-1]
        return {
            "file": str(self.path),
            "test": self.nodeid,
            "target": dict(self.file.target),
            "mode": self.entry.mode,
            "p50_ms": self.entry.figure("p50"),
            "p95_ms": self.entry.figure("p95"),
            "p99_ms": self.entry.figure("p99"),
            "throughput_qps": self.entry.figure("throughput"),
            "runs": len(self.entry.runs),
            "recorded": newest.recorded,
            "reason": newest.reason,
            "toolchain": newest.toolchain,
            "environment": dict(newest.environment),
        }


def target_text(file: BaselineFile) -> str:
    """Return what a file's baselines were measured on, in words."""
    told = [f"{k} {v}" if v.isdigit() else v for k, v in file.target.items() if v]
    return ", ".join(told)


def age(recorded: str) -> str:
    """Return how long ago something was recorded."""
    moment = datetime.fromisoformat(recorded)
    return units.age((datetime.now(timezone.utc) - moment).total_seconds())
