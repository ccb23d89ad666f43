"""Rounds of consecutive calls, with a look at the device between them and never inside one."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple, TypeAlias

import numpy as np
import numpy.typing as npt

from pytest_trt.statistics.rounds import FEWEST_CALLS, GROUP_CALLS, ROUND_CALLS, Rounds, summarise
from pytest_trt.terms import Metric

#: Share of rounds that may be redone because something disturbed them. Beyond it, what is left
#: would be a selection rather than a measurement.
MOST_REDONE = 0.2


#: How often others are listened for before they are taken to stay.
_LISTENED = 3


class TimedCalls(NamedTuple):
    """Consecutive calls.

    Attributes:
        latencies_ms: Of each call, float64 of shape (calls,).
        wall_s: From before the first call to after the last.
    """

    latencies_ms: npt.NDArray[np.float64]
    wall_s: float


#: A limit that somebody wrote gets up to so many times the time of a test, rather than never to be
#: tested: 20 rounds of a P99 fit ten seconds at up to 7 ms a call, and a minute at up to 43.
MOST_TIMES = 6

#: Calls that a round may have, from a percentile's to a median's.
LENGTHS = (ROUND_CALLS, GROUP_CALLS["p95"], FEWEST_CALLS)

#: Makes so many consecutive calls.
Stretches: TypeAlias = Callable[[int], TimedCalls]

#: Says what disturbed the device since it was last asked, or None. Asking takes a while and may
#: wake the device up, so it is asked between rounds only.
Guard: TypeAlias = Callable[[], str | None]


class Disturbed(Exception):
    """Too many rounds were disturbed to tell anything; the text says by what."""


def undisturbed() -> None:
    """Be the guard of a device that nothing can be asked of."""


def round_calls(
    call_s: float, *, rounds: int, budget_s: float, explicit: Iterable[Metric] = ()
) -> int:
    """Return how many calls a round may have, so that all rounds fit a time.

    Slow engines get shorter rounds rather than fewer: those tell fewer percentiles, but no fewer
    comparisons. Below the shortest, the time is exceeded; and so it is for what was asked for, up
    to `MOST_TIMES` of it.

    Args:
        call_s: Seconds of one call.
        rounds: How many rounds there are to be.
        budget_s: Seconds for all of them.
        explicit: Metrics that the rounds have to tell.
    """
    fitting = (length for length in LENGTHS if length * rounds * call_s <= budget_s)
    fits = next(fitting, FEWEST_CALLS)
    needed = max((GROUP_CALLS.get(metric, FEWEST_CALLS) for metric in explicit), default=fits)
    return needed if fits < needed and needed * rounds * call_s <= MOST_TIMES * budget_s else fits


def take_rounds(
    stretch: Stretches,
    rounds: int,
    calls: int,
    *,
    items_per_call: float = 1.0,
    guard: Guard = undisturbed,
) -> Rounds:
    """Take so many undisturbed rounds, and summarise them; see `take_stretches`.

    Args:
        stretch: Makes the calls.
        rounds: How many rounds.
        calls: Calls in each.
        items_per_call: Batch items of one call, such as the batch size.
        guard: Asked after every round; a disturbed one is taken again.
    """
    return summarised(
        take_stretches(stretch, rounds, calls, guard=guard), items_per_call=items_per_call
    )


def take_stretches(
    stretch: Stretches, rounds: int, calls: int, *, guard: Guard = undisturbed
) -> list[TimedCalls]:
    """Take so many undisturbed rounds, every call of them kept.

    Args:
        stretch: Makes the calls.
        rounds: How many rounds.
        calls: Calls in each.
        guard: Asked after every round; a disturbed one is taken again.

    Raises:
        Disturbed: More than `MOST_REDONE` of the rounds would have to be taken again.
    """
    taken: list[TimedCalls] = []
    reasons: list[str] = []
    guard()  # what was before is not of these rounds
    while len(taken) < rounds:
        one = stretch(calls)
        reason = guard()
        if reason is None:
            taken.append(one)
            continue
        reasons.append(reason)
        check_redone(reasons, rounds)
    return taken


def summarised(taken: Sequence[TimedCalls], *, items_per_call: float) -> Rounds:
    """Return stretches as rounds.

    Args:
        taken: Stretches of equal length.
        items_per_call: Batch items of one call.
    """
    return summarise(
        [one.latencies_ms for one in taken],
        [one.wall_s for one in taken],
        items_per_call=items_per_call,
    )


def check_alone(listen: Guard) -> None:
    """Raise `Disturbed` where others use the device while it is left alone.

    Args:
        listen: Leaves the device alone for a moment, and says who did not. What is heard may just
            be ending, so it is asked again before it is believed.
    """
    for _ in range(_LISTENED):
        heard = listen()
        if heard is None:
            return
    raise Disturbed(heard or "")


def check_redone(reasons: list[str], rounds: int) -> None:
    """Raise `Disturbed` when so many of the rounds were disturbed that the rest means nothing."""
    if len(reasons) > MOST_REDONE * rounds:
        listed = ", ".join(dict.fromkeys(reasons))
        raise Disturbed(f"{len(reasons)} rounds of {rounds} were disturbed: {listed}")
