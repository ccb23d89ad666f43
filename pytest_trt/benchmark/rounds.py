"""Rounds of consecutive calls: how long they are, how they are timed, which are repeated.

The device is checked between rounds and never within one.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from random import Random
from typing import NamedTuple, TypeAlias, TypeVar

import numpy as np
import numpy.typing as npt

from pytest_trt.statistics.rounds import FEWEST_CALLS, GROUP_CALLS, ROUND_CALLS, Rounds, summarise
from pytest_trt.terms import Metric

_T = TypeVar("_T")

#: Share of rounds that may be taken again because something disturbed them. Beyond it, what is left
#: would be a selection rather than a measurement.
MOST_REDONE = 0.2

#: How often the device is listened to before other processes on it are taken to stay.
_LISTENED = 3

#: An explicit limit gets up to so many times the time of a test rather than never being tested: 20
#: rounds of a P99 fit ten seconds at up to 7 ms a call, and a minute at up to 43 ms.
MOST_TIMES = 6

#: Calls that a round may have, from a percentile's to a median's.
LENGTHS = (ROUND_CALLS, GROUP_CALLS["p95"], FEWEST_CALLS)

#: Calls after a switch of engines that are dropped: they find the other engine's caches.
DROPPED_CALLS = 5


class TimedCalls(NamedTuple):
    """Consecutive calls.

    Attributes:
        latencies_ms: Of each call, float64 of shape (calls,).
        wall_s: From before the first call to after the last.
    """

    latencies_ms: npt.NDArray[np.float64]
    wall_s: float


#: Makes so many consecutive calls and times each.
CallTimer: TypeAlias = Callable[[int], TimedCalls]

#: Returns what disturbed the device since the last call, or None. It takes a while and may wake the
#: device up, so it is called between rounds only.
Guard: TypeAlias = Callable[[], str | None]


class Disturbed(Exception):
    """Too many rounds were disturbed; the text says by what."""


def undisturbed() -> None:
    """Be the guard of a device that cannot be checked."""


def end_to_end(run: Callable[[], object]) -> CallTimer:
    """Time every call of a function by the host's clock."""
    clock = time.perf_counter_ns

    def timed(calls: int) -> TimedCalls:
        stamps = np.empty(calls + 1, np.int64)
        stamps[0] = clock()
        for call in range(1, calls + 1):
            run()
            stamps[call] = clock()
        return TimedCalls(np.diff(stamps) / 1e6, (stamps[-1] - stamps[0]) / 1e9)

    return timed


def round_calls(
    call_s: float, *, rounds: int, budget_s: float, explicit: Iterable[Metric] = ()
) -> int:
    """Return how many calls a round may have for all rounds to fit a time.

    Slow engines get shorter rounds rather than fewer: those show fewer percentiles, but allow as
    many comparisons. Below the shortest, the time is exceeded; and so it is for explicit limits, up
    to `MOST_TIMES` of it.
    """
    fitting = (length for length in LENGTHS if length * rounds * call_s <= budget_s)
    fits = next(fitting, FEWEST_CALLS)
    needed = max((GROUP_CALLS.get(metric, FEWEST_CALLS) for metric in explicit), default=fits)
    return needed if fits < needed and needed * rounds * call_s <= MOST_TIMES * budget_s else fits


def take_rounds(
    timer: CallTimer, rounds: int, calls: int, *, guard: Guard = undisturbed
) -> list[TimedCalls]:
    """Take so many undisturbed rounds.

    Args:
        timer: Makes the calls.
        rounds: How many rounds.
        calls: Calls in each.
        guard: Called after every round; a disturbed one is taken again.

    Raises:
        Disturbed: More than `MOST_REDONE` of the rounds would have to be taken again.
    """
    taken: list[TimedCalls] = []
    reasons: list[str] = []
    guard()  # what was before does not concern these rounds
    while len(taken) < rounds:
        one = timer(calls)
        reason = guard()
        if reason is None:
            taken.append(one)
        else:
            reasons.append(reason)
            _check_redone(reasons, rounds)
    return taken


def measure_interleaved(
    timers: Sequence[CallTimer],
    rounds: int,
    calls: int,
    *,
    random: Random,
    items_per_call: float = 1.0,
    guard: Guard = undisturbed,
) -> tuple[Rounds, ...]:
    """Take so many rounds of each engine, interleaved in random order.

    What disturbs the machine disturbs all of them.

    Args:
        timers: Makes calls of each engine.
        rounds: How many rounds of each.
        calls: Calls in each round.
        random: Decides the order of each turn.
        items_per_call: Batch items of one call.
        guard: Called after every turn; all rounds of a disturbed one are taken again.

    Raises:
        Disturbed: Too many rounds would have to be repeated.
    """
    taken: list[list[TimedCalls]] = [[] for _ in timers]
    reasons: list[str] = []
    guard()
    while len(taken[0]) < rounds:
        order = list(range(len(timers)))
        random.shuffle(order)
        turn: dict[int, TimedCalls] = {}
        for side in order:
            timers[side](DROPPED_CALLS)
            turn[side] = timers[side](calls)
        reason = guard()
        if reason is None:
            for side, one in turn.items():
                taken[side].append(one)
            continue
        reasons.append(reason)
        _check_redone(reasons, rounds)
    return tuple(summarised(side, items_per_call=items_per_call) for side in taken)


def summarised(taken: Sequence[TimedCalls], *, items_per_call: float) -> Rounds:
    """Return timed calls as rounds."""
    latencies = [one.latencies_ms for one in taken]
    return summarise(latencies, [one.wall_s for one in taken], items_per_call=items_per_call)


def arrays_of(
    taken: Sequence[TimedCalls],
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Return calls in ms, shape (rounds, calls), and rounds in s, shape (rounds,)."""
    return np.stack([one.latencies_ms for one in taken]), np.array([one.wall_s for one in taken])


def subsample_evenly(values: Sequence[_T], most: int) -> list[_T]:
    """Return at most so many of the values, spread evenly over all of them."""
    count = min(len(values), most)
    return [values[index * len(values) // count] for index in range(count)]


def check_alone(listen: Guard) -> None:
    """Raise `Disturbed` where others use the device while this process does not.

    Args:
        listen: Leaves the device alone for a moment, and returns who did not. What it hears may
            just be ending, so it is called again before it is believed.
    """
    for _ in range(_LISTENED):
        heard = listen()
        if heard is None:
            return
    raise Disturbed(heard or "")


def _check_redone(reasons: Sequence[str], rounds: int) -> None:
    if len(reasons) > MOST_REDONE * rounds:
        listed = ", ".join(dict.fromkeys(reasons))
        raise Disturbed(f"{len(reasons)} rounds of {rounds} were disturbed: {listed}")
