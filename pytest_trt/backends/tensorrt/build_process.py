"""Building in a child process: builders crash, hang and run out of memory, and pytest must not.

The child is `build_child`; what goes back and forth is described in `build_job`.
"""

from __future__ import annotations

import signal
import subprocess
import time
from collections import deque

from pytest_trt.backends.tensorrt.build_job import BuildJob, Built, error_from_json
from pytest_trt.backends.tensorrt.inspection import INSPECTOR_NAME
from pytest_trt.backends.tensorrt.log import LogTail
from pytest_trt.diagnostics import EngineBuildError, PytestTrtError
from pytest_trt.engine.protocols import Progress
from pytest_trt.workers.process import (
    STDERR_LINES,
    TICK_S,
    Line,
    lines_of,
    never_began,
    send_line,
    signal_name,
    start_child,
)
from pytest_trt.workers.warm_builder import end_process, warm_builder

_CHILD = "pytest_trt.backends.tensorrt.build_child"


def build_in_child(job: BuildJob, *, timeout_s: float, progress: Progress) -> Built:
    """Build a plan in a process of its own, and wait for it.

    When it fails no plan is left, and no process in any case: the child and all that it started
    are ended, also by Ctrl-C, and should this process be killed, the child ends itself. One that
    has built a plan waits a while for the next job, see `warm_builder`.

    Args:
        job: What to build.
        timeout_s: Seconds after which the build is ended; 0 for no limit.
        progress: Told what the builder is doing, and for how long when it says nothing new.

    Raises:
        ConfigurationError: An option or a profile is not for this builder or model.
        BackendUnavailableError: The process cannot be started, or the product or the GPU cannot be
            used in it.
        EngineBuildError: The parser or the builder refused the model, crashed, or took too long.
        OSError: The plan cannot be written.
    """
    told = _Told(job, progress)
    process = warm_builder.take(job)
    if process is not None:
        _follow(process, told, timeout_s)
    if process is None or not told.started:
        # None was kept, or the one that was ended before it saw the job.
        process = start_child(_CHILD, does=_does(job))
        _follow(process, told, timeout_s)
    if isinstance(told.outcome, Built):
        return told.outcome
    raise told.outcome or _ended_early(told, process.returncode)


def _follow(process: subprocess.Popen[bytes], told: _Told, timeout_s: float) -> None:
    """Give a process its job and take in what it tells, to the end of the job or its own."""
    job = told.job
    try:
        send_line(process, job.to_json())
        for line in lines_of(process):
            if line is None:
                told.tick()
            else:
                told.take(line)
            if told.outcome is not None:
                break
            if 0 < timeout_s < told.elapsed_s:
                raise _took_too_long(told, timeout_s)
    finally:
        if isinstance(told.outcome, Built):
            warm_builder.keep(job, process)
        else:
            end_process(process)
            for name in (job.plan.output.name, INSPECTOR_NAME):
                job.plan.output.with_name(name).unlink(missing_ok=True)


class _Told:
    """What the child told so far.

    Attributes:
        job: What it builds.
        started: Whether it came as far as this package's code.
        doing: What it was doing last.
        tail: The last lines of the builder's log.
        stderr: The last lines that it wrote to standard error.
        outcome: What became of it, once that is told.
    """

    def __init__(self, job: BuildJob, progress: Progress) -> None:
        self.job = job
        self.started = False
        self.doing = "starting"
        self.tail = LogTail()
        self.stderr: deque[str] = deque(maxlen=STDERR_LINES)
        self.outcome: Built | PytestTrtError | OSError | None = None
        self._progress = progress
        self._began_s = self._said_s = time.monotonic()

    @property
    def elapsed_s(self) -> float:
        """Seconds since the child was started."""
        return time.monotonic() - self._began_s

    @property
    def log_tail(self) -> tuple[str, ...]:
        """The builder's last words, in its log and on standard error."""
        return (*self.tail.lines, *self.stderr)

    def tick(self) -> None:
        """Say for how long, where there is nothing else to say."""
        if time.monotonic() - self._said_s >= TICK_S:
            self._said_s = time.monotonic()
            self._progress(f"{self.doing}: {self.elapsed_s:.0f} s")

    def take(self, line: Line) -> None:
        """Take in a line of the child's."""
        event = line.event
        match event.get("event"):
            case "started":
                self.started = True
            case "progress":
                self.doing = event["text"]
                self._said_s = time.monotonic()
                self._progress(self.doing)
            case "log":
                self.tail.add(event["line"])
            case "done":
                self.outcome = Built(self.tail.lines, tuple(event["notes"]))
            case "error" | "os error":
                self.outcome = error_from_json(event)
            case _:
                self.stderr.append(line.text.decode(errors="replace").rstrip())


def _does(job: BuildJob) -> str:
    return f"builds {job.plan.title}"


def _took_too_long(told: _Told, timeout_s: float) -> EngineBuildError:
    return EngineBuildError(
        f"building {told.job.plan.title} took longer than --trt-build-timeout {timeout_s:g} s and "
        f"was ended; {_last_step(told)}.",
        fix="raise --trt-build-timeout (0 lifts the limit), or let the builder try less: "
        'builder_options={"builder_optimization_level": 1}, fewer profiles, a GPU that nothing '
        "else uses.",
        log_tail=told.log_tail,
    )


def _ended_early(told: _Told, status: int) -> PytestTrtError:
    """Return the error for a child that ended without a word of what became of the build."""
    builder, title = f"the {told.job.product.label} builder", told.job.plan.title
    if status == -signal.SIGKILL:
        return EngineBuildError(
            f"{builder} was killed: SIGKILL, building {title}; {_last_step(told)}. The machine's "
            "memory may have run out: the kernel's OOM killer ends processes so.",
            fix="free memory, build in fewer processes at once (pytest -n), or give the machine "
            "more; `dmesg` names what the OOM killer ended.",
            log_tail=told.log_tail,
        )
    if status < 0:
        return EngineBuildError(
            f"{builder} crashed: {signal_name(-status)}, building {title}; {_last_step(told)}.",
            fix="run again; if it repeats, try another precision, fewer builder_options or another "
            f"version of {told.job.product.label}, and show NVIDIA the model and this log.",
            log_tail=told.log_tail,
        )
    if not told.started:
        return never_began(_does(told.job), status, told.stderr)
    return EngineBuildError(
        f"{builder} ended without a plan: exit status {status}, building {title}; "
        f"{_last_step(told)}.",
        fix="act on the last lines of the log.",
        log_tail=told.log_tail,
    )


def _last_step(told: _Told) -> str:
    return f"its last step: {told.doing}"
