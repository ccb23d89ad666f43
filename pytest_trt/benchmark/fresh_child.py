"""The process that measures one engine and ends. `fresh_process` starts it.

It takes no lock: the process that started it holds the device for both, and is idle meanwhile.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from random import Random
from typing import Any

from pytest_trt.backends.devices.gpu import DeviceProbe
from pytest_trt.backends.devices.probe import probe_devices
from pytest_trt.backends.devices.watch import watched_device
from pytest_trt.backends.selection import make_backend
from pytest_trt.benchmark.fresh_job import FreshJob, FreshRun, take_over
from pytest_trt.benchmark.host_load import LoadMeter
from pytest_trt.benchmark.interleaved import measure_interleaved
from pytest_trt.benchmark.rounds import Disturbed, take_rounds, undisturbed
from pytest_trt.benchmark.sessions import stretches_of, warmth_of
from pytest_trt.benchmark.warmup import warm_up
from pytest_trt.diagnostics import EngineLoadError
from pytest_trt.engine.sidecar import SidecarError, read_sidecar, verify_files
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
        EngineLoadError: The engine is gone or not whole, or cannot be loaded.
        EngineRunError: It failed.
    """
    progress("loading")
    plan = _verified_plan(job)
    inputs = take_over(job.inputs, job.model.inputs)
    backend = make_backend(job.backend, probe=_probe(job.device), threads=job.threads)
    session = backend.open(plan, job.model, job.spec, job.target)
    stretch, how = stretches_of(session, inputs, job.mode), warmth_of(session)
    progress("warming up")
    warm_up(stretch, how)
    progress("taking rounds")
    with watched_device(job.device) as watch:
        guard = watch or undisturbed
        meter = LoadMeter()
        with meter.running():
            rounds = take_rounds(
                stretch, job.rounds, job.calls, items_per_call=job.items_per_call, guard=guard
            )
        if not job.beside:
            return FreshRun(rounds, load=meter.load)
        progress("taking turns with itself")
        other = backend.open(plan, job.model, job.spec, job.target)
        beside = stretches_of(other, inputs, job.mode)
        warm_up(beside, how)
        turns = measure_interleaved(
            beside,
            stretch,
            job.rounds,
            job.calls,
            random=Random(0),
            items_per_call=job.items_per_call,
            guard=guard,
        )
        return FreshRun(rounds, turns, meter.load)


def _probe(device: str) -> DeviceProbe:
    return probe_devices().only(device) if device else DeviceProbe((), "not looked for")


def _verified_plan(job: FreshJob) -> Path:
    try:
        sidecar = read_sidecar(job.entry)
        if sidecar.key_digest != job.key:
            raise SidecarError(f"it was built for key {sidecar.key_digest[:12]}")
        verify_files(job.entry, sidecar)
    except (SidecarError, FileNotFoundError) as error:
        raise EngineLoadError(
            f"the engine {job.entry} with key {job.key[:12]} is gone or not whole: {error}.",
            fix="run again: it is built anew.",
        ) from error
    return job.entry / sidecar.plan_name
