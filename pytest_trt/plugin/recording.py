"""Tests that commands run: the inputs and outputs of their engines are retained.

`pytest-trt tune` and `suggest tolerance` run pytest in their own process with a `Recorder`. Checks
that fail do not fail the tests then: what they found is why the command was called.
"""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import redirect_stdout
from dataclasses import dataclass, field
from importlib.metadata import entry_points
from typing import TYPE_CHECKING, TypeAlias

import pytest

from pytest_trt.diagnostics import ConfigurationError
from pytest_trt.plugin.results.failure import CheckFailure
from pytest_trt.plugin.state import RECORDER_KEY, state_of

if TYPE_CHECKING:
    from pytest_trt.accuracy.check import ConsistencyCheck
    from pytest_trt.engine.build import Engine
    from pytest_trt.plugin.models.loadable import LoadableModel
    from pytest_trt.tensors.spec import Tensors

#: What is no part of the answer, and pytest's warning that this package was imported before it.
_QUIET = (
    *("--no-header", "--trt-localize=never", "-p", "no:cacheprovider"),
    *("-o", "trt_report="),  # those of the last run of all tests stay
    *("-W", "ignore:Module already imported:pytest.PytestAssertRewriteWarning"),
)

#: What to do about tests that failed by themselves, or were skipped.
_FIX = "Name a test that passes, or that its accuracy check alone fails."

#: What an observer of runs is called with: the engine, its inputs, its outputs, the line that ran.
_Observe: TypeAlias = "Callable[[Engine, Tensors, Tensors, str], None]"


@dataclass(frozen=True, slots=True)
class Recorded:
    """One run of an engine in a test.

    Attributes:
        model: How engines of its model are built and run in the test.
        check: The check that judged it.
        engine: What ran.
        inputs: Its inputs; the test may have changed them since.
        outputs: What it returned.
        calibration: Gives the inputs that int8 engines are calibrated on.
    """

    model: LoadableModel
    check: ConsistencyCheck
    engine: Engine
    inputs: Tensors
    outputs: Tensors
    calibration: Callable[[], object]


@dataclass(eq=False)  # pytest hashes its plugins
class Recorder:
    """A plugin that passes on what tests run.

    Attributes:
        on_run: Receives every run of an engine, while the test runs.
        on_end: Called with each test when it has run, while its fixtures still exist.
        tests: Node ids of the tests that ran.
        errors: Tests that failed by themselves or were skipped, and why.
        failed: Those of them that failed, of which only a part may have run.
        interrupted: Whether Ctrl-C ended the run.
    """

    on_run: Callable[[Recorded], None]
    on_end: Callable[[pytest.Item], None] = lambda item: None
    tests: list[str] = field(default_factory=list)
    errors: dict[str, str] = field(default_factory=dict)
    failed: dict[str, str] = field(default_factory=dict)
    interrupted: bool = False

    def pytest_keyboard_interrupt(self, excinfo: pytest.ExceptionInfo[BaseException]) -> None:
        """Note Ctrl-C; pytest ends runs in which something cannot be collected likewise."""
        self.interrupted = excinfo.type is KeyboardInterrupt

    def pytest_configure(self, config: pytest.Config) -> None:
        """Let the plugin find this recorder."""
        config.stash[RECORDER_KEY] = self

    def observing(
        self,
        model: LoadableModel,
        check: ConsistencyCheck,
        calibration: Callable[[], object],
        observe: _Observe,
    ) -> _Observe:
        """Return an observer that also passes on each run."""

        def record(engine: Engine, inputs: Tensors, outputs: Tensors, where: str) -> None:
            __tracebackhide__ = True
            observe(engine, inputs, outputs, where)
            self.on_run(Recorded(model, check, engine, inputs, outputs, calibration))

        return record

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_runtest_call(self, item: pytest.Item) -> Generator[None, object, object]:
        """Ask about a test when it has run, unless it failed by itself."""
        result = None
        try:
            result = yield
        except CheckFailure:
            state = state_of(item)  # as if nothing had been found: a hook must not hide a failure
            state.diagnostics, state.failed_by_checks = (), False
        self.tests.append(item.nodeid)
        self.on_end(item)
        return result

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_runtest_makereport(self) -> Generator[None, pytest.TestReport, pytest.TestReport]:
        """Take what was found off the report: no baseline, report or export is made of this run."""
        report = yield
        for name in ("trt", "trt_tested"):
            vars(report).pop(name, None)
        return report

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Note which tests failed by themselves, or were skipped."""
        if report.failed or report.skipped:
            crash = getattr(report.longrepr, "reprcrash", None)
            text = crash.message if crash else report.longreprtext
            why = (text.strip() or report.outcome).splitlines()[0]
            self.errors.setdefault(report.nodeid, why)
            if report.failed:
                self.failed.setdefault(report.nodeid, why)


def run_recorded(recorder: Recorder, arguments: Sequence[str]) -> None:
    """Run pytest in this process; what it prints goes to standard error.

    Raises:
        ConfigurationError: No test ran an engine under trt_consistency.
        KeyboardInterrupt: Ctrl-C ended the run: nothing is concluded from a part of it.
    """
    given = ["-n0"] if importlib.util.find_spec("xdist") else []
    if not any(one.name == "trt" for one in entry_points(group="pytest11")):
        given += ["-p", "pytest_trt.plugin"]  # a copy of the project that is not installed
    with redirect_stdout(sys.stderr):
        status = pytest.main(
            [*given, *_QUIET, *arguments],
            plugins=[recorder],
        )
    if recorder.interrupted:
        raise KeyboardInterrupt
    if not recorder.tests:
        fix = _FIX if recorder.errors else "Correct what pytest reports above."
        why = next(iter(recorder.errors.values()), f"pytest ended with status {int(status)}")
        raise _not_recorded(f"no test ran an engine under trt_consistency: {why}", why, fix)


def refuse_failed(failed: Mapping[str, str]) -> None:
    """Raise the error of the first of the tests that failed by themselves, if any did."""
    for name, why in failed.items():
        raise _not_recorded(f"{name} failed: {why}", why)


def _not_recorded(message: str, why: str, fix: str = _FIX) -> ConfigurationError:
    """Return the error of tests whose runs show nothing."""
    return ConfigurationError(
        message,
        fix=fix,
        code="TRT450",
        facts={"reason": why},
    )
