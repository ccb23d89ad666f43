"""What the plugin stores on pytest's stashes, under typed keys."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from pytest_trt.diagnostics import PytestTrtError
from pytest_trt.plugin.names import FIXTURES, is_ours

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from mmap import mmap
    from typing import Any, Protocol

    from pytest_trt.accuracy.check import ConsistencyCheck, StoredReference
    from pytest_trt.accuracy.own_reference import OwnReference
    from pytest_trt.accuracy.result import AccuracyResult
    from pytest_trt.backends.cuda.background import Background
    from pytest_trt.backends.devices.gpu import DeviceProbe
    from pytest_trt.baseline.answers import AnswerEntry
    from pytest_trt.baseline.staged_answers import StagedAnswers
    from pytest_trt.baseline.staged_metrics import StagedMetrics
    from pytest_trt.benchmark.host import HostMonitor
    from pytest_trt.benchmark.result import BenchmarkResult
    from pytest_trt.diagnostics import Diagnostic
    from pytest_trt.engine.build import Engine
    from pytest_trt.engine.protocols import Progress
    from pytest_trt.engine.session import CallingLine, Observer, Session
    from pytest_trt.onnx.file import OnnxModel
    from pytest_trt.plugin.options.settings import Settings
    from pytest_trt.plugin.planning.plan import TestPlan
    from pytest_trt.plugin.planning.planner import Planner
    from pytest_trt.plugin.run import TrtRun
    from pytest_trt.plugin.terminal import TerminalProgress
    from pytest_trt.selftest.proof import Proof
    from pytest_trt.statistics.decline import TaskMetricResult
    from pytest_trt.tensors.spec import Tensors

    class RunRecorder(Protocol):
        """What a command passes to see what tests run: `recording.Recorder`."""

        def observing(
            self,
            model: Any,
            check: ConsistencyCheck,
            calibration: Callable[[], object],
            observe: Callable[..., None],
        ) -> Callable[..., None]:
            """Return an observer that also passes on each run."""

    class Recorded(Protocol):
        """What a test needs of its task metrics: `task_metrics.TaskMetrics`."""

        @property
        def results(self) -> tuple[TaskMetricResult, ...]:
            """What was found of each metric."""

        def diagnostics(self) -> Iterator[Diagnostic]:
            """Yield why they fail the test, and warnings."""

        def staged(self) -> StagedMetrics | None:
            """Return the metrics that this test may store."""

    class Answers(StoredReference, Protocol):
        """What a test needs of its stored answers: `models.stored_answers.StoredAnswers`."""

        model: OnnxModel

        def diagnostics(self, results: Sequence[AccuracyResult]) -> Iterator[Diagnostic]:
            """Yield why they fail the test other than by their values, and notes."""

        def staged(self, results: Sequence[AccuracyResult]) -> StagedAnswers | None:
            """Return the answers that this test may store."""

        def accepted(self) -> AnswerEntry | None:
            """Return what is stored; None if nothing is, or it cannot be read."""

        def grown(self, result: AccuracyResult) -> Mapping[str, str] | None:
            """Return outputs whose error has doubled since it was stored; None without any."""


SETTINGS_KEY: pytest.StashKey[Settings] = pytest.StashKey()
PROBE_KEY: pytest.StashKey[Background[DeviceProbe]] = pytest.StashKey()
RUN_KEY: pytest.StashKey[TrtRun] = pytest.StashKey()
PROGRESS_KEY: pytest.StashKey[TerminalProgress] = pytest.StashKey()
PINNED_KEY: pytest.StashKey[bool] = pytest.StashKey()
#: Replaces how the load of the host is measured, in tests.
HOST_KEY: pytest.StashKey[HostMonitor] = pytest.StashKey()
CHECKS_KEY: pytest.StashKey[int] = pytest.StashKey()
PLANNER_KEY: pytest.StashKey[Planner] = pytest.StashKey()
PLAN_KEY: pytest.StashKey[TestPlan] = pytest.StashKey()
TEST_KEY: pytest.StashKey[TestState] = pytest.StashKey()
#: Receives what tests run, where a command asks about it.
RECORDER_KEY: pytest.StashKey[RunRecorder] = pytest.StashKey()
#: Of the run: the test that is being set up, called or torn down.
ITEM_KEY: pytest.StashKey[pytest.Item] = pytest.StashKey()

#: The consistency check of a test's own engines; others are named by the engine's key.
OWN = ""


class TestState:
    """What one attempt of one test has done so far: a plugin that reruns it gets a fresh state.

    No dataclass: every run of pytest defines this class, and most make none of it.

    Attributes:
        engines: Engines that it requested.
        models: Models that it has read, by path and libraries of operators.
        unbuilt: Model, architecture and precision of those that could not be built.
        timing: Whether what runs is timed: pytest-benchmark times a part of what a test does.
        timed: Shapes of the inputs of what its benchmark ran, by the engine's key.
        ran: Keys of the engines that it ran.
        checks: Its consistency checks: of its own engines (`OWN`), and of each engine of
            `trt_engines` that it ran, by the engine's key and reference.
        other_references: Of them, those whose reference is not the one that the markers name.
        references: The project's own reference, by digest of the model that is compared with it.
        in_reference: Threads that are running it.
        reference_error: The last error that it raised.
        observers: What compares the runs of engines of `trt_engines`, by key.
        uncompared: Runs that an error of the engine or the reference ended, and the error.
        refused: Runs whose inputs were refused, and why.
        sessions: Engines that it requested by itself, and that its check compares.
        shapes: Names and shapes of the inputs of each run that was compared.
        generated: Inputs of `trt_inputs` that decide which branch of the model runs, and their
            values.
        conditions: The values that such inputs had in runs that were compared.
        limited: Inputs of `trt_inputs` that select few rows of a table, or are numbers such as
            lengths: the largest that it generates, and how many rows there are; without those that
            were larger in a compared run.
        answers: Its stored answers; None where its checks compare with none.
        metrics: Its task metrics; None where it records none.
        speed: The result of its benchmark, once there is one.
        timed_at: The line that called `trt_benchmark`; None where none did.
        notes: What a reader of its result has to know.
        hidden_warnings: Headlines of those that are warnings, and that a filter for others hides.
        diagnostics: Why it failed, where the plugin knows.
        skipped: Why the plugin skipped it.
        proofs: How its checks responded to injected errors and slowdowns.
        failed_by_checks: Whether its checks have failed it.
        attempt: 1, or more where a plugin reruns the test.
        failure: Why it failed, in one line, where the plugin knows no diagnostic.
        failed_attempts: Of each earlier attempt that failed: its number, code and reason.
        properties: What it has added to the item's user properties.
        called: Whether the test function is running: a report made meanwhile is a subtest's.
        searches: What finds the bad layer of the engines of its checks.
        over: Whether it has been judged; what runs afterwards would not be.
        process: The process that judges it.
        elsewhere: Memory shared with processes that the test forks: 1 once one ran the engine.
    """

    __test__ = False

    def __init__(self, attempt: int = 1) -> None:
        self.engines: list[Engine] = []
        self.models: dict[tuple[object, ...], OnnxModel] = {}
        self.timing = True
        self.timed: dict[str, set[str]] = {}
        self.ran: set[str] = set()
        self.unbuilt: list[tuple[str, str, str]] = []
        self.checks: dict[str, ConsistencyCheck] = {}
        self.other_references: set[str] = set()
        self.references: dict[str, OwnReference] = {}
        self.in_reference: set[int] = set()
        self.reference_error: BaseException | None = None
        self.observers: dict[str, Observer] = {}
        self.uncompared: list[str] = []
        self.refused: list[str] = []
        self.sessions: list[Session] = []
        self.shapes: set[frozenset[tuple[str, tuple[int, ...]]]] = set()
        self.generated: dict[str, int] = {}
        self.conditions: dict[str, set[int]] = {}
        self.limited: dict[str, tuple[int, int | None]] = {}
        self.answers: Answers | None = None
        self.metrics: Recorded | None = None
        self.speed: BenchmarkResult | None = None
        self.timed_at: CallingLine | None = None
        self.notes: list[Diagnostic] = []
        self.hidden_warnings: list[str] = []
        self.diagnostics: tuple[Diagnostic, ...] = ()
        self.skipped: str | None = None
        self.proofs: list[Proof] = []
        self.failed_by_checks = False
        self.attempt = attempt
        self.failure = ""
        self.failed_attempts: list[tuple[int, str, str]] = []
        self.properties: list[tuple[str, str]] = []
        self.searches: list[Callable[[Progress], Iterator[Diagnostic]]] = []
        self.called = False
        self.over = False
        self.process = os.getpid()
        self.elsewhere: mmap | None = None

    def note(self, note: Diagnostic) -> None:
        """Add a note, once."""
        if note not in self.notes:
            self.notes.append(note)

    def compared(self, inputs: Tensors) -> None:
        """Record the shapes of a run that was compared, its branches, and its rows of tables."""
        arrays = (item for item in inputs.items() if hasattr(item[1], "shape"))
        self.shapes.add(frozenset((name, array.shape) for name, array in arrays))
        for name in self.generated.keys() & inputs.keys():
            self.conditions.setdefault(name, set()).add(int(inputs[name].item()))
        for name, (largest, _) in [*self.limited.items()]:
            if name in inputs and inputs[name].max(initial=0) > largest:
                self.limited.pop(name, None)  # other threads run too

    def ended(self) -> TestState:
        """Return what the next attempt needs of one that has been torn down, and release the rest.

        The inputs and outputs of a test may be large. pytest holds all tests until it ends, and
        plugins hold the tracebacks of those that failed, whose frames lead here.
        """
        for check in self.checks.values():
            check.release()
        for held in (self.engines, self.models, self.checks, self.observers, self.searches):
            held.clear()
        self.sessions.clear()
        self.answers = self.metrics = self.speed = None
        state = TestState(self.attempt)
        state.diagnostics, state.failure = self.diagnostics, self.failure
        state.failed_attempts, state.properties = self.failed_attempts, self.properties
        state.over = True
        return state


def test_argument(item: pytest.Item) -> str:
    """Return a test as pytest takes it where it was started; node ids are relative to rootdir."""
    return argument_in(item.config.invocation_params.dir, item)


def argument_in(folder: Path, item: pytest.Item) -> str:
    """Return a test as pytest takes it in a folder.

    In its root folder that is the node id, but for files outside of that folder: their node ids are
    relative to an argument of the run.
    """
    path = Path(os.path.relpath(item.path, folder)).as_posix()
    return "::".join((path, *item.nodeid.split("::")[1:]))


def settings_of(config: pytest.Config) -> Settings:
    """Return the options, resolved when they are first needed.

    Raises:
        pytest.UsageError: A value is invalid.
    """
    settings = config.stash.get(SETTINGS_KEY, None)
    if settings is None:
        from pytest_trt.plugin.options.settings import read_settings

        try:
            settings = config.stash[SETTINGS_KEY] = read_settings(config)
        except pytest.UsageError as error:
            from pytest_trt.plugin.terminal import usage_error

            cause = error.__cause__
            raise usage_error(cause if isinstance(cause, PytestTrtError) else str(error)) from error
    return settings


def run_of(config: pytest.Config) -> TrtRun:
    """Return what the tests of this run share, made when it is first needed."""
    run = config.stash.get(RUN_KEY, None)
    if run is None:
        settings = settings_of(config)
        begin_probe(config, settings)
        from pytest_trt.plugin.run import TrtRun
        from pytest_trt.plugin.signals import end_as_ctrl_c_does

        end_as_ctrl_c_does(config)
        probe = config.stash.get(PROBE_KEY, None)
        run = config.stash[RUN_KEY] = TrtRun(
            settings, probe.result if probe else None, host=config.stash.get(HOST_KEY, None)
        )
    return run


def begin_probe(config: pytest.Config, settings: Settings) -> None:
    """Start looking for GPUs in the background, if needed: a driver loads as slowly as NumPy."""
    if settings.looks_for_gpus and PROBE_KEY not in config.stash:
        from pytest_trt.backends.cuda.background import Background
        from pytest_trt.backends.devices.probe import probe_devices

        config.stash[PROBE_KEY] = Background(probe_devices)


def planner_of(config: pytest.Config) -> Planner:
    """Return what makes the plans of the run's tests, made when it is first needed.

    Raises:
        pytest.UsageError: This machine cannot test what the options request.
    """
    planner = config.stash.get(PLANNER_KEY, None)
    if planner is None:
        from pytest_trt.plugin.planning.planner import Planner

        run = run_of(config)
        try:
            _ = run.selections
        except PytestTrtError as error:
            from pytest_trt.plugin.terminal import usage_error

            raise usage_error(error) from error
        planner = config.stash[PLANNER_KEY] = Planner(run)
    return planner


def uses_plugin(node: pytest.Item | pytest.Collector, fixturenames: Iterable[str]) -> bool:
    """Whether a test has a fixture or marker of the plugin; misspelt markers count."""
    if not FIXTURES.isdisjoint(fixturenames):
        return True
    # iter_markers takes three times as long, and this runs for every test of every project.
    each: pytest.Item | pytest.Collector | None = node
    while each is not None:
        for mark in each.own_markers:
            if is_ours(mark.name, node.config):
                return True
        each = each.parent
    return False


def plan_of(item: pytest.Item) -> TestPlan | None:
    """Return what a test checks; None where nothing of the plugin is on it."""
    return item.stash.get(PLAN_KEY, None)


def progress_of(config: pytest.Config) -> TerminalProgress:
    """Return the progress display of long steps, made when it is first needed.

    It reaches the terminal only when it is made while pytest captures nothing.
    """
    progress = config.stash.get(PROGRESS_KEY, None)
    if progress is None:
        from pytest_trt.plugin.terminal import TerminalProgress

        progress = config.stash[PROGRESS_KEY] = TerminalProgress(config)
    return progress


def override_of(item: pytest.Item, fixture: str) -> Callable[..., object] | None:
    """Return the function with which a project overrides a fixture of the plugin for a test."""
    # pytest has no other way to ask for a fixture without making it.
    found = item.session._fixturemanager.getfixturedefs(fixture, item)
    if not found or found[-1].func.__module__ == "pytest_trt.plugin.fixtures":
        return None
    return found[-1].func


def state_of(item: pytest.Item) -> TestState:
    """Return the state of a test, made when it is first needed."""
    state = item.stash.get(TEST_KEY, None)
    if state is None:
        state = item.stash[TEST_KEY] = TestState()
    return state
