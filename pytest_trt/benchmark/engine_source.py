"""Rounds of a loaded engine: measures further rounds, interleaves engines, starts processes."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from random import Random

import numpy as np
import numpy.typing as npt

from pytest_trt.backends.devices.watch import DeviceWatch
from pytest_trt.baseline.entry import MAX_RUNS, Entry, StoredRun
from pytest_trt.benchmark import messages
from pytest_trt.benchmark.baselines import engine_facts, layers_then, new_run, stored_rounds
from pytest_trt.benchmark.calibration import Calibration
from pytest_trt.benchmark.conditions import (
    conditions_of,
    device_lock,
    free_since,
    load_conditions,
)
from pytest_trt.benchmark.differences import HOST_BUSY
from pytest_trt.benchmark.evidence import BenchmarkSettings, Interleave, Machine, Subject
from pytest_trt.benchmark.fresh import FreshRuns
from pytest_trt.benchmark.fresh_job import FreshRun
from pytest_trt.benchmark.gates import seconds_needed
from pytest_trt.benchmark.host import HostLoad
from pytest_trt.benchmark.opponents import EngineOpponent
from pytest_trt.benchmark.result import CalibrationResult
from pytest_trt.benchmark.rounds import TimedCalls, arrays_of, undisturbed
from pytest_trt.benchmark.sampling import Sampling, mode_for
from pytest_trt.diagnostics import Diagnostic, Remedy
from pytest_trt.engine.build import Engine
from pytest_trt.engine.facts import Layer
from pytest_trt.engine.layer_changes import layer_rows
from pytest_trt.engine.protocols import BackendSession
from pytest_trt.git import commit_that_added
from pytest_trt.statistics.decide import FIRST_ROUNDS, Unavailable
from pytest_trt.statistics.limits import Limits
from pytest_trt.statistics.rounds import GROUP_CALLS, Rounds, testable
from pytest_trt.tensors.containers import shapes_text
from pytest_trt.tensors.spec import Tensors
from pytest_trt.terms import CPU, METRICS, Mode
from pytest_trt.workers.warm import warm_builder


class EngineSource:
    """Rounds of one engine of ours, loaded.

    Args:
        machine: Where engines are timed.
        engine: The engine.
        session: The engine, loaded.
        inputs: What every call computes on.
        subject: What is timed.
        settings: Options of the run.
        wanted_mode: The mode that the marker asks for, if any.
        file: The baseline file.
        say: Receives what takes long.
    """

    can_sample = exemptible = True

    def __init__(
        self,
        machine: Machine,
        engine: Engine,
        session: BackendSession,
        inputs: Tensors,
        subject: Subject,
        settings: BenchmarkSettings,
        *,
        wanted_mode: Mode | None = None,
        file: Path = Path(),
        say: Callable[[str], None] = lambda text: None,
    ) -> None:
        self._machine, self._engine, self._session = machine, engine, session
        self._inputs, self._settings, self._file, self._say = inputs, settings, file, say
        self.subject, self._wanted_mode = subject, wanted_mode
        self._place = machine.place(engine.target)
        self.sampling = Sampling(
            session, inputs, subject.mode, subject.batch, meter=machine.host.meter()
        )
        self._fresh = FreshRuns(machine, engine, inputs, subject.mode, self.sampling, say)
        self._watch: DeviceWatch | None = None

    @property
    def calls(self) -> int:
        """Calls in each round."""
        return self.sampling.calls

    @property
    def taken(self) -> Sequence[TimedCalls]:
        """Rounds of the candidate alone, in this process."""
        return self.sampling.taken

    @property
    def interleaved(self) -> Sequence[tuple[Rounds, Rounds]]:
        """Interleaved rounds of baseline and candidate, by look."""
        return self.sampling.interleaved

    @property
    def elsewhere(self) -> Sequence[Rounds]:
        """Rounds of the candidate in other processes."""
        return self.sampling.elsewhere

    @property
    def load(self) -> HostLoad:
        """What the host did for others while the candidate was timed."""
        return self.sampling.meter.load

    @contextmanager
    def measuring(self) -> Iterator[None]:
        """Hold the device's lock, and watch the device."""
        with (
            device_lock(self._place.device, self._say),
            self._machine.watched(self._engine.target) as self._watch,
            self._fresh,
        ):
            # A builder that waits for another engine is another process on the device.
            warm_builder.end()
            yield

    def prepare(self, entry: Entry | None, limits: Limits) -> Entry | None:
        """Run the engine for the first time, listen to the device, and warm up."""
        if self._engine.timings.first_inference_s is None:  # a part of its cold start
            started_s = time.perf_counter()
            self._session.run(self._inputs)
            self._engine.timings.ran(time.perf_counter() - started_s)
        self.sampling.guard, self.sampling.say = self._watch or undisturbed, self._say
        self._listen(again=False)
        stored = entry.runs[-1].rounds.keys() if entry else ()
        self.sampling.warm(
            stored_calls=entry.runs[-1].calls if entry else None,
            budget_s=self._settings.time_s,
            idle_s=time.monotonic() - self._machine.timed_until_s,
            explicit=limits.explicit,
            longer=self._settings.update and not limits.relative.keys() <= set(stored),
        )
        if entry and all(run.calls != self.calls for run in entry.runs):
            return None  # an update takes longer rounds
        return entry

    def opponent(self, name: str, engine: Engine) -> EngineOpponent:
        """Return another engine, to be interleaved with this one."""
        return EngineOpponent(
            self._machine,
            name,
            engine,
            self._inputs,
            sampling=self.sampling,
            candidate=self._engine,
            mode=self.subject.mode,
            budget_s=self._settings.time_s,
        )

    def screen(self, rounds: int) -> Rounds:
        """Take rounds of the candidate alone."""
        return self.sampling.screen(rounds)

    def rounds(self, most: int | None = None) -> Rounds:
        """Return the rounds of the candidate alone, or so many of them."""
        return self.sampling.rounds(most)

    def latencies(self) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
        """Return calls in ms, shape (rounds, calls), and rounds in s, shape (rounds,)."""
        return arrays_of(self.taken)

    @contextmanager
    def interleaving(self, entry: Entry) -> Iterator[Interleave | None]:
        """Load the baseline engine if it differs from the candidate and is in the cache."""
        key = str(entry.engine.get("key", ""))
        # An update only asks whether the new rounds agree with the stored ones.
        if key == self._engine.key.digest or self._settings.update:
            yield None
            return
        with (
            self._machine.opened(key, self._engine) as baseline,
            self.sampling.against(baseline, Random(0)) as interleave,
        ):
            yield interleave

    def was_rebuilt(self, entry: Entry) -> bool:
        """Whether the cached engine of the baseline has another plan than the recorded one."""
        found = self._machine.cache.find(str(entry.engine.get("key", "")))
        plan = str(entry.engine.get("plan", ""))
        if found is None or not plan:
            return False
        return not found.sidecar.files[found.sidecar.plan_name].digest.startswith(plan)

    def fresh(self, rounds: int) -> Rounds:
        """Take rounds of the candidate in another process."""
        return self._fresh.rounds(rounds)

    def why_not_interleaved(self, entry: Entry) -> str:
        """Return why the baseline engine could not be interleaved, and how it could be."""
        then, now = entry.runs[-1].toolchain, str(self._engine.toolchain)
        if then != now:
            return f"engines of {then} and {now} cannot be interleaved in one process"
        # The file's last commit may be that of another test's baseline.
        commit = commit_that_added(str(entry.engine.get("key", "")), self._file)
        of = f" ({commit})" if commit else ""
        return (
            "the baseline engine is not in the engine cache, so it could not be interleaved; to "
            f"build it, check out the commit of the baseline{of} and run `pytest --trt-build-only` "
            "with the same cache"
        )

    def conditions(self) -> Mapping[str, str]:
        """Return the device's clock and power limit."""
        return conditions_of(self._watch)

    def environment(self) -> Mapping[str, str]:
        """Return driver, device conditions and host load."""
        load = load_conditions(self.subject.mode, self.load)
        return {**self._place.environment, **self.conditions(), **load}

    def confirm(self) -> None:
        """Listen to the device again."""
        self._listen(again=True)

    def _listen(self, *, again: bool) -> None:
        self._machine.free_at_s = free_since(
            self._watch, self._machine.free_at_s, self._say, again=again
        )

    def runs(self, *, recorded: bool) -> tuple[tuple[StoredRun, ...], list[Diagnostic]]:
        """Return the run of this process; where it is recorded, also those of fresh ones."""
        self._machine.timed_until_s = time.monotonic()
        result, notes = self.subject.result(), []
        if recorded:
            self.sampling.spread(FIRST_ROUNDS)
        taken = [FreshRun(self.sampling.stored(FIRST_ROUNDS), load=self.load)]
        wanted = self._settings.baseline_runs
        try:
            while recorded and len(taken) < wanted:
                title = f"recording run {len(taken) + 1} of {wanted}"
                taken.append(self._fresh.take(FIRST_ROUNDS, title=title))
        except Unavailable as reason:
            notes.append(messages.fewer_runs(result, len(taken), wanted, str(reason)))
        runs = tuple(map(self._stored, taken))
        busy = [run.environment[HOST_BUSY] for run in runs if HOST_BUSY in run.environment]
        if recorded and busy:
            given = self._settings.update_options
            notes.append(messages.recorded_on_busy_host(result, busy[0], given))
        return runs, notes

    def _stored(self, run: FreshRun) -> StoredRun:
        load = load_conditions(self.subject.mode, run.load)
        return new_run(
            run.rounds,
            toolchain=self.subject.toolchain,
            environment={**self._place.environment, **self.conditions(), **load},
            reason=self._settings.update_reason,
        )

    def calibrate(
        self, entry: Entry | None, limits: Limits
    ) -> tuple[Entry, CalibrationResult, list[Diagnostic]]:
        """Measure the engine against itself, here and in fresh processes."""
        mode, settings = self.subject.mode, self._settings
        here = FreshRun(self.screen(FIRST_ROUNDS), load=self.load)
        done = Calibration.of(
            here,
            lambda title: self._fresh.take(FIRST_ROUNDS, interleave=True, title=title),
            settings.calibrate_runs,
        )
        busy = [one.load.busy for one in done.runs if load_conditions(mode, one.load)]
        notes = [messages.calibrated_on_busy_host(self.subject.result(), busy[0])] if busy else []
        if entry is None or settings.update:
            runs = tuple(map(self._stored, done.runs[-MAX_RUNS:]))
            rows = layer_rows(self._engine.facts.layers)
            facts = engine_facts(self._engine)
            entry = Entry(mode, self.subject.spec, facts, runs, layers=rows)
        entry = replace(entry, noise=done.stored())
        stored = [stored_rounds(run) for run in entry.runs if run.calls == self.calls]
        found = done.result(limits.relative, stored, checks=settings.checks, mode=mode)
        return entry, found, notes

    def hidden(self, name: str) -> str:
        """Return why these rounds cannot show a metric."""
        if name in METRICS and name not in testable(self.calls):
            return f"rounds of {self.calls} calls are too short"
        return ""

    def needed_s(self, name: str, limits: Limits) -> float:
        """Return the seconds of calls that testing a limit takes."""
        if name in METRICS:
            calls = dict(GROUP_CALLS).get(name, 1)
            return float(FIRST_ROUNDS * calls * self.sampling.round_s / self.calls)
        return seconds_needed(self, limits, self._settings)

    def how_to_show(self) -> Remedy:
        """Return nothing: more time always helps."""
        return Remedy()

    def baseline_layers(self, entry: Entry) -> Sequence[Layer] | None:
        """Return the layers of the baseline's engine, from the baseline or the cache."""
        return layers_then(entry, self._machine.cache)

    def notes(self) -> list[Diagnostic]:
        """Return the note on a mode that this device does not have."""
        wanted = self._wanted_mode
        if wanted in (None, self.subject.mode):
            return []
        return [messages.mode_not_available(self.subject.result(), str(wanted))]


