"""Judge what the checks of a test found: once, in the call phase."""

from __future__ import annotations

import inspect
import os
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from mmap import mmap
from typing import TYPE_CHECKING

import pytest

from pytest_trt.accuracy.check import NOTHING_COMPARED
from pytest_trt.diagnostics import Diagnostic, PytestTrtWarning, Remedy
from pytest_trt.engine.build import Engine
from pytest_trt.plugin.planning.markers import ModelMarker, same_file
from pytest_trt.plugin.planning.marks import marks_of, same_marks
from pytest_trt.plugin.planning.plan import TestPlan
from pytest_trt.plugin.results.attached import checks_of, speeds_of, stored_results
from pytest_trt.plugin.results.failure import CheckFailure, PluginFailure, skips
from pytest_trt.plugin.results.left_out import left_out, restrictions
from pytest_trt.plugin.results.renames import of_all_tests
from pytest_trt.plugin.run import TrtRun
from pytest_trt.plugin.state import (
    TEST_KEY,
    TestState,
    override_of,
    plan_of,
    progress_of,
    run_of,
    state_of,
)
from pytest_trt.terms import Verdict
from pytest_trt.wording import count

if TYPE_CHECKING:
    from pytest_trt.benchmark.result import BenchmarkResult


_NO_ENGINE = replace(
    NOTHING_COMPARED,
    message="trt_consistency compared nothing: the test requested no engine",
)


_NOTHING_MEASURED = Diagnostic(
    "TRT160",
    "trt_benchmark measured nothing: the test never called it",
    {"check": "trt_benchmark"},
    remedy=Remedy(
        "Call the trt_benchmark fixture (`trt_benchmark(inputs)`) or pytest-benchmark's "
        "(`benchmark(function)`), or remove the marker."
    ),
)


_NEVER_JUDGED = Diagnostic(
    "TRT164",
    "another plugin ran the test without pytest_runtest_call, so its checks were never evaluated",
    {},
    remedy=Remedy("Disable that plugin:", ("pytest -p no:NAME",)),
)


_CAUGHT = Diagnostic(
    "TRT191",
    "the checks of the test failed, and a hook of the project or of another plugin caught that",
    {},
    remedy=Remedy(
        "Let the hook around the test, such as pytest_runtest_call of a conftest.py, raise the "
        "failure again. Mark a test that is expected to fail as xfail."
    ),
)

#: The most further runs that an error ended and that a failure names.
_SHOWN = 9

#: The title of the section with what a consistency check found.
_CONSISTENCY = "trt consistency"

#: Warnings on a baseline that is recorded; of a test that fails, none is.
_ON_RECORDED = ("TRT664", "TRT665", "TRT666", "TRT667")

#: Warnings on calibration data itself: of each engine, whatever its tests feed.
_ON_CALIBRATION = ("TRT240", "TRT241", "TRT243", "TRT245")


@contextmanager
def judged(item: pytest.Item) -> Iterator[None]:
    """Run a test, then fail it if one of its checks does not pass: once, with every reason."""
    __tracebackhide__ = True
    state = state_of(item)
    state.called = True
    try:
        try:
            yield
        finally:
            state.called, state.over = False, True
            for note in run_of(item.config).cache_notes():
                state.note(note)
            for result in (*checks_of(state), *speeds_of(state)):
                item.ihook.pytest_trt_result(item=item, result=result)
            for note in (*restrictions(state), *_of_all_runs(state)):
                state.note(note)
    except CheckFailure:  # complete already
        raise
    except (*skips(), pytest.exit.Exception) as error:
        # It has been measured: neither a skip nor the end of the run undoes a failure.
        if _failed_checks(state):
            if isinstance(error, pytest.exit.Exception):
                item.session.shouldstop = str(error) or "pytest.exit"
            _conclude(item, state)
        raise
    except (Exception, pytest.fail.Exception):
        _add_to_failure(item, state)
        raise
    if _failed_in_unittest(item):
        _add_to_failure(item, state)
        return
    _conclude(item, state)


def _of_all_runs(state: TestState) -> Iterator[Diagnostic]:
    """Yield inputs beyond what int8 engines were calibrated on, and errors that add up."""
    for check in state.checks.values():
        yield from check.warnings()
        yield from check.added_up()


