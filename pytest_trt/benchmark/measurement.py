"""One measurement: engine, inputs, limits and stored baseline in, a record out."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from pytest_trt.backends.devices.watch import DeviceWatch
from pytest_trt.baseline.entry import Entry
from pytest_trt.baseline.staged import entry_digest
from pytest_trt.benchmark.absolute_gate import AbsoluteGate
from pytest_trt.benchmark.baselines import differences, engine_facts, location_of
from pytest_trt.benchmark.conditions import (
    conditions_of,
    load_conditions,
    without_insignificant_drift,
)
from pytest_trt.benchmark.disturbance import disturbed, listen
from pytest_trt.benchmark.engine_gate import structure_records, with_layer_changes
from pytest_trt.benchmark.fresh_runs import FreshRuns
from pytest_trt.benchmark.lock import device_lock
from pytest_trt.benchmark.recording import Recorder
from pytest_trt.benchmark.refusal import refusal
from pytest_trt.benchmark.relative_gate import RelativeGate
from pytest_trt.benchmark.result import BenchmarkResult
from pytest_trt.benchmark.rounds import MOST_TIMES, Disturbed, undisturbed
from pytest_trt.benchmark.sampling import Sampling, batch_of
from pytest_trt.benchmark.sessions import mode_for
from pytest_trt.benchmark.speed_record import remark_on, with_figures
from pytest_trt.benchmark.testability import (
    all_tested,
    left_out,
    rounds_s,
    time_for,
    too_short,
    why_left_out,
)
from pytest_trt.benchmark.updating import with_update
from pytest_trt.diagnostics import git_restore_hint
from pytest_trt.engine.build import Engine
from pytest_trt.engine.layer_changes import layer_rows
from pytest_trt.engine.protocols import BackendSession
from pytest_trt.plugin.markers import BenchmarkMarker
from pytest_trt.plugin.state import state_of
from pytest_trt.plugin.subject import ModelUnderTest
from pytest_trt.statistics.absolute import AbsoluteLimitResult, combined
from pytest_trt.statistics.decide import FIRST_ROUNDS, Decision, Unavailable
from pytest_trt.statistics.discount import discount_limit
from pytest_trt.statistics.limits import Limits, resolve_limits
from pytest_trt.statistics.rounds import testable
from pytest_trt.statistics.structure import StructuralLimitResult
from pytest_trt.tensors.spec import Tensors
from pytest_trt.terms import CPU, METRICS, Mode, Verdict
from pytest_trt.workers.warm import warm_builder


class Measurement:
    """Measures one engine for one test.

    Args:
        subject: The model under test.
        engine: Its engine.
        marker: What the test's markers say.
        checks: How many limits the tests of this run have in all.
        say: Told what takes long.
    """

    def __init__(
        self,
        subject: ModelUnderTest,
        engine: Engine,
        marker: BenchmarkMarker,
        checks: int,
        say: Callable[[str], None],
    ) -> None:
        self._engine, self._marker, self._checks, self._say = engine, marker, checks, say
        self._item: pytest.Item = subject.request.node
        self._run, self._settings = subject.run, subject.run.settings
        self._place = subject.run.place(engine.target)
        ini = self._settings.limits.get(engine.spec.precision, {})
        self._limits: Limits = resolve_limits(marker.limits, ini)
        budget_s = self._settings.benchmark_time
        self._absolute = AbsoluteGate(self._limits.absolute, checks, budget_s)

    def of(self, session: BackendSession, inputs: Tensors) -> BenchmarkResult:
        """Measure a loaded engine; return what was found, or why nothing was to be.

        Args:
            session: The engine, loaded.
            inputs: What every call computes on.

        Raises:
            BaselineError: The baseline file cannot be read.
            EngineRunError: The engine failed.
        """
        engine = self._engine
        mode = mode_for(session, self._marker.mode)
        batch = self._marker.batch or batch_of(engine.model.inputs, inputs)
        file = location_of(self._item, self._settings.baseline_dir, self._place.target)
        spec = _spec(
            engine, inputs, batch, self._settings.threads, file.model_name(engine.model.path)
        )
        relative = self._limits.relative
        entry = file.read() if self._limits.needs_baseline else None
        record = BenchmarkResult(
            test=self._item.nodeid,
            model=engine.model.path.name,
            precision=engine.spec.precision,
            arch=engine.target.arch,
            toolchain=str(engine.toolchain),
            verdict=Verdict.NOT_MEASURED.value,
            fails=True,
            mode=mode,
            batch=batch,
            file=file.shown,
            key=engine.key.digest,
            git_restore_hint=git_restore_hint(engine.model.path),
        )
        if self._marker.mode not in (None, mode):
            state_of(self._item).remark(
                f"{record.subject}: mode={self._marker.mode!r} needs a GPU, {mode} was measured."
            )
        different = None
        if entry is not None:
            different = entry.differs(mode=mode, spec=spec) or too_short(
                entry, self._limits.explicit
            )
        comparable = None if different else entry
        refused = refusal(self._item, self._settings, self._limits, record, entry, different, file)
        if refused is not None:
            return refused
        sampling = Sampling(session, inputs, mode, batch)
        try:
            with (
                device_lock(self._place.device, self._waiting),
                self._run.watched(engine.target) as watch,
                FreshRuns(self._run, engine, inputs, mode, sampling, self._say) as fresh,
            ):
                # What waits for another engine to build is another process on the device.
                warm_builder.end()
                self._start(session, inputs)
                record = replace(record, structure=self._structure(comparable))
                sampling.guard, sampling.say = watch or undisturbed, self._say
                listen(self._run, watch, self._say)
                self._warm(sampling, comparable)
                if comparable and all(run.calls != sampling.calls for run in comparable.runs):
                    comparable = None  # an update takes longer rounds
                recorder = self._recorder(watch)
                if self._settings.calibrate and relative:
                    done = recorder.calibrate(
                        record, comparable, spec, sampling, fresh, file, against=entry_digest(entry)
                    )
                    listen(self._run, watch, self._say, anew=True)
                    return done
                decision, kept = self._measured(sampling, comparable, fresh, watch, file.path)
                busy = sampling.meter.load.busy
                record = replace(record, structure=self._structure(comparable, busy))
                self._check_update(sampling, mode)
                if self._is_recorded(entry) or not _is_passed(decision, kept):
                    listen(self._run, watch, self._say, anew=True)
                self._run.timed_until_s = time.monotonic()
                environment = {
                    **self._place.environment,
                    **conditions_of(watch),
                    **load_conditions(mode, sampling.meter.load),
                }
                runs = recorder.runs(sampling, fresh, recorded=self._is_recorded(entry))
        except Disturbed as error:
            recorded = self._is_recorded(entry) or self._settings.calibrate
            return disturbed(
                self._item,
                record,
                str(error),
                recorded=recorded,
                strict=self._settings.inconclusive == "fail",
            )
        except Unavailable as error:
            return replace(
                record,
                why=f"how much runs differ was not measured: {error}",
                fix="act on its last words, and run with --trt-calibrate again.",
            )
        if self._limits.needs_baseline:
            noise = recorder.noise_kept(comparable) if self._is_recorded(entry) else None
            layers = layer_rows(engine.facts.layers)
            record = with_update(
                record,
                file,
                entry,
                Entry(mode, spec, engine_facts(engine), runs, noise, layers),
                relative,
                self._settings,
                recorded=self._is_recorded(entry),
                passed=decision is not None and decision.outcome == "passed",
            )
        if comparable is not None:
            record = replace(
                record,
                recorded=comparable.runs[-1].recorded,
                same_engine=comparable.engine.get("key") == engine.key.digest,
                differences=tuple(self._differences(comparable, environment)),
            )
        if self._settings.selftest:
            from pytest_trt.plugin.selftest import slowdowns_of

            state_of(self._item).proofs += slowdowns_of(
                self._limits, engine, sampling, comparable, mode, self._checks
            )
        strict = self._settings.inconclusive == "fail"
        found = with_figures(record, sampling, comparable, decision, kept, strict=strict)
        found = with_layer_changes(found, engine, comparable, self._run.cache)
        found = self._all_tested(found, sampling)
        remark_on(found, state_of(self._item), comparable)
        return found

    def _recorder(self, watch: DeviceWatch | None) -> Recorder:
        name = self._engine.model.path.name
        return Recorder(
            self._settings,
            self._engine,
            self._limits.relative,
            environment=lambda: {**self._place.environment, **conditions_of(watch)},
            checks=self._checks,
            remark=lambda text: state_of(self._item).remark(f"{name}: {text}"),
        )

    def _start(self, session: BackendSession, inputs: Tensors) -> None:
        """Run the engine once, if nothing has: its first inference is part of its cold start."""
        if self._engine.timings.first_inference_s is None:
            started_s = time.perf_counter()
            session.run(inputs)
            self._engine.timings.ran(time.perf_counter() - started_s)

    def _structure(self, entry: Entry | None, busy: str = "") -> tuple[StructuralLimitResult, ...]:
        """Return what the limits of the engine itself came to."""
        # What is accepted is not held against what it replaces.
        stored = None if entry is None or self._settings.accepts_slower else entry.engine
        return structure_records(self._limits.structural, self._engine, stored, busy)

    def _check_update(self, sampling: Sampling, mode: Mode) -> None:
        """Raise `Disturbed` where a baseline would be replaced by figures of a busy host."""
        if self._settings.update and load_conditions(mode, sampling.meter.load):
            raise Disturbed(f"the host was busy: {sampling.meter.load.busy}")

    def _warm(self, sampling: Sampling, entry: Entry | None) -> None:
        told = entry.runs[-1].rounds.keys() if entry else ()
        sampling.warm(
            stored_calls=entry.runs[-1].calls if entry else None,
            budget_s=self._settings.benchmark_time,
            idle_s=time.monotonic() - self._run.timed_until_s,
            explicit=self._limits.explicit,
            longer=self._settings.update and not self._limits.relative.keys() <= set(told),
        )

    def _measured(
        self,
        sampling: Sampling,
        entry: Entry | None,
        fresh: FreshRuns,
        watch: DeviceWatch | None,
        path: Path,
    ) -> tuple[Decision | None, list[AbsoluteLimitResult]]:
        decision = None
        if entry is not None and self._limits.relative:
            gate = RelativeGate(self._run, self._engine, self._limits, self._checks, path)
            decision = gate.decided(sampling, entry, fresh, conditions_of(watch))
        if decision is None:
            sampling.screen(FIRST_ROUNDS)
        kept = self._absolute.kept(sampling)
        if fresh.mode == "end_to_end":
            kept = [discount_limit(one, sampling.meter.load.busy) for one in kept]
        return decision, kept

    def _all_tested(self, record: BenchmarkResult, sampling: Sampling) -> BenchmarkResult:
        """Return a record that fails where a limit that somebody wrote can never do so."""
        call_s, given_s = sampling.round_s / sampling.calls, self._settings.benchmark_time

        def mend(name: str) -> tuple[str, str]:
            if name in METRICS:
                needed_s = rounds_s(name, call_s)
            else:
                needed_s = self._absolute.needed_s(sampling)
            return (
                f"the calls that it takes last {needed_s:.0f} s, more than {MOST_TIMES} times the "
                f"{given_s:g} s of --trt-benchmark-time",
                f"give it --trt-benchmark-time={time_for(needed_s)}, or limit P50 or throughput in "
                "its place.",
            )

        told = testable(sampling.calls)
        missing = left_out(self._limits, told)
        if missing:
            why = why_left_out(missing, sampling.calls, call_s)
            state_of(self._item).remark(f"{record.subject}: {why}")
        return all_tested(record, self._limits, told, mend)

    def _is_recorded(self, entry: Entry | None) -> bool:
        settings = self._settings
        new = entry is None and settings.missing_baseline == "record"
        return self._limits.needs_baseline and (settings.update or new)

    def _differences(self, entry: Entry, environment: Mapping[str, str]) -> list[str]:
        toolchain, then = str(self._engine.toolchain), entry.runs[-1].environment
        now = without_insignificant_drift(then, environment)
        return differences(entry, engine_facts(self._engine), toolchain, now)

    def _waiting(self, seconds: float) -> None:
        self._say(f"waiting for another process that times on this device ({seconds:.0f} s)")


def _is_passed(decision: Decision | None, kept: Sequence[AbsoluteLimitResult]) -> bool:
    outcomes = [one.outcome for one in kept]
    return combined([*outcomes, decision.outcome if decision else "passed"]) == "passed"


def _spec(
    engine: Engine, inputs: Tensors, batch: int, threads: int, model: str
) -> Mapping[str, str]:
    """Return what is measured, by label; a baseline is compared with nothing else."""
    shapes = [f"{spec.name} {list(inputs[spec.name].shape)}" for spec in engine.model.inputs]
    spec = {
        "model": model,
        "precision": engine.spec.precision,
        "shapes": ", ".join(shapes),
        "batch": str(batch),
    }
    options = engine.spec.builder_options
    if options:
        listed = (f"{name}={options[name]!r}" for name in sorted(options))
        spec["builder_options"] = ", ".join(listed)
    if threads and engine.target.arch == CPU:
        spec["threads"] = str(threads)
    return spec
