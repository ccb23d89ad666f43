"""Calls that pytest-benchmark's fixture has timed, as rounds."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from pytest_trt.benchmark.recorded import recorded_calls, recorded_stretches, subsample_evenly
from pytest_trt.statistics.rounds import Rounds, summarise


class FixtureRounds:
    """What pytest-benchmark's fixture timed, as rounds of consecutive calls.

    Attributes:
        items_per_call: Batch items of one call.
        calls: Calls in each round; where several were averaged, averages.
        averaged: Over how many calls each of them is an average.
        taken: The rounds.
        turns: None were taken.
        elsewhere: Nor were any in other processes.
    """

    turns = ()
    elsewhere = ()

    def __init__(
        self, seconds: list[float], averaged: int, items_per_call: int, stored_calls: int
    ) -> None:
        fits = 0 < stored_calls <= len(seconds)
        self.calls = stored_calls if fits else recorded_calls(len(seconds))
        self.items_per_call, self.averaged = items_per_call, averaged
        self.taken = recorded_stretches(seconds, self.calls)

    def rounds(self, most: int | None = None) -> Rounds:
        """Return the rounds, or so many of them, with the metrics that they can tell."""
        taken = subsample_evenly(self.taken, most or len(self.taken))
        calls, walls_s = [one.latencies_ms for one in taken], [one.wall_s for one in taken]
        rounds = summarise(calls, walls_s, items_per_call=self.items_per_call)
        if self.averaged == 1:
            return rounds
        return Rounds({"throughput": rounds.logs["throughput"]}, rounds.calls)

    def latencies(self) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
        """Return the calls in ms, shape (rounds, calls), and the rounds in s, shape (rounds,)."""
        calls = np.stack([one.latencies_ms for one in self.taken])
        return calls, np.array([one.wall_s for one in self.taken])