def _add_to_failure(item: pytest.Item, state: TestState) -> None:
    """Show what the checks found next to the failure of a test that fails by itself."""
    _forget_recorded(state)
    _warn(item, state)
    for name, failed in _failed_checks(state).items():
        found = failed
        if name == _CONSISTENCY:
            found = tuple(_with_layers(item, state, failed))
        state.diagnostics += found
        item.add_report_section("call", name, "\n\n".join(map(str, found)))


def _failed_in_unittest(item: pytest.Item) -> bool:
    """Whether a unittest method failed: pytest sets its exceptions aside, and raises none."""
    found = getattr(item, "_excinfo", None) or []
    return any(not one.errisinstance(skips()) for one in found)


def _conclude(item: pytest.Item, state: TestState) -> None:
    __tracebackhide__ = True
    failures = _judge(item, state)
    for note in left_out(item, state):
        state.note(note)
    if failures:
        _forget_recorded(state)
        failures = _with_layers(item, state, failures)
    else:
        for note in _bad_layers(item, state):
            state.note(note)
    raised = _warn(item, state)
    failures += raised
    if failures:
        state.failed_by_checks, state.diagnostics = True, tuple(failures)
        _forget_skips(item)
        shown = {one.headline for one in raised}
        notes = [note for note in state.notes if note.headline not in shown]
        raise CheckFailure(*failures, notes=notes)


def _with_layers(
    item: pytest.Item, state: TestState, failures: Sequence[Diagnostic]
) -> list[Diagnostic]:
    """Return failures with what was found of the layers of their engines."""
    searched = _bad_layers(item, state)
    if not searched:
        return [*failures]
    from pytest_trt.precision.explain import with_one_fix

    return with_one_fix(failures, searched)


def _bad_layers(item: pytest.Item, state: TestState) -> list[Diagnostic]:
    """Search the engines whose runs were retained for the layer that is to blame."""
    searches, state.searches = state.searches, []
    if not searches:
        return []
    lock = run_of(item.config).lock
    if not lock.acquire(blocking=False):
        return []  # a thread still runs an engine, maybe until this test has ended
    try:
        title = "searching for the first bad layer"
        with progress_of(item.config).task(title) as show:

            def say(message: str) -> None:
                show(f"{title}: {message}")  # a line may be shown alone

            return [one for search in searches for one in search(say)]
    finally:
        lock.release()


def _forget_skips(item: pytest.Item) -> None:
    """Let no skip take the place of a failure: pytest sets a unittest method's aside as a list."""
    found = getattr(item, "_excinfo", None) or []
    found[:] = [one for one in found if not one.errisinstance(skips())]


@contextmanager
def failing_in_setup(item: pytest.Item) -> Iterator[None]:
    """Fail a setup that skips the test after it ran the engine, and the outputs were wrong."""
    __tracebackhide__ = True
    # Made here, not when it is first needed: that may be in a process that the setup forks.
    state, plan = state_of(item), plan_of(item)
    if plan is not None and plan.consistency is not None:
        state.elsewhere = mmap(-1, 1)
    try:
        yield
    except skips():
        if _failed_checks(state):
            _conclude(item, state)
        raise


def _forget_recorded(state: TestState) -> None:
    """Drop what notes say of a baseline, which a test that fails does not record."""
    state.notes = [note for note in state.notes if note.code not in _ON_RECORDED]


def _judge(item: pytest.Item, state: TestState) -> list[Diagnostic]:
    """Return why the checks of a test fail it: every check that its markers ask for."""
    found: list[Diagnostic] = []
    plan = plan_of(item)
    if not same_marks(marks_of(item), plan.marks if plan else ()):
        found.append(_marked_late(item))
    if plan is None:
        return found
    if plan.consistency is not None:
        found += _judge_consistency(item, plan, state)
    if plan.benchmark is not None:
        found += (_NOTHING_MEASURED,) if state.speed is None else _errors(state.speed)
        if state.speed is not None and not found:
            found += _unmeasured(item, plan, state)
    if state.metrics is not None:
        for one in state.metrics.diagnostics():
            if one.severity == "error":
                found.append(one)
            else:
                state.note(one)
    if state.proofs and not found:
        from pytest_trt.plugin.selftest import diagnostics_of

        found += diagnostics_of(state.proofs)
    return found


