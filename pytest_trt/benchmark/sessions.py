"""From a loaded engine to consecutive calls: who keeps the time, and how it is told."""

from __future__ import annotations

from typing import TypeGuard

from pytest_trt.benchmark.rounds import Stretches, TimedCalls
from pytest_trt.benchmark.timed_calls import end_to_end
from pytest_trt.benchmark.warmup import ON_CPU, ON_GPU, WarmUp
from pytest_trt.engine.protocols import BackendSession, DeviceSession
from pytest_trt.tensors.spec import Tensors
from pytest_trt.terms import Mode


def keeps_time(session: BackendSession) -> TypeGuard[DeviceSession]:
    """Whether a session's device keeps the time itself.

    Asked of the one method that is used: were the whole protocol asked for, a session without some
    other member of it would be timed by the host's clock, and nobody would be told.
    """
    return hasattr(session, "sample")


def mode_for(session: BackendSession, asked: Mode | None) -> Mode:
    """Return how a session is timed: without a device of its own, by the host's clock."""
    return (asked or "graph") if keeps_time(session) else "end_to_end"


def stretches_of(session: BackendSession, inputs: Tensors, mode: Mode) -> Stretches:
    """Return what makes consecutive calls of a session and times each."""
    if mode == "end_to_end" or not keeps_time(session):
        return end_to_end(lambda: session.run(inputs))
    timed, by = session, mode
    return lambda calls: TimedCalls(*timed.sample(inputs, mode=by, calls=calls))


def warmth_of(session: BackendSession) -> WarmUp:
    """Return when a session is warm: what its device takes."""
    return ON_GPU if keeps_time(session) else ON_CPU
