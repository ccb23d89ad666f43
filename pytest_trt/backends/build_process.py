"""Building in a child process: builders crash, hang and run out of memory, and pytest must not.

The child is `build_child`; what goes back and forth is described in `build_job`.
"""

from __future__ import annotations

import contextlib
import json
import os
import selectors
import signal
import subprocess
import sys
import time
from collections import deque
from collections.abc import Iterator
from typing import Any, NamedTuple

from pytest_trt.backends.build_job import BuildJob, Built, error_from_json
from pytest_trt.backends.kept_builder import end_process, kept_builder
from pytest_trt.backends.trt_inspector import INSPECTOR_NAME
from pytest_trt.backends.trt_logging import LogTail
from pytest_trt.engine.protocols import Progress
from pytest_trt.errors import BackendUnavailableError, EngineBuildError, PytestTrtError

#: The search path goes along as arguments, so that the child imports what this process would.
_START = (
    "import sys; sys.path[:] = sys.argv[1:]; "
    "from pytest_trt.backends.build_child import main; main()"
)

#: Seconds between two looks at the clock, and so between two messages of elapsed time.
_TICK_S = 0.5

#: Lines of the child's standard error that are kept: what libraries say when they die.
_STDERR_LINES = 20

#: A library that prints without end and without newlines shall not fill this process's memory.
_LONGEST_LINE_BYTES = 1 << 20


def build_in_child(job: BuildJob, *, timeout_s: float, progress: Progress) -> Built:
    """Build a plan in a process of its own, and wait for it.

    When it fails no plan is left, and no process in any case: the child and all that it started
    are ended, also by Ctrl-C, and should this process be killed, the child ends itself. One that
    has built a plan waits a while for the next job, see `kept_builder`.

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
    process = kept_builder.take(job)
    if process is not None:
        _follow(process, told, timeout_s)
    if process is None or not told.started:
        # None was kept, or the one that was ended before it saw the job.
        process = _start(job)
        _follow(process, told, timeout_s)
    if isinstance(told.outcome, Built):
        return told.outcome
    raise told.outcome or _ended_early(told, process.returncode)


def _follow(process: subprocess.Popen[bytes], told: _Told, timeout_s: float) -> None:
    """Give a process its job and take in what it tells, to the end of the job or its own."""
    job = told.job
    try:
        _send(process, job)
        for line in _lines(process):
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
            kept_builder.keep(job, process)
        else:
            end_process(process)
            for name in (job.plan.output.name, INSPECTOR_NAME):
                job.plan.output.with_name(name).unlink(missing_ok=True)


class _Line(NamedTuple):
    """A line that the child wrote: an event, or something on standard error."""

    is_event: bool
    text: bytes


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
        self.stderr: deque[str] = deque(maxlen=_STDERR_LINES)
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
        if time.monotonic() - self._said_s >= _TICK_S:
            self._said_s = time.monotonic()
            self._progress(f"{self.doing}: {self.elapsed_s:.0f} s")

    def take(self, line: _Line) -> None:
        """Take in a line of the child's."""
        event = _event(line)
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


def _event(line: _Line) -> dict[str, Any]:
    if line.is_event:
        # What is printed while Python starts comes before the events, and is none.
        with contextlib.suppress(ValueError):
            event = json.loads(line.text)
            if isinstance(event, dict):
                return event
    return {}


def _start(job: BuildJob) -> subprocess.Popen[bytes]:
    try:
        process = subprocess.Popen(
            [sys.executable, "-c", _START, *sys.path],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            # A group of its own can be ended as a whole, and Ctrl-C is this process's to handle.
            start_new_session=True,
        )
    except (OSError, ValueError, TypeError) as exc:
        raise BackendUnavailableError(
            f"the process that builds {job.plan.title} cannot be started: {exc}.",
            fix=f"it is started with {sys.executable or 'sys.executable, which is empty'}: run "
            "pytest with a Python that can be started as a program.",
        ) from exc
    return process


def _send(process: subprocess.Popen[bytes], job: BuildJob) -> None:
    assert process.stdin is not None
    with contextlib.suppress(BrokenPipeError):  # it is gone already; its last words say why
        process.stdin.write(job.to_json().encode() + b"\n")
        process.stdin.flush()


def _lines(process: subprocess.Popen[bytes]) -> Iterator[_Line | None]:
    """Yield what the child writes until it is gone, and None at least every `_TICK_S`."""
    assert process.stdout is not None
    assert process.stderr is not None
    with selectors.DefaultSelector() as selector:
        # With each stream goes what it said since its last newline.
        selector.register(process.stdout, selectors.EVENT_READ, (True, bytearray()))
        selector.register(process.stderr, selectors.EVENT_READ, (False, bytearray()))
        while selector.get_map():
            ready = selector.select(_TICK_S)
            for key, _ in ready:
                is_event, rest = key.data
                data = os.read(key.fd, 1 << 16)
                if not data:
                    selector.unregister(key.fileobj)
                *lines, rest[:] = (rest + (data or b"\n")).split(b"\n")
                del rest[:-_LONGEST_LINE_BYTES]
                yield from (_Line(is_event, bytes(line)) for line in lines if line.strip())
            yield None
            if not ready and process.poll() is not None:
                return  # something that it started holds the pipes open


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
            f"{builder} crashed: {_signal_name(-status)}, building {title}; {_last_step(told)}.",
            fix="run again; if it repeats, try another precision, fewer builder_options or another "
            f"version of {told.job.product.label}, and show NVIDIA the model and this log.",
            log_tail=told.log_tail,
        )
    if not told.started:
        said = "".join(f"\n  | {line}" for line in told.stderr)
        return BackendUnavailableError(
            f"the process that builds {title} ended with status {status} before it began:{said}",
            fix=f"run {sys.executable} -c 'import pytest_trt'; it is started with the same "
            "environment and search path.",
        )
    return EngineBuildError(
        f"{builder} ended without a plan: exit status {status}, building {title}; "
        f"{_last_step(told)}.",
        fix="act on the last lines of the log.",
        log_tail=told.log_tail,
    )


def _last_step(told: _Told) -> str:
    return f"its last step: {told.doing}"


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"
