"""Rounds of a loaded engine: its timer, its batch size, its warm-up, interleaving with another."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from random import Random
from typing import NamedTuple, TypeGuard, TypeVar

from pytest_trt.benchmark.host import LoadMeter
from pytest_trt.benchmark.rounds import (
    CallTimer,
    Disturbed,
    Guard,
    TimedCalls,
    end_to_end,
    measure_interleaved,
    round_calls,
    subsample_evenly,
    summarised,
    take_rounds,
    undisturbed,
)
from pytest_trt.benchmark.warmup import ON_CPU, ON_GPU, WarmUp, warm_up
from pytest_trt.diagnostics import PytestTrtError
from pytest_trt.engine.protocols import BackendSession, DeviceSession
from pytest_trt.statistics.decide import FIRST_ROUNDS, LOOKS
from pytest_trt.statistics.rounds import Rounds, join
from pytest_trt.tensors.spec import Tensors, TensorSpec
from pytest_trt.terms import Metric, Mode

_T = TypeVar("_T")

#: How often the device is checked before the first round, over the calls of one round.
_GLANCES = 5

#: Seconds over which the rounds of a baseline are spread. A quick engine has one of several speeds
#: for tenths of a second, by the core that the system gives each of its threads.
#: Source: 90 us a call on ONNX Runtime, two threads on two cores of a virtual machine: windows of
#: 0.1 s were 75 or 105 us, and 20 rounds of 70 calls in a row, 0.13 s, 62 to 113 us.
STORED_S = 1.0


def batch_of(specs: Sequence[TensorSpec], inputs: Tensors) -> int:
    """Return the batch items of one call: the first dimension of the first input.

    An input whose first dimension is dynamic goes before one in which it is fixed.
    """
    # A sequence has items, which are no batch.
    leading = [spec for spec in specs if getattr(inputs[spec.name], "ndim", 0)]
    dynamic = [spec for spec in leading if spec.shape and isinstance(spec.shape[0], str)]
    for spec in (*dynamic, *leading):
        return max(int(inputs[spec.name].shape[0]), 1)
    return 1


def times_itself(session: BackendSession) -> TypeGuard[DeviceSession]:
    """Whether a session's device times its calls.

    Only the method that is used counts: with the whole protocol, a session that lacks another
    member would silently be timed by the host's clock.
    """
    return hasattr(session, "sample")


def mode_for(session: BackendSession, explicit: Mode | None) -> Mode:
    """Return how a session is timed: without a device of its own, by the host's clock."""
    return (explicit or "graph") if times_itself(session) else "end_to_end"


def timer_of(session: BackendSession, inputs: Tensors, mode: Mode) -> CallTimer:
    """Return what makes consecutive calls of a session and times each."""
    if mode == "end_to_end" or not times_itself(session):
        in_loop = getattr(session, "run_in_loop", None)
        if in_loop is None:
            return end_to_end(lambda: session.run(inputs))
        # A time limit for each call would be part of what is timed.
        return lambda calls: in_loop(
            lambda run: end_to_end(lambda: run(inputs))(calls), inputs, calls
        )
    timed, by = session, mode
    return lambda calls: TimedCalls(*timed.sample(inputs, mode=by, calls=calls))


def warm_up_of(session: BackendSession) -> WarmUp:
    """Return when a session is warm, by its device."""
    return ON_GPU if times_itself(session) else ON_CPU


class _Sides(NamedTuple):
    """Two engines that are interleaved.

    Attributes:
        name: The other engine, as messages name it.
        base: Makes its calls.
        candidate: Makes calls of the candidate.
        calls: Calls in each round.
        pairs: Rounds of both, by look.
    """

    name: str
    base: CallTimer
    candidate: CallTimer
    calls: int
    pairs: list[tuple[Rounds, Rounds]]


