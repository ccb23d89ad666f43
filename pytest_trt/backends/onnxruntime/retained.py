"""The session that the child process loaded last, for the next run of its plan there."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import Any, NamedTuple

#: A larger plan is not held by two processes for longer than a run.
_MOST_BYTES = 100_000_000


class Retained(NamedTuple):
    """A loaded plan.

    Attributes:
        session: An `onnxruntime.InferenceSession`.
        load_s: Seconds that loading it took.
        stamp: What identifies its file, wherever it is moved.
        threads: Threads of one inference.
        size_bytes: Size of the plan and its weights.
    """

    session: Any
    load_s: float
    stamp: tuple[int, ...]
    threads: int
    size_bytes: int


_last: list[Retained] = []


def retain(plan: Path, session: Any, load_s: float, threads: int) -> None:
    """Hold a session of a plan, in place of another one."""
    size_bytes = plan.stat().st_size
    with contextlib.suppress(OSError):
        size_bytes += plan.with_name(f"{plan.name}.data").stat().st_size
    _last[:] = [Retained(session, load_s, _stamp(plan), threads, size_bytes)]


def retained(plan: Path, threads: int) -> Retained | None:
    """Return the session that is held, if it is that of a plan; otherwise none is held any more."""
    if _last and (_last[0].stamp, _last[0].threads) != (_stamp(plan), threads):
        _last.clear()
    return _last[0] if _last else None


def drop(*, large: bool = False) -> None:
    """Hold no session, or none of a large plan."""
    if _last and (not large or _last[0].size_bytes > _MOST_BYTES):
        _last.clear()


def _stamp(plan: Path) -> tuple[int, ...]:
    status = plan.stat()
    times = status.st_mtime_ns, status.st_ctime_ns
    return status.st_dev, status.st_ino, status.st_size, *times
