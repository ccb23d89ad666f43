"""`--trt-calibrate`: one engine against itself, and what that makes of its limits."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timezone
from typing import cast

from pytest_trt.baseline.entry import StoredNoise
from pytest_trt.benchmark.fresh_job import FreshRun
from pytest_trt.benchmark.fresh_runs import FreshRuns
from pytest_trt.report.noise import NoiseRecord, NoiseRow
from pytest_trt.statistics.calibrate import Calibrated, calibrated
from pytest_trt.statistics.decide import FIRST_ROUNDS
from pytest_trt.statistics.noise import Noise
from pytest_trt.statistics.power import Detectable, by_processes, by_turns
from pytest_trt.statistics.rounds import Rounds, as_change
from pytest_trt.terms import Metric, Mode


@dataclass(frozen=True, slots=True)
class Calibration:
    """What calibrating one test has measured.

    Attributes:
        runs: Runs of this process and of the fresh ones.
        turns: From each fresh process, rounds of two sessions of the engine in turns.
        measured: How much they differ.
    """

    runs: tuple[FreshRun, ...]
    turns: tuple[tuple[Rounds, Rounds], ...]
    measured: Calibrated

    @classmethod
    def of(cls, here: FreshRun, fresh: FreshRuns, processes: int) -> Calibration:
        """Measure.

        Args:
            here: What this process measured.
            fresh: Takes those of the others.
            processes: How many others.

        Raises:
            Unavailable: A process could not measure; the text says why.
            Disturbed: The device was.
        """
        runs, turns = [here], []
        for number in range(1, processes + 1):
            title = f"calibrating, process {number} of {processes}"
            one = fresh.take(FIRST_ROUNDS, beside=True, title=title)
            runs.append(one)
            if one.turns is not None:
                turns.append(one.turns)
        rounds = [one.rounds for one in runs]
        return cls(tuple(runs), tuple(turns), calibrated(rounds, turns))

    def stored(self) -> StoredNoise:
        """Return the noise as it is kept with the baseline."""
        return StoredNoise(
            recorded=datetime.now(timezone.utc).isoformat(timespec="seconds"),
            processes=self.measured.processes,
            placement=self.measured.placement,
            between_runs={str(k): v for k, v in self.measured.between_runs.items()},
        )

    def record(
        self, limits: Mapping[Metric, float], stored: Sequence[Rounds], *, checks: int, mode: Mode
    ) -> NoiseRecord:
        """Return what is told of the test.

        Args:
            limits: Its relative limits.
            stored: The runs of its baseline.
            checks: Metrics with a limit, over all tests of this run.
            mode: How it is measured.
        """
        measured, rows = self.measured, []
        runs = [one.rounds for one in self.runs]
        for metric, limit in limits.items():
            turns = by_turns(metric, limit, self.turns, measured, checks=checks)
            alone = by_processes(metric, limit, stored, runs, measured, checks=checks, mode=mode)
            rows.append(
                NoiseRow(
                    metric=metric,
                    between_runs=measured.between_runs.get(metric),
                    limit=limit,
                    turns=tuple(_told(metric, one) for one in turns),
                    processes=None if alone is None else _told(metric, alone),
                )
            )
        return NoiseRecord(measured.processes, measured.placement, checks, tuple(rows))


def _told(metric: Metric, one: Detectable) -> tuple[float, int]:
    return as_change(metric, one.change), one.calls


def noise_of(stored: StoredNoise | None) -> Noise | None:
    """Return stored noise as verdicts reckon with it."""
    if stored is None:
        return None
    spread = {cast(Metric, metric): value for metric, value in stored.between_runs.items()}
    return Calibrated(spread, stored.placement, stored.processes).noise()
