"""Absolute limits of one test: rounds are taken until every one of them is settled."""

from __future__ import annotations

import math
from collections.abc import Mapping

from pytest_trt.benchmark.rounds import MOST_TIMES
from pytest_trt.benchmark.sampling import Sampling
from pytest_trt.statistics.absolute import (
    AbsoluteLimitResult,
    calls_needed,
    is_settled,
    judge_absolute,
)
from pytest_trt.statistics.decide import FIRST_ROUNDS, check_error
from pytest_trt.statistics.limits import Absolute

#: Rounds at each look.
_LOOKS = (FIRST_ROUNDS, 2 * FIRST_ROUNDS, 4 * FIRST_ROUNDS)


class AbsoluteGate:
    """Holds rounds against absolute limits.

    Args:
        limits: The limits by name.
        checks: How many limits the tests of this run have in all.
        budget_s: Seconds that a test may take, see --trt-benchmark-time.
    """

    def __init__(self, limits: Mapping[Absolute, float], checks: int, budget_s: float) -> None:
        self._limits, self._budget_s = limits, budget_s
        self._error = check_error(checks)

    def kept(self, sampling: Sampling) -> list[AbsoluteLimitResult]:
        """Return what each limit came to, by as many rounds as that takes.

        There is one more look where the usual ones have too few calls for a percentile, if it can
        be had in a few times the time.
        """
        error, looks = self._error / len(_LOOKS), list(_LOOKS)
        more = self._rounds_needed(sampling)
        if more > _LOOKS[-1] and self.needed_s(sampling) <= MOST_TIMES * self._budget_s:
            error, looks = self._last_error, [*_LOOKS, more]
        kept: list[AbsoluteLimitResult] = []
        for rounds in looks if self._limits else ():
            if len(sampling.taken) < rounds:
                sampling.screen(rounds - len(sampling.taken))
            latencies_ms, walls_s = sampling.latencies()
            kept = [
                judge_absolute(
                    name,
                    limit,
                    latencies_ms,
                    walls_s,
                    items_per_call=sampling.items_per_call,
                    error=error,
                )
                for name, limit in self._limits.items()
            ]
            if is_settled(kept):
                break
        return kept

    def needed_s(self, sampling: Sampling) -> float:
        """Return how many seconds the calls take by which every limit can be told."""
        return self._rounds_needed(sampling) * sampling.round_s

    @property
    def _last_error(self) -> float:
        return self._error / (len(_LOOKS) + 1)

    def _rounds_needed(self, sampling: Sampling) -> int:
        return math.ceil(calls_needed(self._limits.keys(), self._last_error) / sampling.calls)
