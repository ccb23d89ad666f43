"""Starting the process that measures, and taking in what it tells, or how it ended."""

from __future__ import annotations

import signal
import time
from collections import deque
from collections.abc import Callable

from pytest_trt.backends.tensorrt.build_job import error_from_json
from pytest_trt.benchmark.fresh_job import FreshJob, FreshRun
from pytest_trt.benchmark.rounds import Disturbed
from pytest_trt.diagnostics import BackendUnavailableError, PytestTrtError
from pytest_trt.statistics.decide import Unavailable
from pytest_trt.workers.process import (
    STDERR_LINES,
    Line,
    lines_of,
    send_line,
    signal_name,
    start_child,
)
from pytest_trt.workers.warm_builder import end_process

_CHILD = "pytest_trt.benchmark.fresh_child"


def measure_fresh(
    job: FreshJob, *, timeout_s: float, progress: Callable[[str], None] = lambda text: None
) -> FreshRun:
    """Measure an engine in a process of its own, and wait for it.

    The caller holds the device's lock for both. No process is left in any case: the child and all
    that it started are ended, also by Ctrl-C, and should this process be killed, the child ends
    itself.

    Args:
        job: What to measure.
        timeout_s: Seconds after which the child is ended.
        progress: Told what it is doing.

    Raises:
        Unavailable: It could not measure, crashed, was killed or took too long; the text says
            which, with its last words.
        Disturbed: The device was.
    """
    told = _Told(job, progress)
    try:
        process = start_child(_CHILD, does=f"measures {job.title}")
    except BackendUnavailableError as error:
        raise Unavailable(error.message) from error
    began_s = time.monotonic()
    try:
        send_line(process, job.to_json())
        for line in lines_of(process):
            if line is not None:
                told.take(line)
            if told.outcome is not None:
                break
            if time.monotonic() - began_s > timeout_s:
                raise Unavailable(told.why(f"took longer than {timeout_s:.0f} s and was ended"))
        status = process.poll()
    finally:
        end_process(process)
    match told.outcome:
        case FreshRun():
            return told.outcome
        case Disturbed():
            raise told.outcome
        case PytestTrtError():
            raise Unavailable(told.why(f"failed: {told.outcome.message}"))
        case OSError():
            raise Unavailable(told.why(f"failed: {told.outcome}"))
    # Its pipes can be closed a moment before it is gone.
    raise Unavailable(told.why(_ended(process.returncode if status is None else status)))


class _Told:
    """What the child told so far.

    Attributes:
        outcome: What became of it, once that is told.
    """

    def __init__(self, job: FreshJob, progress: Callable[[str], None]) -> None:
        self.outcome: FreshRun | Disturbed | PytestTrtError | OSError | None = None
        self._job, self._progress = job, progress
        self._doing = "starting"
        self._stderr: deque[str] = deque(maxlen=STDERR_LINES)

    def take(self, line: Line) -> None:
        """Take in a line of the child's."""
        event = line.event
        match event.get("event"):
            case "started":
                pass
            case "progress":
                self._doing = event["text"]
                self._progress(self._doing)
            case "done":
                self.outcome = FreshRun.from_event(event)
            case "disturbed":
                self.outcome = Disturbed(event["why"])
            case "error" | "os error":
                self.outcome = error_from_json(event)
            case _:
                self._stderr.append(line.text.decode(errors="replace").strip())

    def why(self, what: str) -> str:
        """Return what happened to the child, in one line with its last words."""
        words = f"; it said: {' | '.join(self._stderr)}" if self._stderr else ""
        return (
            f"the fresh process that measures {self._job.title} {what.rstrip('.')}, its last step: "
            f"{self._doing}{words}"
        )


def _ended(status: int | None) -> str:
    if status == -signal.SIGKILL:
        return "was killed (SIGKILL; the machine's memory may have run out)"
    if status is not None and status < 0:
        return f"crashed ({signal_name(-status)})"
    return f"ended with exit status {status}"
