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
from dataclasses import dataclass

from pytest_trt.backends.build_job import BuildJob

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
    owner: int

    @classmethod
    def of(cls, job: BuildJob) -> _Circumstances:
        environment = frozenset(os.environ.items())
        # The owner: a process that is forked from this one must not talk into its pipes.
        return cls(job.product.module, job.device, environment, tuple(sys.path), os.getpid())


class KeptBuilder:
    """At most one builder that waits for a job.

    It ends by itself when none comes for a while, and with the process that started it. Until then
    it holds a CUDA context.
    """

    def __init__(self) -> None:
        self._process: subprocess.Popen[bytes] | None = None
        self._circumstances: _Circumstances | None = None

    def take(self, job: BuildJob) -> subprocess.Popen[bytes] | None:
        """Return the builder that waits, if it can do this job; another one that waits is ended."""
        process, self._process = self._process, None
        if process is None:
            return None
        wanted, found = _Circumstances.of(job), self._circumstances
        if wanted == found and process.poll() is None:
            return process
        if found is not None and found.owner == wanted.owner:
            end_process(process)
        return None

    def keep(self, job: BuildJob, process: subprocess.Popen[bytes]) -> None:
        """Keep a builder that has done its job."""
        self.end()
        self._process, self._circumstances = process, _Circumstances.of(job)

    def end(self) -> None:
        """End the builder that waits, as when the GPU is to be left alone."""
        process, self._process = self._process, None
        owner = self._circumstances.owner if self._circumstances else None
        if process is not None and owner == os.getpid():
            end_process(process)


#: This process's.
kept_builder = KeptBuilder()
atexit.register(kept_builder.end)


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