def _judge_consistency(item: pytest.Item, plan: TestPlan, state: TestState) -> list[Diagnostic]:
    """Return why the accuracy check fails: outputs, or that something named was not compared."""
    compared = [engine for check in state.checks.values() for engine in check.engines]
    found = [one for check in state.checks.values() for one in check.diagnostics() if check.engines]
    if state.uncompared:
        found.append(_not_compared(state))
    if _ran_elsewhere(state):
        found.append(_unjudged(item.nodeid, "in a process that the test forked"))
    if item.nodeid in run_of(item.config).active:
        where = "in a thread that was still running when the test ended"
        found.append(_unjudged(item.nodeid, where))
    if state.answers is not None:
        for one in state.answers.diagnostics(stored_results(state)):
            if one.severity == "error":
                found.append(one)
            else:
                state.note(one)
    if not compared:
        return found or [NOTHING_COMPARED if state.checks or state.engines else _NO_ENGINE]
    return found + list(_uncompared(plan, state, run_of(item.config)))


def _uncompared(plan: TestPlan, state: TestState, run: TrtRun) -> Iterator[Diagnostic]:
    """Yield what the markers name that no run of the test compared."""
    if plan.model is None:
        return
    own, others = [], []
    for key, check in state.checks.items():
        for engine in check.engines:
            precision = engine.spec.precision
            differing = list(_differing(plan.model, plan, engine, run))
            if key in state.other_references:
                differing.append("reference=")
            if same_file(engine.model.path, plan.model.model) and not differing:
                own.append(precision)
            but = f" with other {' and '.join(differing)}" if differing else ""
            others.append(f"{engine.model.path.name} {precision}{but}")
    missing = [precision for precision in plan.named if precision not in own]
    if missing or not own:
        which = f"no {' and no '.join(missing)} engine" if missing else "no engine"
        ran = ", ".join(dict.fromkeys(others))
        yield Diagnostic(
            "TRT160",
            f"trt_consistency compared {which} of {plan.model.name}, which the markers "
            f"name: the test ran {ran}",
            {"check": "trt_consistency", "precisions": missing},
            remedy=Remedy("Run the engine that the markers name, or change the markers."),
        )


def _differing(model: ModelMarker, plan: TestPlan, engine: Engine, run: TrtRun) -> Iterator[str]:
    """Yield what the markers give of an engine of their model, and this one has not."""
    if not same_file(engine.model.path, model.model):
        return
    arch, precision = engine.target.arch, engine.spec.precision
    backend = run.backend(arch).name
    named = model.plan and model.plan.path(
        model.path, precision=precision, arch=arch, backend=backend
    )
    if named != (engine.plan if engine.finished else None):
        yield "plan="
    if engine.finished:  # profiles and options are its own
        return
    if plan.profiles and engine.spec.profiles != plan.profiles:
        yield "profiles="
    wanted = model.spec(backend, precision, plan.profiles)
    for name in ("builder_options", "keep_fp32"):
        given = getattr(wanted, name)
        if given and getattr(engine.spec, name) != given:
            yield f"{name}="


def _not_compared(state: TestState) -> Diagnostic:
    """Say which runs an error ended before they were compared, and which error."""
    first, *others = state.uncompared
    more = [f"and {len(others) - _SHOWN} more"] if len(others) > _SHOWN else []
    return Diagnostic(
        "TRT168",
        f"the test caught an error, so a run was not compared: {first}",
        {"check": "trt_consistency", "runs": len(state.uncompared)},
        details=(*others[:_SHOWN], *more),
        remedy=Remedy("Do not catch the error, or expect it in a test without trt_consistency."),
    )


def _ran_elsewhere(state: TestState) -> bool:
    """Whether the engine ran in a process that the test forked, since this was last asked."""
    ran = state.elsewhere is not None and state.elsewhere[0] == 1
    if ran and state.elsewhere is not None:
        state.elsewhere[0] = 0
    return ran


