"""Data of the measuring pipeline: what is timed, the source of its rounds, and what they showed."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import NamedTuple, Protocol

import numpy as np
import numpy.typing as npt

from pytest_trt.backends.devices.watch import DeviceWatch
from pytest_trt.baseline.entry import Entry, StoredRun
from pytest_trt.benchmark.conditions import BenchmarkPlace
from pytest_trt.benchmark.host import HostLoad, HostMonitor
from pytest_trt.benchmark.result import BenchmarkResult, CalibrationResult
from pytest_trt.benchmark.rounds import TimedCalls
from pytest_trt.diagnostics import Diagnostic, Remedy
from pytest_trt.engine.build import Engine
from pytest_trt.engine.cache import EngineCache
from pytest_trt.engine.facts import Layer
from pytest_trt.engine.protocols import BackendSession
from pytest_trt.engine.spec import Target
from pytest_trt.statistics.absolute import AbsoluteLimitResult
from pytest_trt.statistics.decide import Decision
from pytest_trt.statistics.faster import SpeedupResult
from pytest_trt.statistics.limits import Limits
from pytest_trt.statistics.rounds import Rounds
from pytest_trt.terms import Mode

#: Takes so many pairs of rounds of the baseline engine and the candidate, interleaved.
Interleave = Callable[[int], tuple[Rounds, Rounds]]


@dataclass(frozen=True, slots=True)
class BenchmarkSettings:
    """Options that decide how a test is measured and judged.

    Attributes:
        checks: How many limits the tests of the run have in all: they share the error budget.
        time_s: Seconds for the first rounds of one test.
        strict: Whether an inconclusive verdict fails the test.
        missing_baseline: "fail", "record" or "skip".
        missing_reason: Why a missing baseline fails, for the message.
        update: Whether every measured speed is accepted.
        update_reason: Why.
        update_options: Options that a command for another update has to repeat, the reason too.
        update_anyway: Whether figures of an overloaded host may replace a baseline.
        calibrate: Whether to measure how much runs of the engine vary, and judge nothing.
        calibrate_runs: In how many fresh processes.
        baseline_runs: How many runs are recorded with a baseline.
    """

    checks: int = 1
    time_s: float = 10.0
    strict: bool = False
    missing_baseline: str = "record"
    missing_reason: str = ""
    update: bool = False
    update_reason: str = ""
    update_options: tuple[str, ...] = ()
    update_anyway: bool = False
    calibrate: bool = False
    calibrate_runs: int = 5
    baseline_runs: int = 1

    @property
    def accepts_slower(self) -> bool:
        """Whether a speed beyond a limit may become the baseline: only with a reason."""
        return self.update and bool(self.update_reason)

    def records(self, limits: Limits, entry: Entry | None) -> bool:
        """Whether what is measured becomes the baseline."""
        new = entry is None and self.missing_baseline == "record"
        return limits.needs_baseline and (self.update or new)


@dataclass(frozen=True, slots=True)
class Subject:
    """What is timed.

    Attributes:
        test: The test's node id.
        name: The model's file name; the test's name where no engine is timed.
        arch: What the engine was built for.
        toolchain: What runs it, with its version.
        mode: How calls are timed.
        batch: Batch items of one call.
        spec: What is measured, by label; a baseline is compared with nothing else.
        engine: The engine; None where none, or not a single one, is timed.
        restore: Commands that restore the model's file.
        test_argument: The test as pytest takes it where the run was started; empty for `test`.
    """

    test: str
    name: str
    arch: str
    toolchain: str
    mode: Mode
    batch: int
    spec: Mapping[str, str]
    engine: Engine | None = None
    restore: tuple[str, ...] = ()
    test_argument: str = ""

    @property
    def precision(self) -> str:
        """The engine's precision; empty without an engine."""
        return self.engine.spec.precision if self.engine else ""

    @property
    def key(self) -> str:
        """Digest of the engine's key; empty without an engine."""
        return self.engine.key.digest if self.engine else ""

    def result(self, *, file: str = "", checks: int = 0) -> BenchmarkResult:
        """Return the result of a measurement that has found nothing yet.

        Args:
            file: The baseline file, as messages name it.
            checks: How many limits the tests of the run have in all.
        """
        return BenchmarkResult(
            test=self.test,
            model=self.name,
            precision=self.precision,
            arch=self.arch,
            toolchain=self.toolchain,
            mode=self.mode,
            batch=self.batch,
            spec=self.spec,
            kind="not measured",
            key=self.key,
            restore=self.restore,
            test_argument=self.test_argument or self.test,
            file=file,
            checks=checks,
        )


class Machine(Protocol):
    """Where engines of one run are timed.

    Attributes:
        timed_until_s: When rounds of an engine were last taken, by the monotonic clock.
        free_at_s: When the device was last known to be free of others, by the same clock.
    """

    timed_until_s: float
    free_at_s: float

    @property
    def host(self) -> HostMonitor:
        """Makes meters of the host's load."""

    @property
    def cache(self) -> EngineCache:
        """The engine cache."""

    def place(self, target: Target) -> BenchmarkPlace:
        """Return where engines for a target are timed."""

    def watched(self, target: Target) -> AbstractContextManager[DeviceWatch | None]:
        """Watch a target's device; None where nothing can."""

    def opened(
        self, key_digest: str, candidate: Engine
    ) -> AbstractContextManager[BackendSession | None]:
        """Load a cached engine next to another one; None if the two cannot be compared."""

    def opened_beside(self, engine: Engine) -> AbstractContextManager[BackendSession]:
        """Load an engine next to those that are loaded, and release it afterwards."""

    def unload_others(self, engine: Engine) -> None:
        """Release every loaded engine except one."""

    def fresh_job(self, engine: Engine) -> FreshEngine:
        """Return how another process opens an engine."""


