"""Simulated processes whose latencies behave like those of quiet, usual and noisy machines.

Every figure is a share of the latency. What a process draws once: an offset, a drift over the
run, and how often its tail strikes. What it draws for each call: the body, a slow wander
(autoregressive), the tail, and spikes in bursts. Two engines of one process share all but their
placement.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from pytest_trt.statistics.decide import Samplers
from pytest_trt.statistics.rounds import ROUND_CALLS, Rounds, summarise

BASE_MS = 2.0


@dataclass(frozen=True)
class Machine:
    """How noisy a machine is; all but chances and lengths are standard deviations or shares."""

    body: float
    wander: float
    wander_memory: float
    tail_chance: float
    tail_mean: float
    spike_chance: float
    spike_size: tuple[float, float]
    spike_calls: int
    offset: float
    drift: float
    tail_spread: float
    placement: float
    throttle_chance: float = 0.0


QUIET = Machine(0.003, 0.001, 0.90, 0.015, 0.006, 0.001, (0.05, 0.35), 1, 0.003, 0.001, 0.1, 0.001)
USUAL = Machine(0.008, 0.005, 0.90, 0.03, 0.04, 0.002, (0.2, 1.5), 2, 0.01, 0.005, 0.2, 0.003)
NOISY = Machine(0.02, 0.015, 0.95, 0.05, 0.08, 0.005, (0.2, 2.0), 4, 0.02, 0.01, 0.4, 0.003)
THROTTLED = Machine(
    0.02, 0.015, 0.95, 0.05, 0.08, 0.005, (0.2, 2.0), 4, 0.03, 0.01, 0.4, 0.005, throttle_chance=0.2
)
MACHINES = {"quiet": QUIET, "usual": USUAL, "noisy": NOISY, "throttled": THROTTLED}

#: Calls over which a process drifts, and within which it may throttle.
_RUN_CALLS = 6000


class Process:
    """One process: engines in it share its luck but for their placement."""

    def __init__(self, machine: Machine, random: np.random.Generator) -> None:
        self._machine, self._random = machine, random
        self._offset = random.normal(0, machine.offset)
        self._slope = random.normal(0, machine.drift) / _RUN_CALLS
        self._tail_chance = machine.tail_chance * np.exp(random.normal(0, machine.tail_spread))
        self._wander = random.normal(0, machine.wander)
        self._calls = 0
        length = random.uniform(0.2, 1.0) * _RUN_CALLS
        start = random.uniform(0, _RUN_CALLS - length)
        throttles = random.random() < machine.throttle_chance
        self._throttled = (start, start + length) if throttles else (0, 0)
        self._burst = 0
        self._spike = 0.0

    def placement(self) -> float:
        """Return the luck of one engine's place in memory."""
        return float(self._random.normal(0, self._machine.placement))

    def latencies(self, calls: int, factor: float = 1.0) -> npt.NDArray[np.float64]:
        """Return the latencies of the next calls in milliseconds, shape (calls,)."""
        machine, random = self._machine, self._random
        at = self._calls + np.arange(calls)
        self._calls += calls
        logs = random.normal(0, machine.body, calls) + self._offset + self._slope * at
        logs += self._wanders(calls)
        slow = random.random(calls) < self._tail_chance
        extra = np.where(slow, random.exponential(machine.tail_mean, calls), 0.0)
        extra += self._spikes(calls)
        extra += np.where((at >= self._throttled[0]) & (at < self._throttled[1]), 0.08, 0.0)
        return BASE_MS * factor * np.exp(logs) * (1 + extra)

    def _wanders(self, calls: int) -> npt.NDArray[np.float64]:
        memory = self._machine.wander_memory
        steps = self._random.normal(0, self._machine.wander * np.sqrt(1 - memory**2), calls)
        found = np.empty(calls)
        value = self._wander
        for call, step in enumerate(steps.tolist()):
            value = memory * value + step
            found[call] = value
        self._wander = value
        return found

    def _spikes(self, calls: int) -> npt.NDArray[np.float64]:
        machine = self._machine
        found = np.zeros(calls)
        # The chance is that of a call to be in a burst.
        begins = machine.spike_chance / machine.spike_calls
        for start in np.flatnonzero(self._random.random(calls) < begins):
            size = self._random.uniform(*machine.spike_size)
            found[start : start + machine.spike_calls] = size
        return found


@dataclass
class Change:
    """What is different in the candidate: every call, and some of them."""

    factor: float = 1.0
    some: float = 0.0
    some_factor: float = 1.25

    def applied(
        self, calls: npt.NDArray[np.float64], random: np.random.Generator
    ) -> npt.NDArray[np.float64]:
        hit = random.random(calls.shape) < self.some
        return calls * self.factor * np.where(hit, self.some_factor, 1.0)


def rounds_of(calls: npt.NDArray[np.float64], round_calls: int = ROUND_CALLS) -> Rounds:
    """Cut calls into rounds; the wall time of a round is the sum of its calls."""
    latencies = calls[: len(calls) // round_calls * round_calls].reshape(-1, round_calls)
    return summarise(list(latencies), list(latencies.sum(axis=1) / 1e3))


def stored_runs(machine: Machine, random: np.random.Generator, runs: int) -> list[Rounds]:
    """Return what fresh processes of the baseline leave."""
    processes = (Process(machine, random) for _ in range(runs))
    return [
        rounds_of(process.latencies(20 * ROUND_CALLS, np.exp(process.placement())))
        for process in processes
    ]


def samplers(
    machine: Machine,
    random: np.random.Generator,
    change: Change,
    *,
    turns: bool,
) -> Samplers:
    """Return samplers of a new process, whose candidate is the baseline with a change."""
    process = Process(machine, random)
    places = [np.exp(process.placement()) for _ in range(2)]

    def candidate(rounds: int) -> Rounds:
        calls = process.latencies(rounds * ROUND_CALLS, places[1])
        return rounds_of(change.applied(calls, random))

    def measure_interleaved(rounds: int) -> tuple[Rounds, Rounds]:
        sides: tuple[list[npt.NDArray[np.float64]], list[npt.NDArray[np.float64]]] = ([], [])
        for order in _orders(rounds, random):
            for side in order:
                calls = process.latencies(ROUND_CALLS, places[side])
                sides[side].append(change.applied(calls, random) if side else calls)
        return rounds_of(np.concatenate(sides[0])), rounds_of(np.concatenate(sides[1]))

    def fresh(rounds: int) -> Rounds:
        other = Process(machine, random)
        calls = other.latencies(rounds * ROUND_CALLS, np.exp(other.placement()))
        return rounds_of(change.applied(calls, random))

    return Samplers(candidate, measure_interleaved if turns else None, None if turns else fresh)


def _orders(rounds: int, random: np.random.Generator) -> Iterator[tuple[int, int]]:
    for coin in random.random(rounds) < 0.5:
        yield (0, 1) if coin else (1, 0)
