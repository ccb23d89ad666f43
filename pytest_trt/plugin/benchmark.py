"""The benchmark of one test: `trt_benchmark(inputs)`, or pytest-benchmark's fixture."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import replace
from platform import python_version
from typing import TYPE_CHECKING, Any

import pytest

from pytest_trt.backends.devices.watch import DeviceWatch
from pytest_trt.baseline.location import BaselineLocation
from pytest_trt.benchmark import messages
from pytest_trt.benchmark.conditions import conditions_of, device_lock
from pytest_trt.benchmark.engine_source import EngineSource, subject_of
from pytest_trt.benchmark.evidence import BenchmarkSettings, Subject
from pytest_trt.benchmark.host import HostLoad
from pytest_trt.benchmark.pipeline import Pipeline
from pytest_trt.benchmark.recorded_source import RecordedSource
from pytest_trt.benchmark.result import BenchmarkResult
from pytest_trt.benchmark.sampling import batch_of
from pytest_trt.diagnostics import (
    ConfigurationError,
    Diagnostic,
    PytestTrtError,
    Remedy,
    git_restore_commands,
)
from pytest_trt.engine.build import Engine
from pytest_trt.engine.session import Session, calling_line
from pytest_trt.engine.spec import Target
from pytest_trt.escaping import terminal
from pytest_trt.plugin.models.subject import ModelUnderTest
from pytest_trt.plugin.options.table import ENGINE_FIELDS, given_flags, is_disabled
from pytest_trt.plugin.planning.markers import BenchmarkMarker
from pytest_trt.plugin.planning.opponents import nothing_to_compare
from pytest_trt.plugin.planning.plan import TestPlan
from pytest_trt.plugin.pytest_benchmark import DISABLED, extra_info
from pytest_trt.plugin.results.failure import skips
from pytest_trt.plugin.results.pinning import baseline_location
from pytest_trt.plugin.results.renames import with_renames
from pytest_trt.plugin.state import (
    CHECKS_KEY,
    TestState,
    plan_of,
    progress_of,
    run_of,
    settings_of,
    state_of,
    test_argument,
)
from pytest_trt.statistics.limits import Limits
from pytest_trt.tensors.spec import Tensors
from pytest_trt.terms import CPU
from pytest_trt.workers.warm import warm_builder

if TYPE_CHECKING:
    from pytest_benchmark.fixture import BenchmarkFixture


def _take(item: pytest.Item, result: BenchmarkResult) -> BenchmarkResult:
    """Store the result of a test, and note what does not fail it.

    Raises:
        pytest.skip.Exception: The test is to be skipped for want of a baseline.
    """
    state = state_of(item)
    if result.skipped:
        state.skipped = result.skipped
        pytest.skip(terminal(result.skipped))
    state.speed = result
    for one in result.diagnostics:
        if one.severity != "error":
            state.note(one)
    return result


class BenchmarkCheck:
    """The `trt_benchmark` fixture: call it once with the inputs.

    Args:
        subject: The model under test.
        session: Its engine.
        marker: The test's markers.
    """

    def __init__(self, subject: ModelUnderTest, session: Session, marker: BenchmarkMarker) -> None:
        self._subject, self._session, self._marker = subject, session, marker
        self._called = False

    def __call__(self, inputs: Tensors) -> BenchmarkResult:
        """Measure the engine on these inputs, and judge it by the limits of the test's markers.

        A test whose limits are exceeded fails at its end, so nothing has to be asserted.

        Args:
            inputs: Every input of the model by name, as NumPy arrays in the model's dtypes.

        Returns:
            Figures in milliseconds and batch items per second, and what each limit came to.

        Raises:
            ConfigurationError: It was called before in this test, or after the test.
            InputError: The inputs do not fit the model or its profiles.
            EngineRunError: The engine failed.
            BaselineError: The baseline file cannot be read.
        """
        __tracebackhide__ = True
        try:
            item = self._subject.request.node
            self._subject.refuse_late_use(state_of(item), "trt_benchmark")
            if self._called:
                error = ConfigurationError(
                    "trt_benchmark was called twice in one test, but each test has one baseline",
                    fix="Split the test into one test per call, or parametrise it.",
                    code="TRT163",
                )
                speed = state_of(item).speed
                if speed is not None and not speed.failed:  # a test that catches it fails too
                    state_of(item).speed = replace(_with(speed, error.diagnostic), staged=None)
                raise error
            state_of(item).timed_at = calling_line()
            inputs = self._session.check(inputs)
            self._called = True
            self._subject.noting(state_of(item))(self._session.engine, inputs, {})
            if is_disabled(item.config):
                return _take(item, self._untimed(inputs, _disabled_by_option))
            limits, others, same = self._opponents()
            if not limits.can_fail:
                return _take(item, self._compared_with_itself(inputs, same))
            with progress_of(item.config).quiet_task(f"timing {item.name}") as self._say:
                result = self._measured(item, inputs, limits, others)
            if same:
                result = _with(result, messages.same_engine(result, same))
            return _take(item, result)
        except PytestTrtError as error:
            raise error.with_traceback(None) from None

    def _measured(
        self, item: pytest.Item, inputs: Tensors, limits: Limits, others: Mapping[str, Engine]
    ) -> BenchmarkResult:
        engine, run, marker = self._session.engine, self._subject.run, self._marker
        settings = benchmark_settings(item.session)
        location = baseline_location(item, run.place(engine.target).target)
        with self._subject.loaded(engine) as session:
            subject = subject_of(
                engine,
                session,
                inputs,
                test=item.nodeid,
                test_argument=test_argument(item),
                mode=marker.mode,
                batch=marker.batch or batch_of(engine.model.inputs, inputs),
                threads=run.settings.threads,
                restore=git_restore_commands(engine.model.path),
                model_name=location.model_name(engine.model.path),
            )
            source = EngineSource(
                run,
                engine,
                session,
                inputs,
                subject,
                settings,
                wanted_mode=marker.mode,
                file=location.path,
                say=self._say,
            )
            opponents = [source.opponent(name, one) for name, one in others.items()]
            pipeline = Pipeline(source, limits, settings, location, opponents)
            result = with_renames(item, pipeline.run(), subject, location)
        if run.settings.selftest and result.calls:
            from pytest_trt.plugin.selftest import slowdowns_of, slower_than_opponents

            state_of(item).proofs += [
                *slowdowns_of(limits, source, pipeline.entry, settings.checks),
                *slower_than_opponents(result, opponents, pipeline.entry),
            ]
        return result

    def _opponents(self) -> tuple[Limits, dict[str, Engine], list[str]]:
        """Build the engines that the test compares with.

        Returns:
            The limits without opponents that are the engine under test, the engines of the others,
            and the names of those that are.
        """
        plan, engine = self._subject.plan, self._session.engine
        built, precision = self._subject.opponents(engine), engine.spec.precision
        limits = plan.limits(precision)
        same = [name for name, one in built.items() if one.key.digest == engine.key.digest]
        others = {name: one for name, one in built.items() if name not in same}
        return limits.without(same), others, [*plan.same_engine(precision), *same]

    def _compared_with_itself(self, inputs: Tensors, same: Sequence[str]) -> BenchmarkResult:
        """Skip a test without any other engine to compare with, unless it checks outputs too."""
        if self._subject.plan.consistency is None:
            self._subject.skip(nothing_to_compare(same).message)
        return self._untimed(inputs, lambda result: messages.same_engine(result, same))

    def _untimed(
        self, inputs: Tensors, why: Callable[[BenchmarkResult], Diagnostic]
    ) -> BenchmarkResult:
        """Run the engine once, and return the result of a test that is not to be timed."""
        engine, item = self._session.engine, self._subject.request.node
        with self._subject.loaded(engine) as session:
            session.run(inputs)
            subject = subject_of(
                engine,
                session,
                inputs,
                test=item.nodeid,
                test_argument=test_argument(item),
                mode=self._marker.mode,
                batch=self._marker.batch or batch_of(engine.model.inputs, inputs),
                threads=0,
            )
        result = subject.result()
        return _with(result, why(result))


def _disabled_by_option(result: BenchmarkResult) -> Diagnostic:
    return messages.not_timed(result, DISABLED, "note", Remedy())


def _with(result: BenchmarkResult, found: Diagnostic) -> BenchmarkResult:
    return replace(result, diagnostics=(*result.diagnostics, found))


def benchmark_settings(session: pytest.Session) -> BenchmarkSettings:
    """Return the options that decide how tests are measured and judged."""
    settings = settings_of(session.config)
    return BenchmarkSettings(
        checks=checks_of(session),
        time_s=settings.benchmark_time,
        strict=settings.inconclusive == "fail",
        missing_baseline=settings.missing_baseline,
        missing_reason=_why_required(session.config),
        update=settings.update,
        update_reason=settings.update_reason,
        update_options=tuple(given_flags(session.config, _UPDATING)),
        update_anyway=settings.update_anyway,
        calibrate=settings.calibrate,
        calibrate_runs=settings.calibrate_runs,
        baseline_runs=settings.baseline_runs,
    )


#: Options without which another update would measure, or store, something else.
_UPDATING = (*ENGINE_FIELDS, "benchmark_time", "baseline_runs", "update_reason")


def _why_required(config: pytest.Config) -> str:
    from pytest_trt.plugin.options.values import missing_baseline

    if settings_of(config).selftest:
        return "--trt-selftest compares with stored baselines"
    if missing_baseline("") == "fail":
        return "not recorded automatically, because CI is set"
    return "required by --trt-missing-baseline=fail"


def checks_of(session: pytest.Session) -> int:
    """Return how many limits the tests of a run have in all; counted once.

    They share the error budget, so a test that is run alone takes the count of the whole run from
    `--trt-checks`. Under xdist every worker collects all tests, so all of them count the same.
    """
    known = session.config.stash.get(CHECKS_KEY, None)
    if known is None:
        given = settings_of(session.config).checks
        known = session.config.stash[CHECKS_KEY] = given or sum(map(_count, session.items))
    return known


def _count(item: pytest.Item) -> int:
    plan = plan_of(item)
    if plan is None or plan.benchmark is None or plan.wrong:
        return 0
    return plan.limits(plan.precision).measured


# --- pytest-benchmark's fixture


@contextmanager
def run_and_judge(item: pytest.Item, fixture: BenchmarkFixture) -> Iterator[None]:
    """Run a test alone on its device, then judge what pytest-benchmark timed.

    Raises:
        BaselineError: The baseline file cannot be read.
    """
    __tracebackhide__ = True
    try:
        with _alone(item) if fixture.enabled else nullcontext() as watch:
            session = getattr(item, "funcargs", {}).get("trt_session")
            if fixture.enabled and isinstance(session, Session):
                session.load()  # pytest-benchmark derives the number of calls from the first one
            meter = run_of(item.config).host.meter()
            _note_what_is_timed(state_of(item), fixture)
            try:
                with meter.running():
                    yield
            except skips():  # it has been timed all the same
                _judge_recorded(item, fixture, meter.load, watch)
                raise
            _judge_recorded(item, fixture, meter.load, watch)
    except PytestTrtError as error:
        raise error.with_traceback(None) from None


def _note_what_is_timed(state: TestState, fixture: BenchmarkFixture) -> None:
    """Let only what the fixture times count as measured: a test may run the engine besides.

    A fixture that times nothing runs its function all the same.
    """
    make_runner = getattr(fixture, "_make_runner", None)
    if not fixture.enabled or make_runner is None:
        return
    state.timing = False
    if not fixture.stats:  # otherwise another fixture has called it
        state.timed.clear()

    def make_noting_runner(*function: Any) -> Callable[..., Any]:
        runner = make_runner(*function)

        def timed(*loops: Any) -> Any:
            state.timing = True
            try:
                return runner(*loops)
            finally:
                state.timing = False

        return timed

    fixture._make_runner = make_noting_runner


@contextmanager
def _alone(item: pytest.Item) -> Iterator[DeviceWatch | None]:
    """Hold the device of a test, as any benchmark does, and watch it."""
    run = run_of(item.config)
    with progress_of(item.config).quiet_task(f"timing {item.name}") as say:
        target = _target_of(item)
        with device_lock(run.place(target).device, say), run.watched(target) as watch:
            warm_builder.end()
            yield watch


def _judge_recorded(
    item: pytest.Item,
    fixture: BenchmarkFixture,
    load: HostLoad,
    watch: DeviceWatch | None,
) -> None:
    """Judge the rounds of a fixture; nothing where it was never called."""
    plan, run, engine = plan_of(item), run_of(item.config), _engine_of(item)
    assert plan is not None  # checked by the caller
    place = run.place(_target_of(item))
    location = baseline_location(item, place.target)
    subject = _recorded_subject(item, fixture, plan, engine, location)
    settings = benchmark_settings(item.session)
    if not fixture.enabled:
        _take(item, _disabled(item.config, subject, settings))
        return
    if fixture.has_error or not fixture.stats:
        return
    unresolved = [one for one in fixture.stats.stats.data if not 0 < one < math.inf]
    if unresolved:
        _take(item, _unresolved(subject, unresolved[0]))
        return
    disturbed_by = watch() if watch else None
    source = RecordedSource(
        run,
        subject,
        settings,
        seconds=fixture.stats.stats.data,
        averaged=fixture.stats.iterations,
        load=load,
        conditions=conditions_of(watch),
        environment=place.environment,
        disturbed_by=disturbed_by,
    )
    several = engine is None and bool(_timed(state_of(item)))
    limits = plan.limits(plan.precision if several else subject.precision)
    measured = Pipeline(source, limits, settings, location).run()
    result = with_renames(item, measured, subject, location)
    _take(item, result)
    if result.calls:
        fixture.extra_info.update(extra_info(result.to_dict()))


def _engine_of(item: pytest.Item) -> Engine | None:
    """Return the engine that a test times, else the only one that it has; None for several."""
    engines = _timed(state_of(item)) or {one.key.digest: one for one in state_of(item).engines}
    return next(iter(engines.values())) if len(engines) == 1 else None


def _target_of(item: pytest.Item) -> Target:
    """Return what the engines of a test run on; the CPU where it has none, or on several."""
    targets = [one.target for one in state_of(item).engines]
    if targets and targets.count(targets[0]) == len(targets):
        return targets[0]
    return run_of(item.config).embedded.target(CPU)


def _timed(state: TestState) -> dict[str, Engine]:
    """Return the engines that a test timed, by key."""
    return {one.key.digest: one for one in state.engines if one.key.digest in state.timed}


def _recorded_subject(
    item: pytest.Item,
    fixture: BenchmarkFixture,
    plan: TestPlan,
    engine: Engine | None,
    location: BaselineLocation,
) -> Subject:
    batch = (plan.benchmark and plan.benchmark.batch) or 1
    spec = {"batch": str(batch)}
    if fixture.enabled and fixture.stats:
        timer = fixture.stats.options["timer"]
        clock = f"pytest-benchmark, {timer.__module__}.{timer.__qualname__}"
        spec = {"timer": clock, **spec}
    state = state_of(item)
    if engine is not None:
        model = location.model_name(engine.model.path)
        spec = {"model": model, "precision": engine.spec.precision, **spec}
        shapes = state.timed.get(engine.key.digest)
        if shapes:
            spec["shapes"] = "; ".join(sorted(shapes))
    elif timed := _timed(state):
        listed = (
            f"{location.model_name(one.model.path)} {one.spec.precision} {shapes}"
            for key, one in timed.items()
            for shapes in state.timed[key]
        )
        spec["engines"] = "; ".join(sorted(listed))
    return Subject(
        test=item.nodeid,
        test_argument=test_argument(item),
        name=engine.model.path.name if engine else item.name,
        arch=engine.target.arch if engine else CPU,
        toolchain=str(engine.toolchain) if engine else f"Python {python_version()}",
        mode="end_to_end",
        batch=batch,
        spec=spec,
        engine=engine,
        restore=git_restore_commands(engine.model.path) if engine else (),
    )


def _unresolved(subject: Subject, call_s: float) -> BenchmarkResult:
    result = subject.result()
    why = f"pytest-benchmark's timer reported that a call took {call_s:g} s"
    remedy = Remedy(
        "Use a timer that resolves a call, such as the default (--benchmark-timer), or time several"
        " calls at once: benchmark.pedantic(..., iterations=100)."
    )
    return _with(result, messages.not_timed(result, why, "error", remedy))


def _disabled(
    config: pytest.Config, subject: Subject, settings: BenchmarkSettings
) -> BenchmarkResult:
    result = subject.result()
    if is_disabled(config):
        return _with(result, _disabled_by_option(result))
    # Where a baseline is required, as in CI, a check that can never fail is an error.
    fails = settings.strict or settings.update or settings.missing_baseline == "fail"
    found = messages.not_timed(
        result,
        "pytest-benchmark does not time tests under pytest-xdist",
        "error" if fails else "warning",
        Remedy(
            "Run it without -n, or call trt_benchmark(inputs), which waits for the device. To time "
            "nothing in this run, give --benchmark-disable."
        ),
    )
    return _with(result, found)
