"""The child process that builds plans, so that a crash of vendor code does not end pytest."""

from __future__ import annotations

import gc
from collections.abc import Mapping
from typing import Any

from pytest_trt.backends.cuda.runtime import Cuda
from pytest_trt.backends.tensorrt.build import build_plan
from pytest_trt.backends.tensorrt.build_job import BuildJob
from pytest_trt.backends.tensorrt.inspection import write_inspection
from pytest_trt.backends.tensorrt.log import log_tail
from pytest_trt.engine.builder_options import holds_host_code
from pytest_trt.workers.child import Reporter, serve


def main() -> None:
    """Build one plan after another."""
    serve(_build, once=False)


def _build(data: Mapping[str, Any], reporter: Reporter) -> list[str]:
    notes = _notes_of_build(BuildJob.from_data(data), reporter)
    gc.collect()  # the GPU memory of the build is released before another process needs it
    return notes


def _notes_of_build(job: BuildJob, reporter: Reporter) -> list[str]:
    if job.device is not None:
        reporter.progress(f"starting CUDA on GPU {job.device}")
        # Builders work on the current device, and without any some versions do not fail but crash.
        Cuda(job.device)
    reporter.progress(f"loading {job.product.label}")
    trt = job.product.load()
    notes = list(build_plan(trt, job.plan, reporter.progress, reporter.log).notes)
    if job.device is not None:
        reporter.progress(f"inspecting {job.plan.title}")
        host_code = holds_host_code(job.plan.options or {})
        with log_tail(trt, reporter.log):
            note = write_inspection(trt, job.plan.output, host_code=host_code)
        notes += [] if note is None else [note]
    return notes
