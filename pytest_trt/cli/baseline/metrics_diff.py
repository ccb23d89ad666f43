"""Two versions of stored task metrics, compared value by value."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from pytest_trt import units
from pytest_trt.baseline.metrics import MetricsFile
from pytest_trt.cli.table import Row, print_table


@dataclass(frozen=True, slots=True)
class MetricChange:
    """A task metric that is not the same.

    Attributes:
        test: The test's name in the file.
        name: The metric.
        before: The older value; None where it is new.
        now: The newer value; None where it was removed.
        reason: Why the newer one was accepted.
    """

    test: str
    name: str
    before: float | None
    now: float | None
    reason: str = ""

    @property
    def change(self) -> float | None:
        """The relative change, where it has one."""
        return self.now / self.before - 1.0 if self.before and self.now is not None else None

    def to_dict(self, title: str) -> dict[str, Any]:
        """Return the change as JSON-simple data."""
        return {
            "baseline": "metrics",
            "file": title,
            "test": self.test,
            "metric": self.name,
            "before": self.before,
            "now": self.now,
            "reason": self.reason,
        }


def metric_changes(old: MetricsFile | None, new: MetricsFile | None) -> list[MetricChange]:
    """Return what differs between two versions of a file; None for a file that does not exist."""
    before, now = (dict(side.tests) if side else {} for side in (old, new))
    found = []
    for test in sorted({*before, *now}):
        then = before[test].metrics if test in before else {}
        later = now[test].metrics if test in now else {}
        for name in dict.fromkeys([*then, *later]):
            if then.get(name) != later.get(name):
                one, other = (side[name].value if name in side else None for side in (then, later))
                reason = now[test].reason if test in now else ""
                found.append(MetricChange(test, name, one, other, reason))
    return found


def print_metrics(found: Sequence[tuple[str, Sequence[MetricChange]]]) -> None:
    """Print changes by file."""
    rows = [row for title, changes in found for row in (title, *_rows(changes))]
    print_table(("", "before", "now", "change"), rows, giving_way=(0,))


def _rows(changes: Sequence[MetricChange]) -> Iterator[Row]:
    for one in changes:
        before, now = ("-" if v is None else f"{v:.5g}" for v in (one.before, one.now))
        change = "" if one.change is None else units.change(one.change)
        yield f"  {one.test} {one.name}", before, now, change
        if one.reason:
            yield f"    {one.reason}"