def subject_of(
    engine: Engine,
    session: BackendSession,
    inputs: Tensors,
    *,
    test: str,
    test_argument: str,
    mode: Mode | None,
    batch: int,
    threads: int,
    restore: tuple[str, ...] = (),
    model_name: str = "",
) -> Subject:
    """Return what is timed where an engine is.

    Args:
        engine: The engine.
        session: The engine, loaded.
        inputs: What every call computes on.
        test: The test's node id.
        test_argument: The test as pytest takes it where the run was started.
        mode: The measuring mode that the marker asks for, if any.
        batch: Batch items of one call.
        threads: Threads of one inference on the CPU; 0 leaves them to the backend.
        restore: Commands that restore the model's file.
        model_name: The model's name in baselines.
    """
    spec = {
        "model": model_name,
        "precision": engine.spec.precision,
        "shapes": shapes_text(engine.model.inputs, inputs, sizes=engine.model.sizes),
        "batch": str(batch),
    }
    options = engine.spec.builder_options
    if options:
        listed = (f"{name}={options[name]!r}" for name in sorted(options))
        spec["builder_options"] = ", ".join(listed)
    if engine.spec.keep_fp32:
        spec["keep_fp32"] = ", ".join(engine.spec.keep_fp32)
    if threads and engine.target.arch == CPU:
        spec["threads"] = str(threads)
    return Subject(
        test=test,
        test_argument=test_argument,
        name=engine.model.path.name,
        arch=engine.target.arch,
        toolchain=str(engine.toolchain),
        mode=mode_for(session, mode),
        batch=batch,
        spec=spec,
        engine=engine,
        restore=restore,
    )
