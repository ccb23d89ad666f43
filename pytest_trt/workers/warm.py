"""The worker that did the last job, retained a while for the next one.

Starting a worker can cost more than using it: with TensorRT 8.6 on an H200 a process is ten seconds
old before it builds its first layer, and the next small engine takes one second. One that imports
ONNX Runtime and onnx starts in 0.4 s, and builds a small engine in 10 ms.
"""

from __future__ import annotations

import atexit
import os
import sys
import threading
from collections.abc import Callable, Hashable
from typing import NamedTuple

from pytest_trt.workers.process import Reply, Worker


class _Waiting(NamedTuple):
    worker: Worker
    circumstances: tuple[Hashable, ...]


#: Changes with every phase of every test.
_OF_TESTS = "PYTEST_CURRENT_TEST"


class WarmBuilder:
    """At most one worker that waits for a job; threads may share it.

    It ends by itself when none comes for a while, and with the process that started it. Until then
    one that uses a GPU holds a CUDA context.

    Args:
        fixed_environment: Whether a worker may do jobs after the environment or the search path of
            this process has changed.
    """

    def __init__(self, *, fixed_environment: bool = False) -> None:
        self._fixed_environment = fixed_environment
        self._waiting: _Waiting | None = None
        self._lock = threading.Lock()
        self._inherited: list[_Waiting] = []
        atexit.register(self.end)
        if hasattr(os, "register_at_fork"):
            os.register_at_fork(after_in_child=self.detach)

    def run(
        self,
        kind: Hashable,
        start: Callable[[], Worker],
        job: object,
        *,
        timeout_s: float,
        progress: Callable[[str], None],
    ) -> tuple[Worker, Reply]:
        """Do a job in the waiting worker or a new one, and retain it if it can do another.

        Args:
            kind: What the worker has to be the same in; one of another kind is ended.
            start: Starts a worker.
            job: See `Worker.run`, as for the other arguments.
            timeout_s: Seconds after which the worker is ended; 0 for no limit.
            progress: Called with each step, and with the seconds so far while nothing is new.
        """
        done = self.run_waiting(kind, job, timeout_s=timeout_s, progress=progress)
        if done is not None:
            return done
        worker = start()
        reply = worker.run(job, timeout_s=timeout_s, progress=progress)
        if reply.is_waiting:
            self.put(kind, worker)
        return worker, reply

    def run_waiting(
        self, kind: Hashable, job: object, *, timeout_s: float, progress: Callable[[str], None]
    ) -> tuple[Worker, Reply] | None:
        """Do a job in the waiting worker; None if there is none, or it did not get to the job.

        What it does between jobs is not blamed on one: it is ended, and a new one does the job.

        Args:
            kind: See `run`, as for the other arguments.
            job: See `Worker.run`.
            timeout_s: Seconds after which the worker is ended; 0 for no limit.
            progress: Called with each step, and with the seconds so far while nothing is new.
        """
        worker = self.take(kind)
        if worker is None:
            return None
        reply = worker.run(job, timeout_s=timeout_s, progress=progress)
        if not reply.is_started:
            return None
        if reply.is_waiting:
            self.put(kind, worker)
        return worker, reply

    def take(self, kind: Hashable) -> Worker | None:
        """Return the waiting worker if it is of this kind; one of another kind is ended."""
        waiting = self._swap(None)
        if waiting is None:
            return None
        if waiting.circumstances == self._circumstances(kind) and waiting.worker.is_alive:
            return waiting.worker
        waiting.worker.end()
        return None

    def put(self, kind: Hashable, worker: Worker) -> None:
        """Retain a worker that has done its job, in place of one that waits."""
        before = self._swap(_Waiting(worker, self._circumstances(kind)))
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

    def _circumstances(self, kind: Hashable) -> tuple[Hashable, ...]:
        """Return what has to be the same when a worker is started and when it gets a job."""
        # A worker ends with the thread that started it: that is what Linux calls its parent.
        thread = threading.get_native_id()
        if self._fixed_environment:
            return kind, thread
        environment = {name: value for name, value in os.environ.items() if name != _OF_TESTS}
        return kind, thread, frozenset(environment.items()), tuple(sys.path)

    def _swap(self, waiting: _Waiting | None) -> _Waiting | None:
        with self._lock:
            before, self._waiting = self._waiting, waiting
        return before


#: This process's worker that builds with TensorRT.
warm_builder = WarmBuilder()
