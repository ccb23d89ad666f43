"""Stored task metrics: what a test recorded with `trt_metrics`, and was accepted.

One file for each test module and architecture, below the folder `metrics-ARCH`.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import ClassVar

from pytest_trt.baseline.entry import check_time
from pytest_trt.baseline.file import (
    METRICS,
    content_of,
    dumps,
    file_text,
    is_of_metrics,
    read_file,
)
from pytest_trt.records import RecordError, parse_json, to_data

#: Of fewer of the stored trials, a part of the data was left out. A few fewer may be the engine's
#: doing, as of a share of the objects that it detects.
_LEAST_TRIALS = 0.9


def metrics_target(arch: str) -> dict[str, str]:
    """Return what stands for the target of task metrics: the architecture, whatever the device."""
    return {"kind": METRICS, "arch": arch}


@dataclass(frozen=True, slots=True)
class StoredMetric:
    """One task metric.

    Attributes:
        value: Its value.
        of: How many trials it is a share of; None if it is none.
        samples: The value of each sample that it is the mean of; empty if it is none.
        lower_is_better: Whether a larger value is a worse one.
    """

    value: float
    of: int | None = None
    samples: tuple[float, ...] = ()
    lower_is_better: bool = False

    def __post_init__(self) -> None:
        for value in (self.value, *self.samples):
            if not math.isfinite(value):
                raise RecordError(f"expected finite numbers, found {value}", "value")
        if self.of is not None and (self.of < 1 or not 0.0 <= self.value <= 1.0):
            raise RecordError(f"expected a share of 1 or more trials, found {self.value}", "of")
        mean = math.fsum(self.samples) / len(self.samples) if self.samples else self.value
        if not math.isclose(self.value, mean, rel_tol=1e-6, abs_tol=1e-9):
            raise RecordError(
                f"expected the mean of samples, {mean:g}, found {self.value}", "value"
            )

    @property
    def kind(self) -> str:
        """What bounds it, in words."""
        if self.samples:
            return "a mean of samples"
        return "a plain number" if self.of is None else "a share of trials"

    def differs(self, other: StoredMetric) -> str:
        """Return why another value cannot be compared with it; empty if it can."""
        if self.lower_is_better != other.lower_is_better:
            return "lower_is_better changed"
        if self.kind != other.kind:
            return f"it was {self.kind} and is {other.kind}"
        before, now = len(self.samples), len(other.samples)
        if now < before:
            return f"it was a mean of {before:,} samples and is one of {now:,}"
        if other.of is not None and self.of is not None and other.of < _LEAST_TRIALS * self.of:
            return f"it was a share of {self.of:,} trials and is one of {other.of:,}"
        return ""


@dataclass(frozen=True, slots=True)
class MetricsEntry:
    """The task metrics of one test on one architecture.

    Attributes:
        recorded: When, ISO 8601 in UTC.
        toolchain: What ran the engine.
        metrics: The metrics by name.
        reason: Why they were accepted, as given with `--trt-update-reason`; empty for none.
        accepted: The best value of each metric since a reason was last given, where values were
            replaced without one since.
    """

    recorded: str
    toolchain: str
    metrics: Mapping[str, StoredMetric]
    reason: str = ""
    accepted: Mapping[str, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        check_time(self.recorded)
        if not self.metrics:
            raise RecordError("empty", "metrics")
        for name, value in self.accepted.items():
            if not math.isfinite(value):
                raise RecordError(f"expected a finite number, found {value}", "accepted", name)

    def replaced(self, metrics: Mapping[str, StoredMetric]) -> dict[str, float]:
        """Return `accepted` of an entry that replaces this one without a reason."""
        found = dict(self.accepted)
        for name, old in self.metrics.items():
            if name in metrics and metrics[name] != old:
                better = min if old.lower_is_better else max
                found[name] = better(found.get(name, old.value), old.value)
        return {name: value for name, value in found.items() if name in metrics}


@dataclass(frozen=True, slots=True)
class MetricsFile:
    """The task metrics of one test module on one architecture.

    Attributes:
        target: The architecture.
        tests: Entries by test, its name after the module's path.
    """

    SCHEMA: ClassVar[int] = 1

    target: Mapping[str, str]
    tests: Mapping[str, MetricsEntry]

    @property
    def text(self) -> str:
        """The file's text: tests sorted, each metric on a line."""
        tests = {name: _entry(entry) for name, entry in self.tests.items()}
        return file_text(self.SCHEMA, self.target, tests)


parse_metrics = partial(content_of, MetricsFile)
read_metrics = partial(read_file, MetricsFile)


def metrics_files(root: Path) -> list[Path]:
    """Return every file of task metrics below the folder of all baselines, sorted."""
    found = root.glob(f"{METRICS}-*/**/*.json")
    return sorted(path for path in found if is_of_metrics(root, path))


def holds_metrics(text: bytes) -> bool:
    """Whether a JSON file of baselines, perhaps not a valid one, is one of task metrics."""
    try:
        data = parse_json(text)
    except RecordError:
        return False
    target = data.get("target") if isinstance(data, dict) else None
    return isinstance(target, dict) and target.get("kind") == METRICS


def _entry(entry: MetricsEntry) -> str:
    data = to_data(entry)
    lines = [f'      "{name}": {dumps(data[name])}' for name in ("recorded", "reason", "toolchain")]
    if entry.accepted:
        lines.append(f'      "accepted": {dumps(data["accepted"])}')
    metrics = ",\n".join(
        f"        {json.dumps(name)}: {dumps(metric)}" for name, metric in data["metrics"].items()
    )
    return "{\n" + ",\n".join([*lines, f'      "metrics": {{\n{metrics}\n      }}']) + "\n    }"
