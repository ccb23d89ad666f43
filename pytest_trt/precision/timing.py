"""Latency of several engines, interleaved in one run, so that drift affects all of them alike."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from random import Random

import numpy as np

from pytest_trt.backends.devices.watch import DeviceWatch
from pytest_trt.benchmark.conditions import device_lock, free_since, load_conditions
from pytest_trt.benchmark.evidence import Machine
from pytest_trt.benchmark.rounds import (
    Disturbed,
    Guard,
    measure_interleaved,
    round_calls,
    undisturbed,
)
from pytest_trt.benchmark.sampling import batch_of, mode_for, timer_of, warm_up_of
from pytest_trt.benchmark.warmup import warm_up
from pytest_trt.diagnostics import EngineRunError
from pytest_trt.engine.build import Engine
from pytest_trt.engine.protocols import BackendSession, Progress
from pytest_trt.engine.session import load_here
from pytest_trt.statistics.bounds import paired
from pytest_trt.statistics.decide import FIRST_ROUNDS
from pytest_trt.statistics.rounds import Rounds, as_figure
from pytest_trt.tensors.spec import Tensors
from pytest_trt.terms import Mode
from pytest_trt.workers.warm import warm_builder

#: Probability that an engine is wrongly taken to be slower than the fastest one.
_ERROR = 0.01

#: A smaller difference of latencies is none that decides between two precisions.
_SAME = 0.01


@dataclass(frozen=True, slots=True)
class Speed:
    """How fast an engine is.

    Attributes:
        p50_ms: Median latency of a call, in milliseconds.
        p99_ms: Its 99th percentile; None where rounds are too short to show it.
        throughput: Batch items per second.
    """

    p50_ms: float
    p99_ms: float | None
    throughput: float


@dataclass(frozen=True, slots=True)
class Timing:
    """Engines timed interleaved.

    Attributes:
        mode: How calls were timed.
        calls: Calls in each round.
        batch: Batch items of one call.
        rounds: The rounds by the name of the engine, interleaved ones at one place.
        disturbed: What disturbed the device or the host; empty if nothing did.
    """

    mode: Mode
    calls: int
    batch: int
    rounds: Mapping[str, Rounds]
    disturbed: str = ""

    @property
    def rounds_each(self) -> int:
        """Rounds of each engine."""
        return len(next(iter(self.rounds.values())))

    @property
    def speeds(self) -> dict[str, Speed]:
        """The speeds by the name of the engine."""
        return {name: _speed(one) for name, one in self.rounds.items()}

    def is_slower(self, name: str, than: str) -> bool:
        """Whether one engine is slower than another by more than 1%, with 99% confidence."""
        logs = [self.rounds[one].logs["p50"] for one in (name, than)]
        change = paired(logs[0] - logs[1], error_low=_ERROR, error_high=_ERROR, floor=0.0)
        return change.low > 0 and change.estimate > _SAME


def time_engines(
    machine: Machine,
    engines: Mapping[str, Engine],
    inputs: Tensors,
    *,
    budget_s: float,
    say: Progress,
) -> Timing:
    """Time engines of one target interleaved, on the same inputs.

    Raises:
        EngineRunError: An engine fails.
        DeviceBusyError: Another process holds the device.
    """
    first = next(iter(engines.values()))
    with ExitStack() as opened:
        opened.enter_context(device_lock(machine.place(first.target).device, say))
        watch = opened.enter_context(machine.watched(first.target))
        busy = _others(machine, watch, say)
        warm_builder.end()  # a builder that waits is another process on the device
        sessions = []
        for engine in engines.values():
            session = opened.enter_context(machine.opened_beside(engine))
            session.run(inputs)  # the first run may be another process's
            load_here(session)
            sessions.append(session)
        mode = common_mode(sessions, inputs)
        timers = [timer_of(session, inputs, mode) for session in sessions]
        say("warming up")
        call_s = max(warm_up(timer, warm_up_of(sessions[0])) for timer in timers)
        calls = round_calls(call_s, rounds=FIRST_ROUNDS, budget_s=budget_s, explicit=("p99",))
        batch = batch_of(first.model.inputs, inputs)
        say(f"timing {', '.join(engines)}, interleaved")

        def interleaved(guard: Guard) -> tuple[Rounds, ...]:
            return measure_interleaved(
                timers, FIRST_ROUNDS, calls, random=Random(0), items_per_call=batch, guard=guard
            )

        meter = machine.host.meter()
        with meter.running():
            taken, disturbed = _undisturbed(interleaved, watch or undisturbed)
        disturbed = busy or disturbed or next(iter(load_conditions(mode, meter.load).values()), "")
        return Timing(mode, calls, batch, dict(zip(engines, taken, strict=True)), disturbed)


def _others(machine: Machine, watch: DeviceWatch | None, say: Progress) -> str:
    """Return which other processes use the device; "" if none does, or none can be seen."""
    try:
        machine.free_at_s = free_since(watch, machine.free_at_s, say)
    except Disturbed as error:
        return str(error)
    return ""


def _undisturbed(
    interleaved: Callable[[Guard], tuple[Rounds, ...]], guard: Guard
) -> tuple[tuple[Rounds, ...], str]:
    """Return rounds; disturbed ones, and by what, where two attempts were."""
    reason = ""
    for _ in range(2):
        try:
            return interleaved(guard), ""
        except Disturbed as error:
            reason = str(error)
    return interleaved(undisturbed), reason


def common_mode(sessions: Sequence[BackendSession], inputs: Tensors) -> Mode:
    """Return a mode in which all sessions can be timed: without graphs, if one has none."""
    mode = mode_for(sessions[0], None)
    if mode == "graph":
        with suppress(EngineRunError):
            for session in sessions:
                timer_of(session, inputs, mode)(1)
            return mode
        return "enqueue"
    return mode


def _speed(rounds: Rounds) -> Speed:
    throughput = float(np.median(rounds.logs["throughput"]))
    return Speed(
        p50_ms=rounds.median("p50"),
        p99_ms=rounds.median("p99") if "p99" in rounds.logs else None,
        throughput=as_figure("throughput", throughput),
    )
