"""The worker that built the last plan, retained a while for the next one.

Starting a builder can cost more than using it: with TensorRT 8.6 on an H200 a process is ten
seconds old before it builds its first layer, and the next small engine takes one second.
"""

from __future__ import annotations

import atexit
import os
import sys
import threading
from collections.abc import Hashable
from typing import NamedTuple

from pytest_trt.workers.process import Worker


class _Waiting(NamedTuple):
    worker: Worker
    circumstances: tuple[Hashable, ...]


def _circumstances(kind: Hashable) -> tuple[Hashable, ...]:
    """Return what a worker is started with; it can only do jobs for which all of it is the same."""
    # A worker ends with the thread that started it: that is what Linux calls its parent.
    thread = threading.get_native_id()
    return kind, frozenset(os.environ.items()), tuple(sys.path), thread


class WarmBuilder:
    """At most one worker that waits for a job; threads may share it.

    It ends by itself when none comes for a while, and with the process that started it. Until then
    it holds a CUDA context.
    """

    def __init__(self) -> None:
        self._waiting: _Waiting | None = None
        self._lock = threading.Lock()
        self._inherited: list[_Waiting] = []

    def take(self, kind: Hashable) -> Worker | None:
        """Return the waiting worker if it is of this kind; one of another kind is ended."""
        waiting = self._swap(None)
        if waiting is None:
            return None
        if waiting.circumstances == _circumstances(kind) and waiting.worker.is_alive:
            return waiting.worker
        waiting.worker.end()
        return None

    def put(self, kind: Hashable, worker: Worker) -> None:
        """Retain a worker that has done its job, in place of one that waits."""
        before = self._swap(_Waiting(worker, _circumstances(kind)))
        if before is not None:
            before.worker.end()

    def end(self) -> None:
        """End the waiting worker, as before the GPU is measured."""
        before = self._swap(None)
        if before is not None:
            before.worker.end()

    def detach(self) -> None:
        """Leave the worker to the parent, in a process that was forked."""
        self._lock = threading.Lock()
        if self._waiting is not None:
            # Not released: a process object that goes away polls a child that is not its own.
            self._inherited.append(self._waiting)
            self._waiting = None

    def _swap(self, waiting: _Waiting | None) -> _Waiting | None:
        with self._lock:
            before, self._waiting = self._waiting, waiting
        return before


#: This process's.
warm_builder = WarmBuilder()
atexit.register(warm_builder.end)
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=warm_builder.detach)
