"""Runs of the embedded backend, as the child process does them: see `run_job`."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, Protocol

from pytest_trt.backends.onnxruntime import retained
from pytest_trt.backends.onnxruntime.plan import open_plan
from pytest_trt.backends.onnxruntime.reference import load_reference
from pytest_trt.backends.onnxruntime.run_job import RunJob, Source
from pytest_trt.backends.onnxruntime.session import OnnxRuntimeSession
from pytest_trt.records import from_data
from pytest_trt.tensors.stored import read_samples, write_samples
from pytest_trt.workers import calls


@dataclass(slots=True)
class _Ahead:
    """What was loaded before a job asked for it; it is released like any other.

    Attributes:
        source: What was loaded.
        stamp: The stamp that the model had before.
        handle: By which it is held.
        is_given: Whether a job got it; the next one gets a session that nothing ran.
    """

    source: Source
    stamp: tuple[int, ...]
    handle: str
    is_given: bool = False

    def held(self, source: Source) -> retained.Retained | None:
        """Return the session if it is held and of the bytes that the source has now."""
        is_same = (self.source, self.stamp) == (source, retained.stamp_of(source.model))
        return retained.of_handle(self.handle) if is_same else None


#: The last of them.
_ahead: _Ahead | None = None


class _Progress(Protocol):
    def __call__(self, text: str, timeout_s: float | None = None) -> None: ...


def do_run(progress: _Progress, job: Mapping[str, Any]) -> Mapping[str, Any]:
    """Do a `RunJob`, JSON-simple data; return the other fields of a `RunThere`, or nothing.

    Nothing where the session that the job names is not held any more.
    """
    given = from_data(RunJob, job)
    held: retained.Retained | None
    if given.source is not None:
        held = _loaded(given.source, lambda: progress(f"loading {given.subject}"))
    elif given.built is not None:
        held = retained.of_plan(given.built, given.threads)
    else:
        held = retained.of_handle(given.held)
    if held is None:
        return {}
    progress(f"running {given.subject}", given.timeout_s)
    (inputs,) = read_samples(given.inputs)
    started_s = time.perf_counter()
    # Without a thread of its own: pytest's process ends this one at the time limit.
    outputs = OnnxRuntimeSession(held.session, subject=given.subject).run_here(inputs)
    run_s = time.perf_counter() - started_s
    retained.drop(large=True)
    write_samples(given.outputs, [outputs])
    is_large = held.is_large or (given.ahead and retained.is_large(given.ahead.size_bytes))
    if given.ahead is not None and not is_large:
        calls.ahead.append(partial(_load_ahead, given.ahead))
    return {"load_s": held.load_s, "run_s": run_s, "held": "" if held.is_large else held.handle}


def _load_ahead(source: Source) -> None:
    global _ahead
    # Every run of an engine expects the reference, which is held since the first.
    if _ahead is None or _ahead.held(source) is None:
        stamp = retained.stamp_of(source.model)
        _ahead = _Ahead(source, stamp, _loaded(source).handle)


def _loaded(source: Source, loading: Callable[[], object] = lambda: None) -> retained.Retained:
    """Return the session of a source, loaded unless it is held.

    Args:
        source: What is loaded.
        loading: Called before it is loaded.
    """
    if _ahead is not None and not _ahead.is_given and (early := _ahead.held(source)):
        _ahead.is_given = True
        return early
    if source.plan is not None and (held := retained.of_plan(source.plan, source.threads)):
        return held
    loading()
    retained.drop(large=True)
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
    return retained.retain(
        session,
        time.perf_counter() - started_s,
        plan=source.plan,
        threads=source.threads,
        size_bytes=source.size_bytes,
    )