class Sampling:
    """Rounds of one warm engine.

    Args:
        session: The candidate, loaded.
        inputs: What every call computes on.
        mode: How calls are timed.
        items_per_call: Batch items of one call.
        how: When an engine is warm; by default as its device needs.
        meter: Measures the host's load while the candidate alone is timed.

    Attributes:
        guard: Called between rounds; set before the first is taken.
        say: Receives, between rounds, what is being done.
        items_per_call: Batch items of one call.
        calls: Calls in each round; set before the first is taken.
        round_s: Seconds that a round takes; set with it.
        taken: Every round of the candidate alone, in order.
        interleaved: Rounds of baseline and candidate, interleaved, by look.
        elsewhere: Rounds of the candidate in other processes.
        meter: The host's load while the candidate alone was timed, here and in other processes.
    """

    def __init__(
        self,
        session: BackendSession,
        inputs: Tensors,
        mode: Mode,
        items_per_call: int,
        *,
        how: WarmUp | None = None,
        meter: LoadMeter | None = None,
    ) -> None:
        self._timer, self._session = timer_of(session, inputs, mode), session
        self._inputs, self._mode, self.items_per_call = inputs, mode, items_per_call
        self._how = how or warm_up_of(session)
        self.guard: Guard = undisturbed
        self.say: Callable[[str], None] = lambda message: None
        self._step, self._most = "", 0
        self._tried_again = False
        self.calls = 0
        self.round_s = 0.0
        self.taken: list[TimedCalls] = []
        self.interleaved: list[tuple[Rounds, Rounds]] = []
        self.elsewhere: list[Rounds] = []
        self.meter = meter or LoadMeter()

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
            idle_s: Seconds since the device was last used.
            explicit: Metrics that the rounds have to show.
            longer: Whether they may be longer than those that are stored.
        """
        self.say("warming up")
        call_s = warm_up(self._timer, self._how.soon_after(idle_s))
        fits = round_calls(call_s, rounds=FIRST_ROUNDS, budget_s=budget_s, explicit=explicit)
        self.calls = max(fits, stored_calls or 0) if longer else stored_calls or fits
        self.round_s = call_s * self.calls
        if self.guard is not undisturbed:  # it sees the clocks under load
            for _ in range(_GLANCES):
                self._timer(max(1, self.calls // _GLANCES))
                self.guard()

    def screen(self, rounds: int) -> Rounds:
        """Take rounds of the candidate.

        Raises:
            Disturbed: Too many of them were, and again after a while.
        """
        self._step = "measuring"
        with self.meter.running():
            new = self._undisturbed(
                lambda: take_rounds(self._timer, rounds, self.calls, guard=self._between)
            )
        self.taken += new
        return summarised(new, items_per_call=self.items_per_call)

    def rounds(self, most: int | None = None) -> Rounds:
        """Return the rounds of the candidate alone so far, or so many of them."""
        taken = subsample_evenly(self.taken, most or len(self.taken))
        return summarised(taken, items_per_call=self.items_per_call)

    def stored(self, rounds: int) -> Rounds:
        """Return rounds that are fit to be a baseline: the last ones that were spread over time.

        Interleaved ones where there are any: they are what was judged.
        """
        if not self.interleaved:
            return summarised(self.taken[-rounds:], items_per_call=self.items_per_call)
        own = join([candidate for _, candidate in self.interleaved])
        spread = list(subsample_evenly(range(len(own)), rounds))
        return Rounds({metric: logs[spread] for metric, logs in own.logs.items()}, own.calls)

    def spread(self, rounds: int) -> None:
        """Take the rounds again, spread over time, where they were over too quickly.

        They replace the rounds so far, so that what is reported of this run is what is stored.

        Raises:
            Disturbed: Too many of them were, and again after a while.
        """
        between = math.ceil(STORED_S / rounds / self.round_s) - 1
        if self.interleaved or between < 1:
            return

        def last_of_several(calls: int) -> TimedCalls:
            for _ in range(between):
                self._timer(calls)
            return self._timer(calls)

        self._step = "measuring the baseline"
        with self.meter.running():
            self.taken = self._undisturbed(
                lambda: take_rounds(last_of_several, rounds, self.calls, guard=self._between)
            )

    @contextmanager
    def against(
        self, baseline: BackendSession | None, random: Random
    ) -> Iterator[Callable[[int], tuple[Rounds, Rounds]] | None]:
        """Yield what interleaves the candidate with the baseline engine; None if it cannot run."""
        if baseline is None:
            yield None
            return
        timer = timer_of(baseline, self._inputs, self._mode)
        warm = False

        def interleave(rounds: int) -> tuple[Rounds, Rounds]:
            nonlocal warm
            if not warm:
                self.say("warming up the baseline engine")
                warm_up(timer, self._how.soon_after(0.0))
                warm = True
            sides = _Sides("the baseline engine", timer, self._timer, self.calls, self.interleaved)
            return self._interleaved(sides, rounds, random)

        try:
            timer(1)
        except PytestTrtError:  # its inputs differ, or it cannot be timed in this mode
            yield None
        else:
            yield interleave

    def with_opponent(
        self,
        name: str,
        opponent: BackendSession,
        mode: Mode,
        pairs: list[tuple[Rounds, Rounds]],
        *,
        budget_s: float,
        random: Random,
    ) -> Callable[[int], tuple[Rounds, Rounds]]:
        """Warm up another engine, and return what interleaves the candidate with it.

        Args:
            name: The other engine, as messages name it.
            opponent: The other engine, loaded.
            mode: How both are timed, which need not be how the candidate alone is.
            pairs: Receives the rounds of both, by look.
            budget_s: Seconds that the first rounds of each may take in all.
            random: Decides the order of each pair.

        Raises:
            EngineRunError: It cannot run, or cannot be timed in this mode.
        """
        own = self._timer if mode == self._mode else timer_of(self._session, self._inputs, mode)
        timer = timer_of(opponent, self._inputs, mode)
        self.say(f"warming up {name}")
        call_s = max(warm_up(one, self._how.soon_after(0.0)) for one in (timer, own))
        # As many calls of both: a median of more calls is another statistic.
        calls = round_calls(call_s, rounds=FIRST_ROUNDS, budget_s=budget_s)
        sides = _Sides(name, timer, own, calls, pairs)
        return lambda rounds: self._interleaved(sides, rounds, random)

    def _interleaved(self, sides: _Sides, rounds: int, random: Random) -> tuple[Rounds, Rounds]:
        had = sum(len(candidate) for _, candidate in sides.pairs)
        if not had:  # what the first look takes is a part of what the last one may
            self._most = rounds * LOOKS[-1] // LOOKS[0]
        counted = f"rounds {had + 1} to {had + rounds} of at most {self._most}"
        self._step = f"interleaved with {sides.name}, {counted}"
        base, candidate = self._undisturbed(
            lambda: measure_interleaved(
                (sides.base, sides.candidate),
                rounds,
                sides.calls,
                random=random,
                items_per_call=self.items_per_call,
                guard=self._between,
            )
        )
        sides.pairs.append((base, candidate))
        return base, candidate

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
        warm_up(self._timer, self._how)
        return take()
