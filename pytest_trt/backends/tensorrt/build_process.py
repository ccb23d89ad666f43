"""Builds in a child process, since builders may crash, hang or run out of memory."""

from __future__ import annotations

from pytest_trt.backends.tensorrt.build_job import BuildJob, Built
from pytest_trt.backends.tensorrt.inspection import INSPECTOR_NAME
from pytest_trt.diagnostics import EngineBuildError, Fact, PytestTrtError, Remedy
from pytest_trt.engine.protocols import Progress
from pytest_trt.workers.process import Reply, Worker
from pytest_trt.workers.warm import warm_builder

_CHILD = "pytest_trt.backends.tensorrt.build_child"


def build_in_child(job: BuildJob, *, timeout_s: float, progress: Progress) -> Built:
    """Build a plan in a worker, and wait for it.

    After a failure no plan and no process is left, also after Ctrl-C. A worker that has built a
    plan waits a while for the next job, see `warm_builder`.

    Args:
        job: What to build.
        timeout_s: Seconds after which the build is ended; 0 for no limit.
        progress: Called with each step, and with the seconds so far while nothing is new.

    Raises:
        ConfigurationError: An option or a profile is not for this builder or model.
        BackendUnavailableError: The process cannot be started, or the product or the GPU cannot be
            used in it.
        EngineBuildError: The parser or the builder refused the model, crashed, or took too long.
        OSError: The plan cannot be written.
    """
    kind = (job.product.module, job.device)
    worker, reply = warm_builder.take(kind), Reply()
    try:
        if worker is not None:
            reply = worker.run(job.to_data(), timeout_s=timeout_s, progress=progress)
        if worker is None or not (reply.is_started or reply.timed_out):
            # No worker waited, or it ended before it read the job.
            worker = Worker(_CHILD, task=f"builds {job.plan.title}")
            reply = worker.run(job.to_data(), timeout_s=timeout_s, progress=progress)
    finally:
        if not reply.is_done:
            for name in (job.plan.output.name, INSPECTOR_NAME):
                job.plan.output.with_name(name).unlink(missing_ok=True)
    if reply.is_done:
        warm_builder.put(kind, worker)
        return Built(tuple(reply.log), tuple(reply.result))
    raise reply.error or _ended_early(job, worker, reply, timeout_s)


def _ended_early(job: BuildJob, worker: Worker, reply: Reply, timeout_s: float) -> PytestTrtError:
    """Return the error for a worker that reported neither a plan nor an error."""
    label, title = job.product.label, job.plan.title
    facts: dict[str, Fact] = {
        "model": job.plan.model_name,
        "title": title,
        "product": label,
        "last_step": reply.step,
        "status": reply.status,
        "signal": reply.signal_name,
    }
    if reply.timed_out:
        code, what = "TRT301", f"took longer than --trt-build-timeout={timeout_s:g}"
        facts["timeout_s"] = timeout_s
        fix = Remedy(
            "Raise --trt-build-timeout (0 lifts the limit), or give the builder less to do:",
            alternatives=(
                'builder_options={"builder_optimization_level": 1}',
                "fewer profiles",
                "an idle GPU",
            ),
        )
    elif reply.signal_name == "SIGKILL":
        code, what = "TRT302", "was killed (SIGKILL): memory may have run out"
        fix = Remedy(
            "Free memory or build in fewer processes at once (pytest -n). The kernel's log names "
            "the processes that it killed:",
            ("dmesg",),
        )
    elif reply.signal_name:
        code, what = "TRT303", f"crashed ({reply.signal_name})"
        fix = Remedy(
            "Run again. If it repeats:",
            alternatives=(
                "another precision, or fewer builder_options",
                f"another version of {label}",
                "report it to NVIDIA with the model and this log",
            ),
        )
    elif not reply.is_started:
        return worker.never_began(reply)
    else:
        code, what = "TRT304", f"ended without a plan (exit status {reply.status})"
        fix = Remedy("Act on the last lines of the log.")
    return EngineBuildError(
        f"building {title}: {label} {what}; its last step: {reply.step}",
        code=code,
        facts=facts,
        fix=fix,
        log_tail=[*reply.log, *list(reply.stderr)[-20:]],
    )
