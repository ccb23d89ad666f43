"""New task metrics before they are stored: collected while tests run, written once at the end."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from pytest_trt.baseline.file import write_baselines
from pytest_trt.baseline.metrics import (
    MetricsEntry,
    MetricsFile,
    read_metrics,
)
from pytest_trt.baseline.staged import Writing, entry_digest, write_each_file


@dataclass(frozen=True, slots=True)
class StagedMetrics:
    """New task metrics of one test.

    Attributes:
        path: The file to write.
        shown: The file as messages name it.
        target: The architecture.
        test: The test's name in the file.
        metrics: The metrics.
        against: Digest of the entry that was there; see `entry_digest`.
        update: Whether they are written at the end of the run, unless the test fails.
    """

    path: Path
    shown: str
    target: Mapping[str, str]
    test: str
    metrics: MetricsEntry
    against: str = ""
    update: bool = False

    def with_reason(self, reason: str) -> StagedMetrics:
        """Return the same metrics as ones that a person accepts, for a reason."""
        return replace(self, metrics=replace(self.metrics, reason=reason, accepted={}))


@dataclass(frozen=True, slots=True)
class WrittenMetrics:
    """Task metrics that were stored.

    Attributes:
        staged: The new ones.
        old: What was stored before; None if nothing was.
    """

    staged: StagedMetrics
    old: MetricsEntry | None

    @property
    def text(self) -> str:
        """What happened to them: "accuracy 0.981 -> 0.984"."""
        before = self.old.metrics if self.old is not None else {}
        after = self.staged.metrics.metrics
        texts = [
            f"{name} {before[name].value:.4g} -> {one.value:.4g}"
            if name in before
            else f"{name} {one.value:.4g}"
            for name, one in after.items()
        ]
        return ", ".join([*texts, *(f"{name} removed" for name in before if name not in after)])


def write_staged_metrics(staged: Sequence[StagedMetrics]) -> Writing[WrittenMetrics, StagedMetrics]:
    """Store new task metrics, each file once; what another run has changed meanwhile stays."""
    return write_each_file(staged, _write_file)


def _write_file(
    path: Path, entries: Sequence[StagedMetrics]
) -> tuple[list[WrittenMetrics], list[StagedMetrics]]:
    found = read_metrics(path) or MetricsFile(entries[0].target, {})
    tests, written, overtaken = dict(found.tests), [], []
    for one in entries:
        old = found.tests.get(one.test)
        if entry_digest(old) != one.against:
            overtaken.append(one)
            continue
        tests[one.test] = one.metrics
        written.append(WrittenMetrics(one, old))
    if written:
        write_baselines(path, MetricsFile(found.target, tests))
    return written, overtaken
