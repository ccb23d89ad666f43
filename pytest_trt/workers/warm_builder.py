"""The process that built the last plan, kept a while for the next one.

Starting a builder can cost more than using it: with TensorRT 8.6 on an H200 a process is ten
seconds old before it builds its first layer, and the next small engine takes one second.
"""

from __future__ import annotations

import atexit
import contextlib
import os
import signal
import subprocess
import sys
import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from pytest_trt.backends.tensorrt.build_job import BuildJob

#: Seconds that a child is given to end when it is asked to, and then when it is killed: one that
#: waits for a hung GPU cannot even be killed.
_GRACE_S = 2.0
_KILLED_S = 10.0


@dataclass(frozen=True)
class _Circumstances:
    """What a builder was started with; another job can only use it where all is the same."""

    module: str
    device: int | None
    environment: frozenset[tuple[str, str]]
    path: tuple[str, ...]
    #: A builder ends with the thread that started it: that is what Linux calls its parent.
    thread: int

    @classmethod
    def of(cls, job: BuildJob) -> _Circumstances:
        environment = frozenset(os.environ.items())
        path, thread = tuple(sys.path), threading.get_native_id()
        return cls(job.product.module, job.device, environment, path, thread)


class _Kept(NamedTuple):
    process: subprocess.Popen[bytes]
    circumstances: _Circumstances


class WarmBuilder:
    """At most one builder that waits for a job; threads may share it.

    It ends by itself when none comes for a while, and with the process that started it. Until then
    it holds a CUDA context.
    """

    def __init__(self) -> None:
        self._kept: _Kept | None = None
        self._lock = threading.Lock()
        self._inherited: list[_Kept] = []

    def take(self, job: BuildJob) -> subprocess.Popen[bytes] | None:
        """Return the builder that waits, if it can do this job; another one that waits is ended."""
        kept = self._swap(None)
        if kept is None:
            return None
        if kept.circumstances == _Circumstances.of(job) and kept.process.poll() is None:
            return kept.process
        end_process(kept.process)
        return None

    def keep(self, job: BuildJob, process: subprocess.Popen[bytes]) -> None:
        """Keep a builder that has done its job; another one that waits is ended."""
        before = self._swap(_Kept(process, _Circumstances.of(job)))
        if before is not None:
            end_process(before.process)

    def end(self) -> None:
        """End the builder that waits, as when the GPU is to be left alone."""
        before = self._swap(None)
        if before is not None:
            end_process(before.process)

    def forget(self) -> None:
        """Leave the builder alone in a process that was forked: it talks to the one before."""
        self._lock = threading.Lock()
        if self._kept is not None:
            # Not let go of: a process object that goes away asks for a child that is not its own.
            self._inherited.append(self._kept)
            self._kept = None

    def _swap(self, kept: _Kept | None) -> _Kept | None:
        with self._lock:
            before, self._kept = self._kept, kept
        return before


#: This process's.
warm_builder = WarmBuilder()
atexit.register(warm_builder.end)
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=warm_builder.forget)


def end_process(process: subprocess.Popen[bytes]) -> None:
    """End a child, if it has not ended, and whatever it started."""
    try:
        _signal_group(process, signal.SIGTERM)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(_GRACE_S)
    finally:
        _signal_group(process, signal.SIGKILL)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(_KILLED_S)
        for stream in (process.stdin, process.stdout, process.stderr):
            with contextlib.suppress(OSError):
                stream.close()  # type: ignore[union-attr]


def _signal_group(process: subprocess.Popen[bytes], number: signal.Signals) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, number)
