"""What becomes a baseline: runs of this process and of fresh ones, and the noise between them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, replace

from pytest_trt.baseline.entry import MAX_RUNS, Entry, StoredNoise, StoredRun
from pytest_trt.baseline.location import BaselineLocation
from pytest_trt.benchmark.baselines import engine_facts, new_run, stored_rounds
from pytest_trt.benchmark.calibration import Calibration
from pytest_trt.benchmark.conditions import load_conditions
from pytest_trt.benchmark.differences import HOST_BUSY
from pytest_trt.benchmark.fresh_job import FreshRun
from pytest_trt.benchmark.fresh_runs import FreshRuns
from pytest_trt.benchmark.result import BenchmarkResult
from pytest_trt.benchmark.sampling import Sampling
from pytest_trt.benchmark.speed_record import with_figures
from pytest_trt.engine.build import Engine
from pytest_trt.engine.layer_changes import layer_rows
from pytest_trt.plugin.settings import Settings
from pytest_trt.records import to_data
from pytest_trt.statistics.decide import FIRST_ROUNDS, Unavailable
from pytest_trt.terms import Metric, Mode

_RECORDED_BUSY = "its baseline was recorded on a busy host"
_RECORD_AGAIN = "only turns can be compared with it; record it when the host is free: --trt-update"
_CALIBRATED_BUSY = "calibrated on a busy host"
_CALIBRATE_AGAIN = "part of what runs differ there is the host; calibrate again when it is free"


class Recorder:
    """Makes the baseline of one test.

    Args:
        settings: What the options say.
        engine: The engine that is measured.
        limits: The test's relative limits.
        environment: Tells what may change from run to run, as it was until now.
        checks: How many limits the tests of this run have in all.
        remark: Told what whoever reads the result should know.
    """

    def __init__(
        self,
        settings: Settings,
        engine: Engine,
        limits: Mapping[Metric, float],
        *,
        environment: Callable[[], Mapping[str, str]],
        checks: int,
        remark: Callable[[str], None],
    ) -> None:
        self._settings, self._engine, self._limits = settings, engine, limits
        self._environment, self._checks, self._remark = environment, checks, remark

    def runs(
        self, sampling: Sampling, fresh: FreshRuns, *, recorded: bool
    ) -> tuple[StoredRun, ...]:
        """Return the run of this process; where it is recorded, also those that are to join it."""
        if recorded:
            sampling.spread(FIRST_ROUNDS)
        here = FreshRun(sampling.stored(FIRST_ROUNDS), load=sampling.meter.load)
        taken, wanted = [here], self._settings.baseline_runs
        try:
            while recorded and len(taken) < wanted:
                title = f"recording run {len(taken) + 1} of {wanted}"
                taken.append(fresh.take(FIRST_ROUNDS, title=title))
        except Unavailable as reason:
            self._remark(f"recorded {len(taken)} of {wanted} runs: {reason}")
        runs = tuple(self._stored(one, fresh.mode) for one in taken)
        busy = [run.environment[HOST_BUSY] for run in runs if HOST_BUSY in run.environment]
        if recorded and busy:
            self._remark(f"{_RECORDED_BUSY}: {busy[0]}: {_RECORD_AGAIN}")
        return runs

    def noise_kept(self, entry: Entry | None) -> StoredNoise | None:
        """Return the noise that outlives a new baseline: that of the same engine."""
        noise = entry.noise if entry else None
        if entry is None or noise is None or self._is_of(entry):
            return noise
        self._remark("the noise of the engine before is not this one's: pytest --trt-calibrate")
        return None

    def calibrate(
        self,
        record: BenchmarkResult,
        entry: Entry | None,
        spec: Mapping[str, str],
        sampling: Sampling,
        fresh: FreshRuns,
        place: BaselineLocation,
        *,
        against: str,
    ) -> BenchmarkResult:
        """Measure the engine against itself; return what was found, and what is to be written.

        Args:
            record: What was known before.
            entry: The test's baseline; None records one.
            spec: What is measured.
            sampling: The engine in this process, warm.
            fresh: The engine in others.
            place: Where the baseline is kept.
            against: Digest of what is stored there, see `entry_digest`.

        Raises:
            Unavailable: A fresh process could not measure.
            Disturbed: The device was.
        """
        here = FreshRun(sampling.screen(FIRST_ROUNDS), load=sampling.meter.load)
        done = Calibration.of(here, fresh, self._settings.calibrate_runs)
        busy = [one.load.busy for one in done.runs if load_conditions(fresh.mode, one.load)]
        if busy:
            self._remark(f"{_CALIBRATED_BUSY}: {busy[0]}: {_CALIBRATE_AGAIN}")
        if entry is None or self._settings.update:
            runs = tuple(self._stored(one, fresh.mode) for one in done.runs[-MAX_RUNS:])
            rows = layer_rows(self._engine.facts.layers)
            entry = Entry(fresh.mode, spec, engine_facts(self._engine), runs, layers=rows)
        entry = replace(entry, noise=done.stored())
        stored = [stored_rounds(run) for run in entry.runs if run.calls == sampling.calls]
        found = done.record(self._limits, stored, checks=self._checks, mode=fresh.mode)
        record = replace(
            record,
            update="calibrated",
            staged=to_data(place.staged(entry, add=False, against=against)),
            noise=asdict(found),
        )
        return with_figures(record, sampling, None, None, (), strict=False)

    def _is_of(self, entry: Entry) -> bool:
        return entry.engine.get("key") == self._engine.key.digest

    def _stored(self, run: FreshRun, mode: Mode) -> StoredRun:
        return new_run(
            run.rounds,
            toolchain=str(self._engine.toolchain),
            environment={**self._environment(), **load_conditions(mode, run.load)},
            reason=self._settings.update_reason,
        )
