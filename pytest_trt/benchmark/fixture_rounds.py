"""Tests that use pytest-benchmark's fixture under our marker: gated on the rounds that it took.

It times a function by the host's clock, once, in one process. No more rounds can be had of it, and
no turns with what the function was before. So relative limits may pass on its rounds, and fail only
beyond what two processes by that clock may differ, and never on a busy host. That the engine is the
baseline's own excuses nothing: the function is the test's. Absolute limits are judged as ever.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, nullcontext
from dataclasses import replace
from importlib.metadata import version
from platform import python_version
from typing import TYPE_CHECKING

import pytest

from pytest_trt.backends.devices.watch import DeviceWatch
from pytest_trt.baseline.entry import Entry
from pytest_trt.baseline.location import BaselineLocation
from pytest_trt.benchmark.baselines import (
    differences,
    engine_facts,
    location_of,
    new_run,
    stored_rounds,
)
from pytest_trt.benchmark.check import SpeedCheck, checks_of
from pytest_trt.benchmark.conditions import (
    conditions_of,
    incomparable_reason,
    load_conditions,
    without_insignificant_drift,
)
from pytest_trt.benchmark.differences import HOST_BUSY
from pytest_trt.benchmark.engine_gate import (
    structure_outcomes,
    structure_records,
    with_layer_changes,
)
from pytest_trt.benchmark.host_load import HostLoad, LoadMeter
from pytest_trt.benchmark.lock import device_lock
from pytest_trt.benchmark.refusal import refusal
from pytest_trt.benchmark.result import BenchmarkResult
from pytest_trt.benchmark.speed_record import remark_on, with_figures
from pytest_trt.benchmark.taken_rounds import FixtureRounds
from pytest_trt.benchmark.testability import all_tested, left_out, named
from pytest_trt.benchmark.updating import with_update
from pytest_trt.diagnostics import PytestTrtError
from pytest_trt.engine.build import Engine
from pytest_trt.engine.layer_changes import layer_rows
from pytest_trt.engine.session import Session
from pytest_trt.plugin.pytest_benchmark import DISABLED, extra_info, is_disabled
from pytest_trt.plugin.state import plan_of, progress_of, run_of, settings_of, state_of
from pytest_trt.statistics.absolute import AbsoluteLimitResult, combined, judge_absolute
from pytest_trt.statistics.decide import FIRST_ROUNDS, Decision, Samplers, check_error, decide
from pytest_trt.statistics.discount import discount_host_noise, discount_limit, explained
from pytest_trt.statistics.limits import Absolute
from pytest_trt.statistics.structure import StructuralLimitResult
from pytest_trt.terms import CPU, Verdict
from pytest_trt.workers.warm import warm_builder

if TYPE_CHECKING:
    from pytest_benchmark.fixture import BenchmarkFixture

_AVERAGES = "pytest-benchmark averaged over {} calls at a time, which hides the slow ones"
_MORE_TIME = (
    "give it more: --benchmark-warmup=on where the first call is a slow one, --benchmark-max-time, "
    "or rounds= of benchmark.pedantic"
)


@contextmanager
def gated(item: pytest.Item, fixture: BenchmarkFixture) -> Iterator[None]:
    """Run a test alone on its device, then hold what pytest-benchmark timed against its limits.

    Args:
        item: The test.
        fixture: Its `benchmark` fixture.

    Raises:
        BaselineError: The baseline file cannot be read.
    """
    __tracebackhide__ = True
    check = state_of(item).speed = SpeedCheck()
    try:
        with _alone(item) if fixture.enabled else nullcontext() as watch:
            session = getattr(item, "funcargs", {}).get("trt_session")
            if fixture.enabled and isinstance(session, Session):
                session.load()  # the first call tells pytest-benchmark how many there is time for
            meter = LoadMeter()
            try:
                with meter.running():
                    yield
            except pytest.skip.Exception:  # it has been timed all the same
                check.record = _FixtureMeasurement(item, meter.load).of(fixture, watch)
                raise
            check.record = _FixtureMeasurement(item, meter.load).of(fixture, watch)
    except PytestTrtError as error:
        raise error.with_traceback(None) from None


@contextmanager
def _alone(item: pytest.Item) -> Iterator[DeviceWatch | None]:
    """Hold the device of a test, as any benchmark does, and lend what watches it."""
    with progress_of(item.config).quiet_task(f"timing {item.name}") as say:

        def waiting(seconds: float) -> None:
            say(f"waiting for another process that times on this device ({seconds:.0f} s)")

        test = _FixtureMeasurement(item)
        with device_lock(test.place.device, waiting), run_of(item.config).watched(test.target) as w:
            warm_builder.end()
            yield w


class _FixtureMeasurement:
    """One test whose function pytest-benchmark times: rounds in, a record out.

    Args:
        item: The test.
        load: What the host did for others while it ran.
    """

    def __init__(self, item: pytest.Item, load: HostLoad | None = None) -> None:
        self._load = load or HostLoad()
        plan = plan_of(item)
        assert plan is not None  # checked by the caller
        assert plan.benchmark is not None
        self._item, self._settings = item, settings_of(item.config)
        engines = {engine.key.digest: engine for engine in state_of(item).engines}
        # With several engines nothing says which one is timed.
        self._engine: Engine | None = next(iter(engines.values())) if len(engines) == 1 else None
        run = run_of(item.config)
        self.target = self._engine.target if self._engine else run.embedded.target(CPU)
        self.place = run.place(self.target)
        self._environment = self.place.environment
        precision = self._engine.spec.precision if self._engine else ""
        self._limits = plan.limits(precision)
        self._work = plan.benchmark.batch or 1
        self._record = BenchmarkResult(
            test=item.nodeid,
            model=self._engine.model.path.name if self._engine else item.name,
            precision=precision,
            arch=self.target.arch,
            toolchain=str(self._engine.toolchain) if self._engine else f"Python {python_version()}",
            verdict=Verdict.NOT_MEASURED.value,
            fails=True,
            mode="end_to_end",
            batch=self._work,
        )

    def of(self, fixture: BenchmarkFixture, watch: DeviceWatch | None) -> BenchmarkResult | None:
        """Return what its rounds come to; None where there are none, as it was never called."""
        if not fixture.enabled:
            return self._disabled()
        if fixture.has_error or not fixture.stats:
            return None
        disturbed = watch() if watch else None
        mine = {"pytest-benchmark": version("pytest-benchmark"), **conditions_of(watch)}
        told = load_conditions("end_to_end", self._load)
        self._environment = {**self.place.environment, **mine, **told}
        file = location_of(self._item, self._settings.baseline_dir, self.place.target)
        entry = file.read() if self._limits.needs_baseline else None
        spec = self._spec(fixture.stats.options["timer"], file)
        record = replace(self._record, file=file.shown)
        different = entry.differs(mode=record.mode, spec=spec) if entry else None
        comparable = None if different else entry
        refused = refusal(self._item, self._settings, self._limits, record, entry, different, file)
        if refused is not None:
            return refused
        record = replace(record, structure=self._structure(comparable))
        if disturbed is not None:
            return self._inconclusive(record, disturbed, "run again when the device is free.")
        stored_calls = comparable.runs[-1].calls if comparable else 0
        seconds, averaged = fixture.stats.stats.data, fixture.stats.iterations
        taken = FixtureRounds(seconds, averaged, self._work, stored_calls)
        if not taken.taken or (comparable and taken.calls != stored_calls):
            return self._too_few(record, len(seconds), stored_calls)
        decision = None
        if comparable is not None and self._limits.relative:
            decision = self._decided(taken, comparable)
        kept = [
            discount_limit(self._kept(taken, name, limit), self._load.busy)
            for name, limit in self._limits.absolute.items()
        ]
        if self._settings.calibrate or self._settings.baseline_runs > 1:
            once = "pytest-benchmark times it once: it is recorded from one run, and not calibrated"
            state_of(self._item).remark(f"{record.subject}: {once}")
        if self._limits.needs_baseline:
            record = with_update(
                record,
                file,
                entry,
                self._entry(spec, taken),
                self._limits.relative,
                self._settings,
                recorded=self._is_recorded(entry),
                passed=decision is not None and decision.outcome == "passed",
            )
        if comparable is not None:
            then = comparable.runs[-1].recorded
            record = replace(record, recorded=then, differences=self._differences(comparable))
        strict = self._settings.inconclusive == "fail"
        found = with_figures(record, taken, comparable, decision, kept, strict=strict)
        found = self._all_tested(found, taken)
        cache = run_of(self._item.config).cache
        found = with_layer_changes(found, self._engine, comparable, cache)
        remark_on(found, state_of(self._item), comparable)
        fixture.extra_info.update(extra_info(found.to_dict()))
        return found

    def _all_tested(self, record: BenchmarkResult, taken: FixtureRounds) -> BenchmarkResult:
        told = taken.rounds().logs.keys()
        missing = left_out(self._limits, told)
        if missing:
            why = f"not tested: {named(missing)}: {self._hides(taken)}"
            state_of(self._item).remark(f"{record.subject}: {why}")

        def mend(name: str) -> tuple[str, str]:
            single = "time single calls: benchmark.pedantic(..., iterations=1)"
            return self._hides(taken), f"{single if taken.averaged > 1 else _MORE_TIME}."

        return all_tested(record, self._limits, told, mend)

    def _hides(self, taken: FixtureRounds) -> str:
        """Return what hides metrics from rounds that pytest-benchmark timed."""
        if taken.averaged > 1:
            return _AVERAGES.format(taken.averaged)
        return f"rounds of {taken.calls} calls are too short"

    def _disabled(self) -> BenchmarkResult:
        if is_disabled(self._item.config):
            return self._unmeasured(self._record, DISABLED, fails=False)
        return self._unmeasured(
            self._record,
            "pytest-benchmark times nothing under xdist",
            fails=self._settings.inconclusive == "fail",
            fix="run it without -n; or call trt_benchmark(inputs), which waits for its turn.",
        )

    def _too_few(self, record: BenchmarkResult, count: int, stored_calls: int) -> BenchmarkResult:
        needed = f"and a round of the baseline has {stored_calls}" if stored_calls else "too few"
        why = f"pytest-benchmark made {count} rounds, {needed}"
        return self._inconclusive(record, why, f"{_MORE_TIME}.")

    def _inconclusive(self, record: BenchmarkResult, why: str, fix: str) -> BenchmarkResult:
        # What is exact needs no rounds.
        verdict = Verdict(combined([*structure_outcomes(record), "inconclusive"]))
        fails = (
            verdict in (Verdict.FAILED, Verdict.REGRESSED) or self._settings.inconclusive == "fail"
        )
        record = replace(record, verdict=verdict.value)
        return self._unmeasured(record, why, fails=fails, fix=fix)

    def _unmeasured(
        self, record: BenchmarkResult, why: str, *, fails: bool, fix: str = ""
    ) -> BenchmarkResult:
        # A regression without rounds is one of the engine itself, not of its speed.
        regressed = record.verdict in (Verdict.FAILED, Verdict.REGRESSED)
        told = Verdict.INCONCLUSIVE.value if regressed else record.verdict
        why = f"speed is {told}: {why}"
        state_of(self._item).remark(f"{record.subject}: {why}{f': {fix}' if fix else ''}")
        return replace(record, fails=fails, why=why, fix=fix)

    def _spec(self, timer: Callable[[], float], file: BaselineLocation) -> Mapping[str, str]:
        clock = f"pytest-benchmark, {timer.__module__}.{timer.__qualname__}"
        spec = {"timer": clock, "batch": str(self._work)}
        if self._engine is None:
            return spec
        model = file.model_name(self._engine.model.path)
        return {"model": model, "precision": self._engine.spec.precision, **spec}

    def _decided(self, taken: FixtureRounds, entry: Entry) -> Decision:
        runs = [run for run in entry.runs if run.calls == taken.calls]
        mine = {k: v for k, v in self._environment.items() if k != HOST_BUSY}
        other_clocks = incomparable_reason(runs[-1].environment, mine)
        left = left_out(self._limits, taken.rounds().logs.keys())
        limits = {m: limit for m, limit in self._limits.relative.items() if m not in left}
        decision = decide(
            limits,
            [stored_rounds(run) for run in runs],
            Samplers(lambda _: taken.rounds()),
            checks=checks_of(self._item.session),
            mode="end_to_end",
            stored_comparable=other_clocks is None,
        )
        if other_clocks is not None:
            decision = explained(decision, other_clocks)
        # What it times is whatever the test calls: that the engine is the baseline's own excuses
        # nothing of it, so it is taken as under another environment.
        then = entry.engine.get("key")
        same = self._engine is None or then == self._engine.key.digest
        busy = self._load.busy
        return discount_host_noise(decision, same_engine=same, same_environment=False, busy=busy)

    def _kept(self, taken: FixtureRounds, name: Absolute, limit: float) -> AbsoluteLimitResult:
        latencies_ms, walls_s = taken.latencies()
        error = check_error(checks_of(self._item.session))
        kept = judge_absolute(
            name, limit, latencies_ms, walls_s, items_per_call=taken.items_per_call, error=error
        )
        if taken.averaged == 1 or name == "min_throughput":
            return kept
        return replace(kept, outcome="not testable", why=_AVERAGES.format(taken.averaged))

    def _is_recorded(self, entry: Entry | None) -> bool:
        new = entry is None and self._settings.missing_baseline == "record"
        return self._limits.needs_baseline and (self._settings.update or new)

    def _entry(self, spec: Mapping[str, str], taken: FixtureRounds) -> Entry:
        run = new_run(
            taken.rounds(FIRST_ROUNDS),
            toolchain=self._record.toolchain,
            environment=self._environment,
            reason=self._settings.update_reason,
        )
        rows = layer_rows(self._engine.facts.layers if self._engine else None)
        return Entry("end_to_end", spec, self._facts, (run,), layers=rows)

    def _structure(self, entry: Entry | None) -> tuple[StructuralLimitResult, ...]:
        # What is accepted is not held against what it replaces.
        stored = None if entry is None or self._settings.accepts_slower else entry.engine
        return structure_records(self._limits.structural, self._engine, stored, self._load.busy)

    def _differences(self, entry: Entry) -> tuple[str, ...]:
        toolchain, now = self._record.toolchain, self._environment
        steady = without_insignificant_drift(entry.runs[-1].environment, now)
        return tuple(differences(entry, self._facts, toolchain, steady))

    @property
    def _facts(self) -> Mapping[str, int | str]:
        return engine_facts(self._engine) if self._engine else {}