def _unmeasured(item: pytest.Item, plan: TestPlan, state: TestState) -> Iterator[Diagnostic]:
    """Yield that the speed check measured no engine that the markers or the fixtures name."""
    if plan.model is None:
        return
    own = [
        one.spec.precision
        for one in state.engines
        if one.model.path == plan.model.model and one.key.digest in state.timed
    ]
    missing = [precision for precision in plan.named if precision not in own]
    if missing or (not own and "trt_session" in getattr(item, "fixturenames", ())):
        precisions = f"no {' and no '.join(missing)}" if missing else "no"
        which = f"{precisions} engine of {plan.model.name}"
        yield Diagnostic(
            "TRT160",
            f"trt_benchmark measured {which}, which the markers name",
            {"check": "trt_benchmark", "precisions": missing},
            remedy=Remedy("Time the engine that the markers name, or change the markers."),
        )


def _unjudged(test: str, where: str) -> Diagnostic:
    return Diagnostic(
        "TRT161",
        f"trt_session.run was called {where}: its result cannot fail the test",
        {"call": "trt_session.run", "test": test},
        remedy=Remedy("Call it in the test itself, and join its threads before the test returns."),
    )


def _marked_late(item: pytest.Item) -> Diagnostic:
    return Diagnostic(
        "TRT155",
        "a trt_ marker was added after the test was collected, too late to take effect",
        {"test": item.nodeid},
        remedy=Remedy("write it in the test file, or add it in pytest_collection_modifyitems."),
    )


def _warn(item: pytest.Item, state: TestState) -> list[Diagnostic]:
    """Issue warnings; return those that a filter turns into errors."""
    errors = []
    for note in state.notes:
        if note.severity == "warning":
            path, line = _place_of(item, note)
            shown = of_all_tests(note) if note.code == "TRT677" else note
            try:
                warnings.warn_explicit(PytestTrtWarning(str(shown)), None, path, line)
            except PytestTrtWarning:  # for -W error::pytest_trt.PytestTrtWarning
                errors.append(replace(note, severity="error"))
            else:
                # TRT677 is in "what to do".
                if note.code != "TRT677" and _is_hidden(item, note.headline):
                    state.hidden_warnings.append(note.headline)
    return errors


def _is_hidden(item: pytest.Item, text: str) -> bool:
    """Whether a filter that is there for other warnings hides one, or pytest shows none at all.

    `ignore::UserWarning` is such a filter: an inconclusive result would be shown nowhere with -q.
    One that names `PytestTrtWarning` or the message hides it on purpose.
    """
    if not item.config.pluginmanager.hasplugin("warnings"):
        return True
    for action, message, category, module, _ in warnings.filters:
        if module is None and issubclass(PytestTrtWarning, category):
            if message is None:
                return action == "ignore" and category is not PytestTrtWarning
            if message.match(text):
                return False
    return False


def _place_of(item: pytest.Item, note: Diagnostic) -> tuple[str, int]:
    """Return file and line of a warning: the fixture with the data that is wrong, or the test.

    pytest shows warnings with one text and place once, with the tests that they are of.
    """
    if note.code == "TRT677":  # one command is for the tests of all files
        return os.fspath(item.config.rootpath), 1
    function = override_of(item, "trt_calibration") if note.code in _ON_CALIBRATION else None
    code = getattr(inspect.unwrap(function), "__code__", None) if function is not None else None
    if code is not None:
        # Its first statement: its first line is that of the decorator, which pytest would show.
        lines = [line for *_, line in code.co_lines() if line and line > code.co_firstlineno]
        return code.co_filename, min(lines, default=code.co_firstlineno)
    path, line, _ = item.reportinfo()
    return os.fspath(path), (line or 0) + 1


def _errors(result: BenchmarkResult) -> tuple[Diagnostic, ...]:
    return tuple(one for one in result.diagnostics if one.severity == "error")


