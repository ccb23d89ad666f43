"""Rounds out of calls that somebody else has timed, one after another."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar

import numpy as np

from pytest_trt.benchmark.rounds import LENGTHS, TimedCalls
from pytest_trt.statistics.decide import FIRST_ROUNDS

T = TypeVar("T")

#: Fewer rounds than these say little of their spread: then shorter ones are made.
_FEWEST_ROUNDS = 10

#: More rounds than these are not made. As many as a decision by turns takes at most.
_MOST_ROUNDS = 4 * FIRST_ROUNDS


def recorded_calls(count: int) -> int:
    """Return how many calls a round may have where so many calls are all there is.

    The longest round of which there are enough; else the shortest, of which there may be none.

    Args:
        count: Calls in all.
    """
    enough = (length for length in LENGTHS if count >= _FEWEST_ROUNDS * length)
    return next(enough, LENGTHS[-1])


def recorded_stretches(seconds: Sequence[float], calls: int) -> list[TimedCalls]:
    """Return rounds of consecutive calls, spread evenly over all that there are.

    Time between calls is not known, so a round lasts as long as its calls.

    Args:
        seconds: How long each call took, in the order in which they were made.
        calls: Calls in each round.
    """
    whole = len(seconds) // calls
    rounds = np.asarray(seconds, np.float64)[: whole * calls].reshape(whole, calls)
    return [
        TimedCalls(one * 1e3, float(one.sum()))
        for one in subsample_evenly(list(rounds), _MOST_ROUNDS)
    ]


def subsample_evenly(values: Sequence[T], most: int) -> list[T]:
    """Return so many of the values at most, spread evenly over all of them."""
    count = min(len(values), most)
    return [values[index * len(values) // count] for index in range(count)]
