"""Builds in a child process, since builders may crash, hang or run out of memory."""

from __future__ import annotations

from pytest_trt.backends.ended import ended_early
from pytest_trt.backends.tensorrt.build_job import BuildJob, Built
from pytest_trt.backends.tensorrt.inspection import INSPECTOR_NAME
from pytest_trt.engine.protocols import Progress
from pytest_trt.workers.process import Reply, Worker
from pytest_trt.workers.warm import warm_builder

_CHILD = "pytest_trt.backends.tensorrt.build_child"


def build_in_child(job: BuildJob, *, timeout_s: float, progress: Progress) -> Built:
    """Build a plan in a worker, and wait for it.

    After a failure no plan and no process is left, also after Ctrl-C. A worker that has built a
    plan waits a while for the next job, see `warm_builder`.

    Raises:
        ConfigurationError: An option or a profile is not for this builder or model.
        BackendUnavailableError: The process cannot be started, or the product or the GPU cannot be
            used in it.
        EngineBuildError: The parser or the builder refused the model, crashed, or took too long.
        OSError: The plan cannot be written.
    """
    # Plugins stay registered, and a library stays loaded, whatever its path holds later.
    plugins = tuple((str(one.path), one.digest) for one in job.plan.plugin_libraries)
    kind, reply = (job.product.module, job.device, plugins), Reply()
    try:
        worker, reply = warm_builder.run(
            kind,
            lambda: Worker(_CHILD, task=f"builds {job.plan.title}"),
            job.to_data(),
            timeout_s=timeout_s,
            progress=progress,
        )
    finally:
        if not reply.is_done:
            for name in (job.plan.output.name, INSPECTOR_NAME):
                job.plan.output.with_name(name).unlink(missing_ok=True)
    if reply.is_done:
        return Built(tuple(reply.log), tuple(reply.result))
    label = job.product.label
    raise reply.error or ended_early(
        worker,
        reply,
        doing=f"building {job.plan.title}",
        label=label,
        timeout_s=timeout_s,
        facts={"model": job.plan.model_name, "title": job.plan.title},
        quicker=(
            'builder_options={"builder_optimization_level": 1}',
            "fewer profiles",
            "an idle GPU",
        ),
        report_to="NVIDIA",
    )