def _failed_checks(state: TestState) -> dict[str, tuple[Diagnostic, ...]]:
    """Return why each check that has found something wrong fails, by the title of its section."""
    found: dict[str, tuple[Diagnostic, ...]] = {}
    failed = [check for check in state.checks.values() if check.has_failed]
    if failed:
        found[_CONSISTENCY] = tuple(one for check in failed for one in check.diagnostics())
    if state.speed is not None and state.speed.failed:
        found["trt benchmark"] = _errors(state.speed)
    if state.metrics is not None and any(
        one.verdict is Verdict.FAILED for one in state.metrics.results
    ):
        errors = [one for one in state.metrics.diagnostics() if one.severity == "error"]
        found["trt metrics"] = tuple(errors)
    return found


@contextmanager
def refusing_late_runs(item: pytest.Item) -> Iterator[None]:
    """Fail a teardown during which the engine ran: no check judges that run."""
    __tracebackhide__ = True
    state = item.stash[TEST_KEY]
    state.over = True  # also where the test never began
    state.references.clear()  # golden outputs may be large, and pytest holds all tests
    yield
    late = take_late_runs(run_of(item.config), item.nodeid)
    if _ran_elsewhere(state):
        late.append(_unjudged(item.nodeid, "in a process that the test forked"))
    if late:
        raise PluginFailure(*late)


def take_late_runs(run: TrtRun, test: str | None = None) -> list[Diagnostic]:
    """Return refused runs that were not reported yet, of one test or of all of them."""
    late = [one for one in run.late_runs if test in (None, one.facts["test"])]
    run.late_runs[:] = [one for one in run.late_runs if one not in late]
    return late


def runs_out_of_time(run: TrtRun) -> list[Diagnostic]:
    """Return, at the end of a run, what no test reported of threads that outlived their tests."""
    where = "in a thread that was still running when pytest ended"
    late = [*take_late_runs(run), *(_unjudged(test, where) for test in run.active)]
    return [replace(one, details=(f"in {one.facts['test']}",)) for one in late]


def begin_attempt(item: pytest.Item) -> None:
    """Give a test that is run again a fresh state, with a note of how earlier attempts failed."""
    last = item.stash[TEST_KEY]
    for one in last.properties:
        item.user_properties.remove(one)
    state = item.stash[TEST_KEY] = TestState(last.attempt + 1)
    failures = [(last.attempt, one.code, one.message) for one in last.diagnostics]
    if last.failure and not failures:
        failures = [(last.attempt, "", last.failure)]
    state.failed_attempts = failed = last.failed_attempts + failures
    if failed:
        attempt, code, message = failed[0]
        coded = f" [{code}]" if code else ""
        state.note(
            Diagnostic(
                "TRT172",
                f"attempt {attempt} of {item.nodeid} failed before attempt {state.attempt}: "
                f"{message}{coded}",
                {
                    "test": item.nodeid,
                    "attempt": state.attempt,
                    "failed": [
                        {"attempt": number, "code": code, "message": message}
                        for number, code, message in failed
                    ],
                },
                severity="note",
            )
        )


def passed_by_hook(tests: Sequence[str]) -> Diagnostic:
    """Return the failure of a run in which a hook changed the reports of failed tests."""
    more = [f"and {len(tests) - _SHOWN} more"] if len(tests) > _SHOWN else []
    return Diagnostic(
        "TRT191",
        f"the checks of {count(len(tests), 'test')} failed, and a hook of the project or of "
        "another plugin changed the report to passed",
        {"tests": [*tests]},
        (*tests[:_SHOWN], *more),
        Remedy("Mark a test that is expected to fail as xfail, instead of changing its report."),
    )


def fail_if_unjudged(item: pytest.Item, report: pytest.TestReport) -> None:
    """Fail a test that passed outside the hook in which its checks are judged, or despite them."""
    plan, state = plan_of(item), state_of(item)
    if report.when != "call" or not report.passed or state.called:
        return
    expected = hasattr(report, "wasxfail")
    if state.over and not expected and any(one.severity == "error" for one in state.diagnostics):
        state.diagnostics = (_CAUGHT, *state.diagnostics)
    elif plan is not None and plan.checks and not state.over:
        state.diagnostics = (_NEVER_JUDGED,)
    else:
        return
    state.failed_by_checks = True
    report.outcome, report.longrepr = "failed", "\n\n".join(map(str, state.diagnostics))