class FreshEngine(NamedTuple):
    """How another process opens an engine.

    Attributes:
        backend: Name of the backend.
        device: UUID or CUDA's number of the GPU; empty for the CPU.
        threads: Threads of one inference on the CPU; 0 leaves them to the backend.
    """

    backend: str
    device: str
    threads: int


class RoundSource(Protocol):
    """Where the rounds of one test come from: an engine of ours, or rounds that others timed."""

    @property
    def subject(self) -> Subject:
        """What is timed."""

    @property
    def calls(self) -> int:
        """Calls in each round."""

    @property
    def taken(self) -> Sequence[TimedCalls]:
        """Rounds of the candidate alone, in this process."""

    @property
    def interleaved(self) -> Sequence[tuple[Rounds, Rounds]]:
        """Interleaved rounds of baseline and candidate, by look."""

    @property
    def elsewhere(self) -> Sequence[Rounds]:
        """Rounds of the candidate in other processes."""

    @property
    def load(self) -> HostLoad:
        """What the host did for others while the candidate was timed."""

    @property
    def can_sample(self) -> bool:
        """Whether more rounds can be taken."""

    @property
    def exemptible(self) -> bool:
        """Whether nothing but the engine is timed, so that the same engine is as fast as it was."""

    def measuring(self) -> AbstractContextManager[None]:
        """Hold the device while rounds are taken."""

    def prepare(self, entry: Entry | None, limits: Limits) -> Entry | None:
        """Be ready to take rounds; return the baseline with which they can be compared.

        Raises:
            Disturbed: Something else uses the device.
        """

    def screen(self, rounds: int) -> Rounds:
        """Take rounds of the candidate alone, or return those that there are."""

    def rounds(self, most: int | None = None) -> Rounds:
        """Return the rounds of the candidate alone, or so many of them."""

    def latencies(self) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
        """Return calls in ms, shape (rounds, calls), and rounds in s, shape (rounds,)."""

    def interleaving(self, entry: Entry) -> AbstractContextManager[Interleave | None]:
        """Load the baseline engine and interleave it with the candidate; None if that cannot be."""

    def fresh(self, rounds: int) -> Rounds:
        """Take rounds of the candidate in another process.

        Raises:
            Unavailable: That is not possible.
        """

    def was_rebuilt(self, entry: Entry) -> bool:
        """Whether the engine that is interleaved is not the one that the baseline recorded."""

    def why_not_interleaved(self, entry: Entry) -> str:
        """Return why the baseline engine could not be interleaved, and how it could be."""

    def conditions(self) -> Mapping[str, str]:
        """Return what the speed depends on besides the engine, as it is now, by label."""

    def environment(self) -> Mapping[str, str]:
        """Return what may change from run to run and explain a difference, by label."""

    def confirm(self) -> None:
        """Check once more that nothing else used the device.

        Raises:
            Disturbed: Something did.
        """

    def runs(self, *, recorded: bool) -> tuple[tuple[StoredRun, ...], list[Diagnostic]]:
        """Return this run as it is stored, further ones if it is recorded, and notes."""

    def calibrate(
        self, entry: Entry | None, limits: Limits
    ) -> tuple[Entry, CalibrationResult, list[Diagnostic]]:
        """Measure how much runs of the candidate vary.

        Raises:
            Unavailable: It cannot be measured.
        """

    def hidden(self, name: str) -> str:
        """Return why these rounds cannot show a metric or absolute limit; empty if they can."""

    def needed_s(self, name: str, limits: Limits) -> float | None:
        """Return the seconds of calls that testing a limit takes; None if time does not help."""

    def how_to_show(self) -> Remedy:
        """Return how rounds are taken that show more, where time alone does not help."""

    def baseline_layers(self, entry: Entry) -> Sequence[Layer] | None:
        """Return the layers of the baseline's engine, or None where they are not known."""

    def notes(self) -> list[Diagnostic]:
        """Return what the reader of the result has to know of how it was timed."""


class Opponent(Protocol):
    """Another engine that the candidate has to be faster than."""

    @property
    def name(self) -> str:
        """The opponent, as the limit names it."""

    @property
    def ran(self) -> str:
        """What it is: model, precision, architecture, toolchain."""

    @property
    def mode(self) -> Mode:
        """How it and the candidate are timed."""

    @property
    def pairs(self) -> Sequence[tuple[Rounds, Rounds]]:
        """Rounds of the opponent and of the candidate, by look."""

    def interleaving(self) -> AbstractContextManager[Interleave]:
        """Load it, and interleave the candidate with it.

        Raises:
            EngineRunError: It cannot run.
        """


@dataclass(frozen=True, slots=True)
class Evidence:
    """What was measured, and what the gates made of it.

    Attributes:
        entry: The baseline that it was compared with.
        decision: What the relative limits came to; None without a baseline.
        absolute: What each absolute limit came to.
        speedups: What each opponent of `faster_than` came to.
        environment: What may change from run to run and explain a difference.
        runs: This run, and further ones, as they are stored.
        busy: How the host was overloaded; empty where it was not.
        notes: What was noted while it was measured.
    """

    entry: Entry | None
    decision: Decision | None
    absolute: tuple[AbsoluteLimitResult, ...]
    speedups: tuple[SpeedupResult, ...]
    environment: Mapping[str, str]
    runs: tuple[StoredRun, ...]
    busy: str
    notes: list[Diagnostic] = field(default_factory=list)
