"""Starts the process that measures, and explains how it ended."""

from __future__ import annotations

from collections.abc import Callable

from pytest_trt.benchmark.fresh_job import FreshJob, FreshRun
from pytest_trt.benchmark.rounds import Disturbed
from pytest_trt.diagnostics import BackendUnavailableError, PytestTrtError
from pytest_trt.statistics.decide import Unavailable
from pytest_trt.workers.process import Reply, Worker

_CHILD = "pytest_trt.benchmark.fresh_child"


def measure_fresh(
    job: FreshJob, *, timeout_s: float, progress: Callable[[str], None] = lambda text: None
) -> FreshRun:
    """Measure an engine in a process of its own, and wait for it.

    The caller holds the device's lock for both. No process is left in any case.

    Args:
        job: What to measure.
        timeout_s: Seconds after which the child is ended.
        progress: Called with each step, and with the seconds so far while nothing is new.

    Raises:
        Unavailable: It could not measure, crashed, was killed or took too long; the text says
            which, with the last lines that it wrote.
        Disturbed: The device was.
    """
    try:
        with Worker(_CHILD, task=f"measures {job.title}") as worker:
            reply = worker.run(job.to_data(), timeout_s=timeout_s, progress=progress)
    except BackendUnavailableError as error:
        raise Unavailable(error.message) from error
    if not reply.is_done:
        lines = " | ".join(line.strip() for line in list(reply.stderr)[-20:])
        output = f"; its output: {lines}" if lines else ""
        raise Unavailable(
            f"the fresh process that measures {job.title} {_failure(reply, timeout_s)}, its last "
            f"step: {reply.step}{output}"
        )
    if "disturbed" in reply.result:
        raise Disturbed(reply.result["disturbed"])
    return FreshRun.from_data(reply.result)


def _failure(reply: Reply, timeout_s: float) -> str:
    if isinstance(reply.error, PytestTrtError):
        return f"failed: {reply.error.message.rstrip('.')}"
    if reply.error is not None:
        return f"failed: {reply.error}"
    if reply.timed_out:
        return f"took longer than {timeout_s:.0f} s and was ended"
    if reply.signal_name == "SIGKILL":
        return "was killed (SIGKILL; the machine's memory may have run out)"
    return (
        f"crashed ({reply.signal_name})"
        if reply.signal_name
        else (f"ended with exit status {reply.status}")
    )
