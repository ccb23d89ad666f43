"""What a history of runs consists of."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from pytest_trt.diagnostics import Diagnostic
from pytest_trt.records import to_data
from pytest_trt.report.comparison.findings import Direction, Finding, Kind

#: Statuses of a test that failed.
FAILED = ("failed", "error")


@dataclass(frozen=True, slots=True, kw_only=True)
class HistoryRun:
    """One run of pytest.

    Attributes:
        file: The report that it was read from.
        started: When it started, ISO 8601 in UTC.
        started_s: The same in seconds since 1970.
        commit: The commit that was checked out; null where that is unknown.
        places: What its tests ran on.
        uncollected: Files that could not be collected, and why in one line.
    """

    file: str
    started: str
    started_s: float
    commit: str | None
    places: tuple[str, ...]
    uncollected: Mapping[str, str] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """The commit, short; the day where that is unknown."""
        return (self.commit or "")[:8] or self.started[:10]


@dataclass(frozen=True, slots=True, kw_only=True)
class TrendPoint:
    """One test in one run.

    Attributes:
        run: Position of the run in `runs`.
        status: The test's status.
        figures: Medians over rounds, by name: p50_ms, p95_ms, p99_ms, throughput_qps.
        error: The largest share of a tolerance that an output used; null where nothing was
            compared.
    """

    run: int
    status: str
    figures: Mapping[str, float]
    error: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class TrendChange:
    """A change between two neighboring runs.

    Attributes:
        run: Position of the newer run.
        since: Position of the older one.
        finding: What changed, by how much, within which bounds.
        differences: What else differs between the two: versions, driver, model, commit.
    """

    run: int
    since: int
    finding: Finding
    differences: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class TrendBreak:
    """Where a trend is not joined, as two runs measured different things.

    Attributes:
        run: Position of the newer run.
        since: Position of the older one.
        kind: `SPEED` or `ERROR`.
        why: What differs, one line each.
    """

    run: int
    since: int
    kind: Kind
    why: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Trend:
    """One test on one engine and one machine, over all runs.

    Attributes:
        test: The test, without the architecture.
        engine: Model and precision; empty where no run came to an engine.
        place: What it ran on.
        points: Its runs in order of time.
        changes: What was detected between neighboring runs, oldest first.
        breaks: Where runs are not comparable.
        overall: The newest run against the first that is comparable with it.
        untested: Why the newest run on its machine has no verdict: "skipped", "not run" and so on;
            empty where it has one.
    """

    test: str
    engine: str
    place: str
    points: tuple[TrendPoint, ...]
    changes: tuple[TrendChange, ...]
    breaks: tuple[TrendBreak, ...]
    overall: tuple[Finding, ...]
    untested: str = ""

    @property
    def failing_since(self) -> int | None:
        """Position of the run since which every run failed; null where the newest did not."""
        since = None
        for one in self.points:
            if one.status not in FAILED:
                since = None
            elif since is None:
                since = one.run
        return since

    @property
    def direction(self) -> Direction:
        """The worst of `overall`; `CHANGED` where only runs in between differ, or a break is.

        Worse, too, where the newest run failed and an earlier one did not; without a verdict where
        the newest run did not test it.
        """
        directions = [one.direction for one in self.overall]
        if self.failing_since not in (None, self.points[0].run) or Direction.WORSE in directions:
            return Direction.WORSE
        if self.untested:
            return Direction.NO_VERDICT
        if Direction.BETTER in directions:
            return Direction.BETTER
        return Direction.CHANGED if self.changes or self.breaks else Direction.SAME


@dataclass(frozen=True, slots=True, kw_only=True)
class History:
    """Many runs.

    Attributes:
        runs: In order of time.
        trends: Those that became worse first.
        left_out: Files that were not used, and why.
    """

    runs: tuple[HistoryRun, ...]
    trends: tuple[Trend, ...]
    left_out: tuple[Diagnostic, ...]

    def of(self, direction: Direction) -> Iterator[Trend]:
        """Yield the trends of this direction."""
        return (one for one in self.trends if one.direction is direction)

    def to_dict(self) -> dict[str, Any]:
        """Return the history as JSON-simple data."""
        return {
            **to_data(self),
            "counts": {one.value: sum(1 for _ in self.of(one)) for one in Direction},
            "trends": [
                {
                    **to_data(one),
                    "direction": one.direction.value,
                    "failing_since": one.failing_since,
                }
                for one in self.trends
            ],
        }
