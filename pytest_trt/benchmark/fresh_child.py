"""The process that measures one engine and ends. `fresh` starts it.

It takes no lock: the process that started it holds the device for both, and is idle meanwhile.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from random import Random
from typing import Any

from pytest_trt.backends.devices.gpu import DeviceProbe
from pytest_trt.backends.devices.probe import probe_devices
from pytest_trt.backends.devices.watch import watched_device
from pytest_trt.backends.selection import make_backend
from pytest_trt.benchmark.fresh_job import FreshJob, FreshRun, read_inputs
from pytest_trt.benchmark.host import LoadMeter
from pytest_trt.benchmark.rounds import (
    Disturbed,
    measure_interleaved,
    summarised,
    take_rounds,
    undisturbed,
)
from pytest_trt.benchmark.sampling import timer_of, warm_up_of
from pytest_trt.benchmark.warmup import warm_up
from pytest_trt.engine.cache import missing_or_damaged
from pytest_trt.engine.entry import open_entry
from pytest_trt.engine.finished import opened_plan
from pytest_trt.engine.protocols import Plan
from pytest_trt.engine.sidecar import SidecarError
from pytest_trt.private import open_private, trusted_places
from pytest_trt.workers.child import Reporter, serve


def main() -> None:
    """Do one job, a `FreshJob`."""
    serve(_run)


def _run(data: Mapping[str, Any], reporter: Reporter) -> Mapping[str, Any]:
    try:
        return measure(FreshJob.from_data(data), reporter.progress).to_data()
    except Disturbed as error:
        return {"disturbed": str(error)}


def measure(job: FreshJob, progress: Callable[[str], None]) -> FreshRun:
    """Open an engine, warm it up, and take its rounds.

    Raises:
        Disturbed: Too many rounds would have to be taken again.
        EngineLoadError: The engine is missing or damaged, or cannot be loaded.
        EngineRunError: It failed.
    """
    progress("loading")
    with _verified_plan(job) as plan:
        return _measured(job, plan, progress)


def _measured(job: FreshJob, plan: Plan, progress: Callable[[str], None]) -> FreshRun:
    inputs = read_inputs(job.inputs)
    probe = probe_devices().only(job.device) if job.device else DeviceProbe((), "not looked for")
    backend = make_backend(job.backend, probe=probe, threads=job.threads)
    session = backend.open(plan, job.model, job.spec, job.target)
    timer, how, items = timer_of(session, inputs, job.mode), warm_up_of(session), job.items_per_call
    progress("warming up")
    warm_up(timer, how)
    progress("measuring")
    with watched_device(job.device) as watch:
        guard = watch or undisturbed
        meter = LoadMeter(job.proc)
        with meter.running():
            taken = take_rounds(timer, job.rounds, job.calls, guard=guard)
        rounds = summarised(taken, items_per_call=items)
        if not job.interleave:
            return FreshRun(rounds, load=meter.load)
        progress("interleaving it with itself")
        other = timer_of(backend.open(plan, job.model, job.spec, job.target), inputs, job.mode)
        warm_up(other, how)
        pair = measure_interleaved(
            (other, timer),
            job.rounds,
            job.calls,
            random=Random(0),
            items_per_call=items,
            guard=guard,
        )
        return FreshRun(rounds, (pair[0], pair[1]), meter.load)


@contextmanager
def _verified_plan(job: FreshJob) -> Iterator[Plan]:
    with ExitStack() as opened:
        if job.plan_digest:
            yield opened.enter_context(opened_plan(job.entry, job.plan_digest))[0]
            return
        try:
            folder = opened.enter_context(open_private(job.entry, trusted=trusted_places()))
            entry = opened.enter_context(open_entry(folder, job.key))
            entry.verify()
        except (SidecarError, OSError) as error:
            raise missing_or_damaged(job.entry, error) from error
        yield entry.plan()
