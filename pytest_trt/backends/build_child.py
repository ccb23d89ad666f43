"""The process that builds one plan: whatever the vendor's code does to it, pytest lives on.

It reads jobs from its standard input and answers with events on its standard output, see
`build_job`. `build_process` starts it.
"""

from __future__ import annotations

import contextlib
import ctypes
import gc
import json
import os
import queue
import signal
import sys
import threading
import traceback
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import BinaryIO

from pytest_trt.backends.build_job import BuildJob, Built, error_to_json
from pytest_trt.backends.cuda import Cuda
from pytest_trt.backends.trt_build import build_plan
from pytest_trt.backends.trt_inspector import write_inspection
from pytest_trt.backends.trt_logging import log_tail
from pytest_trt.errors import PytestTrtError

#: Seconds that a builder waits for another job: the next engine of a test suite is asked for after
#: a few tests of the last one.
WAIT_S = 15.0

#: PR_SET_PDEATHSIG. Source: linux/prctl.h.
_SET_PARENT_DEATH_SIGNAL = 1

#: Added to the badness by which the kernel chooses what to kill when memory runs out, 0 to 1000.
#: Source: proc(5), /proc/pid/oom_score_adj.
_OOM_SCORE = "500"


class Events:
    """What the parent is told, an object a line, from any thread.

    Args:
        stream: Where lines go.
    """

    def __init__(self, stream: BinaryIO) -> None:
        self._stream = stream
        self._lock = threading.Lock()

    def send(self, event: Mapping[str, object]) -> None:
        """Tell one event; without a parent to tell it to, the process ends."""
        line = json.dumps(event).encode() + b"\n"
        try:
            with self._lock:
                self._stream.write(line)
                self._stream.flush()
        except OSError:
            os._exit(1)


def main() -> None:
    """Build the jobs that standard input holds, a line each; never returns.

    The process ends at the first job that fails, and when no other comes for a while. It ends
    without unloading anything: libraries that crash while they are unloaded do not make a good
    plan bad.
    """
    # What native libraries print must not get between the events.
    events = Events(os.fdopen(os.dup(1), "wb"))
    os.dup2(2, 1)
    jobs = _jobs()
    _die_first_for_memory()
    with contextlib.suppress(queue.Empty):
        # The first job is on its way, however long it takes.
        line = jobs.get()
        while True:
            events.send({"event": "started"})
            _do(line, events)
            line = jobs.get(timeout=WAIT_S)
    os._exit(0)


def _do(line: bytes, events: Events) -> None:
    try:
        built = _build(BuildJob.from_json(line), events)
    except (PytestTrtError, OSError) as error:
        events.send(error_to_json(error))
        os._exit(0)
    except BaseException:
        traceback.print_exc()
        sys.stderr.flush()
        os._exit(1)
    gc.collect()  # what the build held on the GPU goes before anybody else needs it
    events.send({"event": "done", "notes": built.notes})


def _build(job: BuildJob, events: Events) -> Built:
    def progress(text: str) -> None:
        events.send({"event": "progress", "text": text})

    def log(line: str) -> None:
        events.send({"event": "log", "line": line})

    if job.device is not None:
        progress(f"starting CUDA on GPU {job.device}")
        # Builders work on the current device, and without any some versions do not fail but crash.
        Cuda(job.device)
    progress(f"loading {job.product.label}")
    trt = job.product.load()
    built = build_plan(trt, job.plan, progress, log)
    if job.device is None:
        return built
    progress(f"inspecting {job.plan.title}")
    host_code = bool((job.plan.options or {}).get("version_compatible", False))
    with log_tail(trt, log):
        note = write_inspection(trt, job.plan.output, host_code=host_code)
    return built if note is None else replace(built, notes=(*built.notes, note))


def _jobs() -> queue.SimpleQueue[bytes]:
    """Return the jobs as they come; this process ends when the one that sends them is gone."""
    with contextlib.suppress(OSError, AttributeError):  # Linux has it
        ctypes.CDLL(None).prctl(_SET_PARENT_DEATH_SIGNAL, signal.SIGKILL)
    jobs: queue.SimpleQueue[bytes] = queue.SimpleQueue()

    def read() -> None:
        while line := sys.stdin.buffer.readline():
            jobs.put(line)
        # The parent keeps the other end open for as long as it lives.
        os._exit(1)

    threading.Thread(target=read, daemon=True).start()
    return jobs


def _die_first_for_memory() -> None:
    """Have the kernel end this process rather than pytest when memory runs out."""
    with contextlib.suppress(OSError):
        Path("/proc/self/oom_score_adj").write_text(_OOM_SCORE)
