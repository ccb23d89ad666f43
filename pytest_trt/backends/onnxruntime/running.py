"""Runs of the embedded backend, as the child process does them: see `run_job`."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any, Protocol

from pytest_trt.backends.onnxruntime import retained
from pytest_trt.backends.onnxruntime.plan import open_plan
from pytest_trt.backends.onnxruntime.reference import load_reference
from pytest_trt.backends.onnxruntime.run_job import RunJob, Source
from pytest_trt.backends.onnxruntime.session import OnnxRuntimeSession
from pytest_trt.records import from_data
from pytest_trt.tensors.stored import read_samples, write_samples


class _Progress(Protocol):
    def __call__(self, text: str, timeout_s: float | None = None) -> None: ...


def do_run(progress: _Progress, job: Mapping[str, Any]) -> Mapping[str, float]:
    """Do a `RunJob`, JSON-simple data; return the seconds of a `FirstRun`."""
    given = from_data(RunJob, job)
    session, load_s = _loaded(given.source, progress)
    progress(f"running {given.source.subject}", given.timeout_s)
    (inputs,) = read_samples(given.inputs)
    started_s = time.perf_counter()
    outputs = OnnxRuntimeSession(session, subject=given.source.subject).run(inputs)
    run_s = time.perf_counter() - started_s
    retained.drop(large=True)
    write_samples(given.outputs, [outputs])
    return {"load_s": load_s, "run_s": run_s}


def _loaded(source: Source, progress: _Progress) -> tuple[Any, float]:
    """Return a session, and the seconds that loading it took."""
    if source.plan is None:
        retained.drop(large=True)
    elif held := retained.retained(source.plan, source.threads):
        return held.session, held.load_s
    progress(f"loading {source.subject}")
    started_s = time.perf_counter()
    if source.plan is None:
        session = load_reference(source.model, threads=source.threads, custom_ops=source.custom_ops)
    else:
        session = open_plan(
            source.plan,
            source.spec,
            model=source.model,
            shown=source.shown,
            threads=source.threads,
            spins=False,
            custom_ops=source.custom_ops,
        )
    load_s = time.perf_counter() - started_s
    if source.plan is not None:
        retained.retain(source.plan, session, load_s, source.threads)
    return session, load_s
