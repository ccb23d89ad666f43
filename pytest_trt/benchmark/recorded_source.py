"""Rounds that pytest-benchmark's fixture has timed.

It times a function by the host's clock, once, in one process. No more rounds can be taken, and
nothing can be interleaved. So relative limits may pass on its rounds, and fail only beyond what two
processes may differ by that clock, and never on an overloaded host. That the engine is the
baseline's exempts nothing: the function is the test's. Absolute limits are judged as always.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from importlib.metadata import version

import numpy as np
import numpy.typing as npt

from pytest_trt.baseline.entry import Entry, StoredRun
from pytest_trt.benchmark import messages
from pytest_trt.benchmark.baselines import layers_then, new_run
from pytest_trt.benchmark.conditions import load_conditions
from pytest_trt.benchmark.differences import HOST_BUSY
from pytest_trt.benchmark.evidence import BenchmarkSettings, Interleave, Machine, Subject
from pytest_trt.benchmark.host import HostLoad
from pytest_trt.benchmark.result import CalibrationResult
from pytest_trt.benchmark.rounds import (
    LENGTHS,
    Disturbed,
    TimedCalls,
    arrays_of,
    subsample_evenly,
    summarised,
)
from pytest_trt.diagnostics import Diagnostic, Remedy
from pytest_trt.engine.facts import Layer
from pytest_trt.statistics.decide import FIRST_ROUNDS, Unavailable
from pytest_trt.statistics.limits import ABSOLUTES, Limits
from pytest_trt.statistics.rounds import Rounds, testable

#: Fewer rounds than these show little of their spread: then shorter ones are made.
_FEWEST_ROUNDS = 10

#: More rounds than these are not made. As many as an interleaved decision takes at most.
_MOST_ROUNDS = 4 * FIRST_ROUNDS

_AVERAGES = "pytest-benchmark averaged over {} calls at a time, which hides slow ones"

MORE_TIME = Remedy(
    "Allow pytest-benchmark more time.",
    alternatives=(
        "--benchmark-max-time, or rounds= of benchmark.pedantic",
        "--benchmark-warmup=on where the first call is slow",
    ),
)

_SINGLE_CALLS = Remedy("Time single calls: benchmark.pedantic(..., iterations=1).")


class TooFewRounds(Exception):
    """There are too few calls for a round, or for one as long as the baseline's.

    Args:
        count: How many calls there are.
        needed: How many a round of the baseline has; 0 without one.
    """

    def __init__(self, count: int, needed: int) -> None:
        super().__init__(count, needed)
        self.count, self.needed = count, needed


def recorded_calls(count: int) -> int:
    """Return how many calls a round may have where so many calls are all there is.

    The longest round of which there are enough; else the shortest, of which there may be none.
    """
    enough = (length for length in LENGTHS if count >= _FEWEST_ROUNDS * length)
    return next(enough, LENGTHS[-1])


def recorded_rounds(seconds: Sequence[float], calls: int) -> list[TimedCalls]:
    """Return rounds of consecutive calls, spread evenly over all that there are.

    Time between calls is not known, so a round lasts as long as its calls.
    """
    whole = len(seconds) // calls
    rounds = np.asarray(seconds, np.float64)[: whole * calls].reshape(whole, calls)
    return [
        TimedCalls(one * 1e3, float(one.sum()))
        for one in subsample_evenly(list(rounds), _MOST_ROUNDS)
    ]


class RecordedSource:
    """Rounds out of calls that pytest-benchmark has timed.

    Args:
        machine: Where engines are timed.
        subject: What is timed.
        settings: Options of the run.
        seconds: How long each call took, or each average over several.
        averaged: Over how many calls each of them is an average.
        load: What the host did for others meanwhile.
        conditions: The device's clock and power limit meanwhile, by label.
        environment: What may change from run to run, such as the driver.
        disturbed_by: What disturbed the device meanwhile; None where nothing did.
    """

    interleaved: Sequence[tuple[Rounds, Rounds]] = ()
    elsewhere: Sequence[Rounds] = ()
    can_sample = exemptible = False

    def __init__(
        self,
        machine: Machine,
        subject: Subject,
        settings: BenchmarkSettings,
        *,
        seconds: Sequence[float],
        averaged: int,
        load: HostLoad,
        conditions: Mapping[str, str],
        environment: Mapping[str, str],
        disturbed_by: str | None = None,
    ) -> None:
        self._machine, self.subject, self._settings = machine, subject, settings
        self._seconds, self._averaged, self.load = seconds, averaged, load
        self._conditions, self._environment = conditions, environment
        self._disturbed_by = disturbed_by
        self._cut(0)

    def _cut(self, stored_calls: int) -> None:
        fits = 0 < stored_calls <= len(self._seconds)
        self.calls = stored_calls if fits else recorded_calls(len(self._seconds))
        self.taken = recorded_rounds(self._seconds, self.calls)

    def measuring(self) -> nullcontext[None]:
        """Do nothing: it was measured under the device's lock."""
        return nullcontext()

    def prepare(self, entry: Entry | None, limits: Limits) -> Entry | None:
        """Cut the calls into rounds as long as the baseline's."""
        if self._disturbed_by is not None:
            raise Disturbed(self._disturbed_by)
        stored_calls = entry.runs[-1].calls if entry else 0
        self._cut(stored_calls)
        if not self.taken or (entry and self.calls != stored_calls):
            raise TooFewRounds(len(self._seconds), stored_calls)
        return entry

    def screen(self, rounds: int) -> Rounds:
        """Return all rounds that there are."""
        return self.rounds()

    def rounds(self, most: int | None = None) -> Rounds:
        """Return the rounds, or so many of them, with the metrics that they can show."""
        taken = subsample_evenly(self.taken, most or len(self.taken))
        rounds = summarised(taken, items_per_call=self.subject.batch)
        if self._averaged == 1:
            return rounds
        return Rounds({"throughput": rounds.logs["throughput"]}, rounds.calls)

    def latencies(self) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
        """Return calls in ms, shape (rounds, calls), and rounds in s, shape (rounds,)."""
        return arrays_of(self.taken)

    @contextmanager
    def interleaving(self, entry: Entry) -> Iterator[Interleave | None]:
        """Yield None: only the candidate was timed."""
        yield None

    def fresh(self, rounds: int) -> Rounds:
        """Raise `Unavailable`."""
        raise Unavailable("pytest-benchmark times it in this process")

    def was_rebuilt(self, entry: Entry) -> bool:
        """Return False: only the candidate was timed."""
        return False

    def why_not_interleaved(self, entry: Entry) -> str:
        """Return nothing: it never is."""
        return ""

    def conditions(self) -> Mapping[str, str]:
        """Return the device's clock and power limit."""
        return self._conditions

    def environment(self) -> Mapping[str, str]:
        """Return driver, pytest-benchmark's version, device conditions and host load."""
        own = {"pytest-benchmark": version("pytest-benchmark"), **self._conditions}
        return {**self._environment, **own, **load_conditions("end_to_end", self.load)}

    def confirm(self) -> None:
        """Do nothing: the device was watched while it was timed."""

    def runs(self, *, recorded: bool) -> tuple[tuple[StoredRun, ...], list[Diagnostic]]:
        """Return the one run that there is."""
        environment = self.environment()
        run = new_run(
            self.rounds(FIRST_ROUNDS),
            toolchain=self.subject.toolchain,
            environment=environment,
            reason=self._settings.update_reason,
        )
        notes = []
        if recorded and HOST_BUSY in environment:
            result = self.subject.result()
            given = self._settings.update_options
            notes.append(messages.recorded_on_busy_host(result, environment[HOST_BUSY], given))
        return (run,), notes

    def calibrate(
        self, entry: Entry | None, limits: Limits
    ) -> tuple[Entry, CalibrationResult, list[Diagnostic]]:
        """Raise `Unavailable`: it was timed once."""
        raise Unavailable("pytest-benchmark times it once")

    def hidden(self, name: str) -> str:
        """Return why these rounds cannot show a metric or absolute limit."""
        if self._averaged > 1 and name not in ("throughput", "min_throughput"):
            return _AVERAGES.format(self._averaged)
        if name not in ABSOLUTES and name not in testable(self.calls):
            return f"rounds of {self.calls} calls are too short"
        return ""

    def needed_s(self, name: str, limits: Limits) -> None:
        """Return None: pytest-benchmark decides how long it times."""

    def how_to_show(self) -> Remedy:
        """Return how pytest-benchmark takes rounds that show more."""
        return _SINGLE_CALLS if self._averaged > 1 else MORE_TIME

    def baseline_layers(self, entry: Entry) -> Sequence[Layer] | None:
        """Return the layers of the baseline's engine, from the baseline or the cache."""
        return layers_then(entry, self._machine.cache)

    def notes(self) -> list[Diagnostic]:
        """Return the note that only one run was taken where several were requested."""
        if self._settings.calibrate or self._settings.baseline_runs > 1:
            return [messages.only_one_run(self.subject.result())]
        return []
