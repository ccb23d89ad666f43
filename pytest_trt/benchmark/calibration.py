"""`--trt-calibrate`: how much runs of one engine vary, and what that means for its limits."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timezone
from typing import cast

from pytest_trt.baseline.entry import StoredNoise
from pytest_trt.benchmark.fresh_job import FreshRun
from pytest_trt.benchmark.result import CalibratedMetric, CalibrationResult
from pytest_trt.statistics.noise import MeasuredNoise, Noise, measured_noise
from pytest_trt.statistics.power import Detectable, by_interleaving, by_processes
from pytest_trt.statistics.rounds import Rounds, as_change
from pytest_trt.terms import Metric, Mode


@dataclass(frozen=True, slots=True)
class Calibration:
    """What calibrating one test has measured.

    Attributes:
        runs: Runs of this process and of the fresh ones.
        interleaved: From each fresh process, interleaved rounds of two sessions of the engine.
        measured: How much they vary.
    """

    runs: tuple[FreshRun, ...]
    interleaved: tuple[tuple[Rounds, Rounds], ...]
    measured: MeasuredNoise

    @classmethod
    def of(cls, here: FreshRun, take: Callable[[str], FreshRun], processes: int) -> Calibration:
        """Measure.

        Raises:
            Unavailable: A process could not measure.
            Disturbed: The device was.
        """
        titles = (f"calibrating, process {n} of {processes}" for n in range(1, processes + 1))
        runs = (here, *map(take, titles))
        interleaved = tuple(one.interleaved for one in runs if one.interleaved is not None)
        return cls(runs, interleaved, measured_noise([one.rounds for one in runs], interleaved))

    def stored(self) -> StoredNoise:
        """Return the noise as it is stored with the baseline."""
        return StoredNoise(
            recorded=datetime.now(timezone.utc).isoformat(timespec="seconds"),
            processes=self.measured.processes,
            placement=self.measured.placement,
            between_runs={str(k): v for k, v in self.measured.between_runs.items()},
        )

    def result(
        self, limits: Mapping[Metric, float], stored: Sequence[Rounds], *, checks: int, mode: Mode
    ) -> CalibrationResult:
        """Return what is reported of the test."""
        measured, rows = self.measured, []
        runs = [one.rounds for one in self.runs]
        for metric, limit in limits.items():
            interleaved = by_interleaving(metric, limit, self.interleaved, measured, checks=checks)
            alone = by_processes(metric, limit, stored, runs, measured, checks=checks, mode=mode)
            rows.append(
                CalibratedMetric(
                    metric=metric,
                    between_runs=measured.between_runs.get(metric),
                    limit=limit,
                    interleaved=tuple(_detectable(metric, one) for one in interleaved),
                    processes=None if alone is None else _detectable(metric, alone),
                )
            )
        return CalibrationResult(measured.processes, measured.placement, checks, tuple(rows))


def _detectable(metric: Metric, one: Detectable) -> tuple[float, int]:
    return as_change(metric, one.change), one.calls


def noise_of(stored: StoredNoise | None) -> Noise | None:
    """Return stored noise as decisions take it into account."""
    if stored is None:
        return None
    spread = {cast(Metric, metric): value for metric, value in stored.between_runs.items()}
    return MeasuredNoise(spread, stored.placement, stored.processes).noise()
