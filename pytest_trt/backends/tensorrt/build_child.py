"""The process that builds one plan: whatever the vendor's code does to it, pytest lives on.

It reads jobs from its standard input and answers with events on its standard output, see
`build_job`. `build_process` starts it.
"""

from __future__ import annotations

import contextlib
import gc
import os
import queue
import sys
import traceback
from dataclasses import replace

from pytest_trt.backends.cuda.runtime import Cuda
from pytest_trt.backends.tensorrt.build import build_plan
from pytest_trt.backends.tensorrt.build_job import BuildJob, Built, error_to_json
from pytest_trt.backends.tensorrt.inspection import write_inspection
from pytest_trt.backends.tensorrt.log import log_tail
from pytest_trt.diagnostics import PytestTrtError
from pytest_trt.workers.events import Events, die_first_for_memory, jobs_of_parent

#: Seconds that a builder waits for another job: the next engine of a test suite is asked for after
#: a few tests of the last one.
WAIT_S = 15.0


def main() -> None:
    """Build the jobs that standard input holds, a line each; never returns.

    The process ends at the first job that fails, and when no other comes for a while. It ends
    without unloading anything: libraries that crash while they are unloaded do not make a good
    plan bad.
    """
    events = Events.to_parent()
    jobs = jobs_of_parent()
    die_first_for_memory()
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
