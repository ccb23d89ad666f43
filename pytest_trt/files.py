"""A lock that one process holds at a time; the others wait for it and say so."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator
from pathlib import Path

#: How often a process that waits says so, in seconds.
_REPORT_S = 1.0


@contextlib.contextmanager
def process_lock(path: Path, waiting: Callable[[float], None]) -> Iterator[None]:
    """Hold a lock file. The kernel releases it when the process dies.

    Args:
        path: The lock file, in a folder that exists.
        waiting: Called with the seconds waited so far, about once a second.
    """
    # Not with the module: a run that finds its engines in the cache waits for nobody.
    from filelock import FileLock, Timeout

    lock = FileLock(path)
    started_s = time.monotonic()
    while True:
        try:
            lock.acquire(timeout=_REPORT_S, poll_interval=0.02)
            break
        except Timeout:
            waiting(time.monotonic() - started_s)
    try:
        yield
    finally:
        lock.release()
