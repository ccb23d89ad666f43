"""The sessions that the child process loaded last, for further runs there: a plan, a reference."""

from __future__ import annotations

import os
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pytest_trt.workers.calls import later

#: A session of a larger model is not held by two processes for longer than a run.
_MOST_BYTES = 100_000_000


@dataclass(frozen=True, slots=True)
class Retained:
    """A loaded plan or reference.

    Attributes:
        handle: By which the parent names it; it never names another one.
        session: An `onnxruntime.InferenceSession`.
        load_s: Seconds that loading it took.
        threads: Threads of one inference.
        is_large: Whether it is dropped after its run.
        stamp: What identifies the plan's file, wherever it is moved; None for a reference.
    """

    handle: str
    session: Any
    load_s: float
    threads: int
    is_large: bool
    stamp: tuple[int, ...] | None


#: By whether it is a plan.
_last: dict[bool, Retained] = {}


def is_large(size_bytes: int) -> bool:
    """Whether a session of a model of this size is dropped after its run."""
    return size_bytes > _MOST_BYTES


def retain(
    session: Any, load_s: float, *, plan: Path | None, threads: int, size_bytes: int
) -> Retained:
    """Hold a session in place of the last one of its sort, and return what is held."""
    held = Retained(
        os.urandom(8).hex(),
        session,
        load_s,
        threads,
        is_large(size_bytes),
        None if plan is None else stamp_of(plan),
    )
    _last[plan is not None] = held
    return held


def of_plan(plan: Path, threads: int) -> Retained | None:
    """Return the session of a plan if it is held; otherwise none of a plan is held any more."""
    held, stamp = _last.get(True), None
    with suppress(OSError):  # evicted by another process
        stamp = stamp_of(plan)
    if held is not None and (held.stamp, held.threads) != (stamp, threads):
        del _last[True]
        return None
    return held


def of_handle(handle: str) -> Retained | None:
    """Return the session that a handle names, if it is held."""
    return next((held for held in _last.values() if held.handle == handle), None)


def drop(*, large: bool = False) -> None:
    """Hold no session, or none of a large model. Small ones are released after the job."""
    for of_plan, held in list(_last.items()):
        if held.is_large or not large:
            del _last[of_plan]
            if not held.is_large:
                later.append(held)


def stamp_of(path: Path) -> tuple[int, ...]:
    """Return what changes with every write of a file, wherever it is moved."""
    status = path.stat()
    times = status.st_mtime_ns, status.st_ctime_ns
    return status.st_dev, status.st_ino, status.st_size, *times
