"""From a loaded engine to samples: how it is timed, what one call works off, whose turn it is."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from random import Random
from typing import Protocol, TypeVar

import numpy as np
import numpy.typing as npt

from pytest_trt.benchmark.host_load import LoadMeter
from pytest_trt.benchmark.interleaved import measure_interleaved
from pytest_trt.benchmark.recorded import subsample_evenly
from pytest_trt.benchmark.rounds import (
    Disturbed,
    Guard,
    TimedCalls,
    round_calls,
    summarised,
    take_stretches,
    undisturbed,
)
from pytest_trt.benchmark.sessions import stretches_of, warmth_of
from pytest_trt.benchmark.warmup import WarmUp, warm_up
from pytest_trt.diagnostics import PytestTrtError
from pytest_trt.engine.protocols import BackendSession
from pytest_trt.statistics.decide import FIRST_ROUNDS, LOOKS
from pytest_trt.statistics.rounds import Rounds, join
from pytest_trt.tensors.spec import Tensors, TensorSpec
from pytest_trt.terms import Metric, Mode

_T = TypeVar("_T")

#: How often the device is looked at before the first round, over the calls of one round.
_GLANCES = 5

#: Seconds over which the rounds of a baseline are spread. A quick engine has one of several speeds
#: for tenths of a second, by the core that the system gives each of its threads.
#: Source: 90 us a call on ONNX Runtime, two threads on two cores of a virtual machine: windows of
#: 0.1 s were 75 or 105 us, and 20 rounds of 70 calls in a row, 0.13 s, 62 to 113 us.
STORED_S = 1.0


def batch_of(specs: Sequence[TensorSpec], inputs: Tensors) -> int:
    """Return how many units of work one call is: the first dimension of the first input.

    An input whose first dimension is dynamic goes before one in which it is fixed.

    Args:
        specs: The model's inputs, in order.
        inputs: What is fed.
    """
    leading = [spec for spec in specs if inputs[spec.name].ndim]
    dynamic = [spec for spec in leading if spec.shape and isinstance(spec.shape[0], str)]
    for spec in (*dynamic, *leading):
        return max(int(inputs[spec.name].shape[0]), 1)
    return 1


class Sampled(Protocol):
    """Rounds that were taken; see `Sampling`."""

    calls: int
    taken: list[TimedCalls]

    @property
    def turns(self) -> Sequence[tuple[Rounds, Rounds]]:
        """Rounds of baseline and candidate in turns."""

    @property
    def elsewhere(self) -> Sequence[Rounds]:
        """Rounds of the candidate in other processes."""

    def rounds(self) -> Rounds:
        """Return the rounds of the candidate alone."""


class Sampling:
    """Rounds of one warm engine.

    Args:
        session: The candidate, loaded.
        inputs: What every call computes on.
        mode: How calls are timed.
        items_per_call: Batch items of one call.
        how: When an engine is warm; by default what its device takes.

    Attributes:
        guard: Asked between rounds what disturbed the device; set before the first is taken.
        say: Told between rounds what is being done.
        items_per_call: Batch items of one call.
        calls: Calls in each round; set before the first is taken.
        round_s: Seconds that a round takes; set with it.
        taken: Every stretch of the candidate alone, in order.
        turns: Rounds of baseline and candidate in turns, by look.
        elsewhere: Rounds of the candidate in other processes.
        meter: What the host did for others while the candidate alone was timed, here and in other
            processes.
    """

    def __init__(
        self,
        session: BackendSession,
        inputs: Tensors,
        mode: Mode,
        items_per_call: int,
        *,
        how: WarmUp | None = None,
    ) -> None:
        self._stretch = stretches_of(session, inputs, mode)
        self._inputs, self._mode, self.items_per_call = inputs, mode, items_per_call
        self._how = how or warmth_of(session)
        self.guard: Guard = undisturbed
        self.say: Callable[[str], None] = lambda message: None
        self._step, self._most = "", 0
        self._tried_again = False
        self.calls = 0
        self.round_s = 0.0
        self.taken: list[TimedCalls] = []
        self.turns: list[tuple[Rounds, Rounds]] = []
        self.elsewhere: list[Rounds] = []
        self.meter = LoadMeter()

    def warm(
        self,
        *,
        stored_calls: int | None,
        budget_s: float,
        idle_s: float = math.inf,
        explicit: Iterable[Metric] = (),
        longer: bool = False,
    ) -> None:
        """Warm up, and choose how long rounds are: as those that are stored, or to fit a time.

        Args:
            stored_calls: Calls in the rounds that are stored, if any.
            budget_s: Seconds that the first rounds may take in all.
            idle_s: Seconds since the device was last seen to work.
            explicit: Metrics that the rounds have to tell.
            longer: Whether they may be longer than those that are stored.
        """
        self.say("warming up")
        call_s = warm_up(self._stretch, self._how.soon_after(idle_s))
        fits = round_calls(call_s, rounds=FIRST_ROUNDS, budget_s=budget_s, explicit=explicit)
        self.calls = max(fits, stored_calls or 0) if longer else stored_calls or fits
        self.round_s = call_s * self.calls
        if self.guard is not undisturbed:  # it sees the clocks that are held under load
            for _ in range(_GLANCES):
                self._stretch(max(1, self.calls // _GLANCES))
                self.guard()

    def screen(self, rounds: int) -> Rounds:
        """Take rounds of the candidate.

        Raises:
            Disturbed: Too many of them were, and again after a while.
        """
        self._step = "taking rounds"
        with self.meter.running():
            new = self._undisturbed(
                lambda: take_stretches(self._stretch, rounds, self.calls, guard=self._between)
            )
        self.taken += new
        return summarised(new, items_per_call=self.items_per_call)

    def rounds(self) -> Rounds:
        """Return the rounds of the candidate alone so far."""
        return summarised(self.taken, items_per_call=self.items_per_call)

    def stored(self, rounds: int) -> Rounds:
        """Return rounds that are fit to be a baseline: the last ones that were spread over time.

        Those in turns with the baseline engine, where there are any: they are what was judged.

        Args:
            rounds: How many.
        """
        if not self.turns:
            return summarised(self.taken[-rounds:], items_per_call=self.items_per_call)
        own = join([candidate for _, candidate in self.turns])
        spread = list(subsample_evenly(range(len(own)), rounds))
        return Rounds({metric: logs[spread] for metric, logs in own.logs.items()}, own.calls)

    def spread(self, rounds: int) -> None:
        """Take rounds of the candidate with others between them, where they were over in no time.

        They stand for the rounds so far, so that what is told of this run is what is stored.

        Raises:
            Disturbed: Too many of them were, and again after a while.
        """
        between = math.ceil(STORED_S / rounds / self.round_s) - 1
        if self.turns or between < 1:
            return

        def last_of_several(calls: int) -> TimedCalls:
            for _ in range(between):
                self._stretch(calls)
            return self._stretch(calls)

        self._step = "taking the rounds of the baseline"
        with self.meter.running():
            self.taken = self._undisturbed(
                lambda: take_stretches(last_of_several, rounds, self.calls, guard=self._between)
            )

    @contextmanager
    def against(
        self, baseline: BackendSession | None, random: Random
    ) -> Iterator[Callable[[int], tuple[Rounds, Rounds]] | None]:
        """Give what takes turns with the baseline engine; None where it is gone or does not run."""
        if baseline is None:
            yield None
            return
        stretch = stretches_of(baseline, self._inputs, self._mode)
        warm = False

        def turns(rounds: int) -> tuple[Rounds, Rounds]:
            nonlocal warm
            if not warm:
                self.say("warming up the baseline engine")
                warm_up(stretch, self._how.soon_after(0.0))
                warm = True
            had = sum(len(candidate) for _, candidate in self.turns)
            if not had:  # what the first look takes is a part of what the last one may
                self._most = rounds * LOOKS[-1] // LOOKS[0]
            told = f"rounds {had + 1} to {had + rounds} of at most {self._most}"
            self._step = f"turns with the baseline engine, {told}"
            pair = self._undisturbed(
                lambda: measure_interleaved(
                    stretch,
                    self._stretch,
                    rounds,
                    self.calls,
                    random=random,
                    items_per_call=self.items_per_call,
                    guard=self._between,
                )
            )
            self.turns.append(pair)
            return pair

        try:
            stretch(1)
        except PytestTrtError:  # its inputs are others, or it cannot be timed in this mode
            yield None
        else:
            yield turns

    def _between(self) -> str | None:
        self.say(self._step)
        return self.guard()

    def _undisturbed(self, take: Callable[[], _T]) -> _T:
        """Take rounds; once in a measurement, try again what was disturbed after another warm-up.

        Twenty rounds of a quick engine are over in a second, and so is much that disturbs them.
        """
        try:
            return take()
        except Disturbed:
            if self._tried_again:
                raise
        self._tried_again = True
        warm_up(self._stretch, self._how)
        return take()

    def latencies(self) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
        """Return the calls of the candidate alone, (rounds, calls) in ms, and (rounds,) in s."""
        calls = np.stack([one.latencies_ms for one in self.taken])
        return calls, np.array([one.wall_s for one in self.taken])
