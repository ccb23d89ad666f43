"""A worker: a child process that does one job at a time and reports events, seen by its parent.

Vendor libraries crash, hang and run out of memory; in a worker that ends the job, not pytest.
The child's side is `child.serve`. A job is one line of JSON. Events are lines of JSON too::

    {"event": "started"}                    the child has read its first job
    {"event": "progress", "content": text}  the step that begins now; it may have a "timeout_s" of
                                            its own, which replaces what is left to the job
    {"event": "log", "content": line}       a line of a log
    {"event": "done", "content": data}      the job's result
    {"event": "error", "content": {...}}    an exception, see `error_from_data`; the child ends
    {"event": "refused", "content": {...}}  an exception; the child waits for the next job
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
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from pytest_trt import diagnostics
from pytest_trt.diagnostics import BackendUnavailableError, Diagnostic, PytestTrtError, Remedy
from pytest_trt.records import from_data

#: Seconds between two checks of the time limit, and between two reports of elapsed time.
TICK_S = 0.5

#: Seconds that a child has to end after SIGTERM, and then after SIGKILL: one that waits for a hung
#: GPU cannot even be killed.
_GRACE_S = 2.0
_KILLED_S = 10.0

#: Lines of the log, and of standard error, that are retained: the last ones name the cause.
_LOG_LINES = 40
_STDERR_LINES = 500

#: A library that prints without end and without newlines must not fill this process's memory.
_LONGEST_LINE_BYTES = 1 << 20

#: The search path is passed as arguments, so that the child imports what this process would.
_START = "import sys; sys.path[:] = sys.argv[1:]; from {module} import main; main()"


@dataclass(slots=True)
class Reply:
    """What came of one job: a result, an error, or neither where the child ended or was ended.

    Attributes:
        is_done: Whether there is a result.
        result: The job's result, JSON-simple.
        error: The exception that the child reported.
        is_waiting: Whether the child waits for its next job.
        is_started: Whether the child read the job: it sent an event.
        step: The last step that it reported.
        step_timeout_s: The time limit that began with it; None for that of the job.
        log: The last lines of its log.
        stderr: The last lines of its standard error.
        timed_out: Whether the time limit ended it.
        status: Its exit status, negative for a signal; None where it has not ended.
    """

    is_done: bool = False
    result: Any = None
    error: PytestTrtError | OSError | None = None
    is_waiting: bool = False
    is_started: bool = False
    step: str = "starting"
    step_timeout_s: float | None = None
    log: deque[str] = field(default_factory=lambda: deque(maxlen=_LOG_LINES))
    stderr: deque[str] = field(default_factory=lambda: deque(maxlen=_STDERR_LINES))
    timed_out: bool = False
    status: int | None = None

    @property
    def signal_name(self) -> str:
        """The signal that ended the child, "SIGSEGV"; empty for none."""
        if self.status is None or self.status >= 0:
            return ""
        try:
            return signal.Signals(-self.status).name
        except ValueError:
            return f"signal {-self.status}"

    def take(self, line: bytes, *, is_event: bool) -> str:
        """Take in a line that the child wrote, and return the event's name; empty for none."""
        event = _event(line) if is_event else {}
        content: Any = event.get("content")
        match event.get("event"):
            case "started":
                pass
            case "progress":
                self.step = str(content)
                self.step_timeout_s = event.get("timeout_s", self.step_timeout_s)
            case "log":
                self.log.append(str(content))
            case "done":
                self.is_done, self.is_waiting, self.result = True, True, content
            case "error" | "refused" as name:
                self.error, self.is_waiting = error_from_data(content), name == "refused"
            case _:
                self.stderr.append(line.decode(errors="replace").rstrip())
                return ""
        self.is_started = True
        return str(event["event"])


class Worker:
    """A child process that runs `main` of a module; to be used by one thread.

    It ends with this process and with the thread that started it, at the latest.

    Args:
        module: The module; its `main` calls `child.serve`.
        task: What the worker does, for messages: "builds digits.onnx fp16 for sm90".
        environment: Its environment variables; by default those of this process.

    Raises:
        BackendUnavailableError: The process cannot be started.
    """

    def __init__(
        self, module: str, *, task: str, environment: Mapping[str, str] | None = None
    ) -> None:
        self._task = task
        try:
            self._process = subprocess.Popen(
                [sys.executable, "-c", _START.format(module=module), *sys.path],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                env=environment,
                # Its own group can be ended with all that it started, and Ctrl-C reaches only this
                # process.
                start_new_session=True,
            )
        except (OSError, ValueError, TypeError) as exc:
            raise BackendUnavailableError(
                f"the process that {task} cannot be started: {exc}",
                code="TRT711",
                facts={"python": sys.executable or ""},
                fix="run pytest with a Python that can be started as a program: sys.executable is "
                f"{sys.executable or 'empty'}.",
            ) from exc
        self._streams = selectors.DefaultSelector()
        # With each stream goes what it wrote since its last newline.
        for stream, is_event in ((self._process.stdout, True), (self._process.stderr, False)):
            assert stream is not None
            self._streams.register(stream, selectors.EVENT_READ, (is_event, bytearray()))

    def __enter__(self) -> Worker:
        return self

    def __exit__(self, *_: object) -> None:
        self.end()

    @property
    def is_alive(self) -> bool:
        """Whether the process still runs."""
        return self._process.poll() is None

    def run(
        self,
        job: object,
        *,
        timeout_s: float,
        progress: Callable[[str], None] = lambda text: None,
    ) -> Reply:
        """Do a job and wait for it. Unless it waits for the next, the process group is ended.

        Args:
            job: JSON-simple data.
            timeout_s: Seconds after which the process is ended; 0 for no limit.
            progress: Called with each step, and with the seconds so far while nothing is new.
        """
        reply = Reply()
        try:
            self._send(job)
            self._follow(reply, timeout_s, progress)
        finally:
            if not reply.is_waiting:
                self.end()
                reply.status = self._process.returncode
        return reply

    def end(self) -> None:
        """End the process, if it has not ended, and whatever it started."""
        try:
            self._signal_group(signal.SIGTERM)
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(_GRACE_S)
        finally:
            self._signal_group(signal.SIGKILL)
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(_KILLED_S)
            self._streams.close()
            for stream in (self._process.stdin, self._process.stdout, self._process.stderr):
                with contextlib.suppress(OSError):
                    stream.close()  # type: ignore[union-attr]

    def never_began(self, reply: Reply) -> BackendUnavailableError:
        """Return the error for a child that ended before it read its job."""
        return BackendUnavailableError(
            f"the process that {self._task} ended with status {reply.status} before it began",
            code="TRT711",
            facts={"python": sys.executable or "", "status": reply.status},
            details=[f"| {line}" for line in list(reply.stderr)[-20:]],
            fix=Remedy(
                "It has this process's environment and search path; this shows what fails there:",
                (f"{sys.executable} -c 'import pytest_trt'",),
            ),
        )

    def _send(self, job: object) -> None:
        assert self._process.stdin is not None
        with contextlib.suppress(BrokenPipeError):  # it has ended; its last lines say why
            self._process.stdin.write(json.dumps(job).encode() + b"\n")
            self._process.stdin.flush()

    def _follow(self, reply: Reply, timeout_s: float, progress: Callable[[str], None]) -> None:
        began_s = reported_s = time.monotonic()
        for line in self._lines():
            now_s = time.monotonic()
            if line is not None:
                event = reply.take(line[1], is_event=line[0])
                if event in ("done", "error", "refused"):
                    return
                if event == "progress":
                    if reply.step_timeout_s is not None:
                        began_s, timeout_s = now_s, reply.step_timeout_s
                    reported_s = now_s
                    progress(reply.step)
            elif now_s - reported_s >= TICK_S:
                reported_s = now_s
                progress(f"{reply.step}: {now_s - began_s:.0f} s")
            if 0 < timeout_s < time.monotonic() - began_s:
                reply.timed_out = True
                return
        # Its pipes can be closed a moment before it ends by itself.
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(_GRACE_S)

    def _lines(self) -> Iterator[tuple[bool, bytes] | None]:
        """Yield lines until the child ends, and None at least every `TICK_S`.

        A line is whether it came on the stream of events, and its bytes.
        """
        while self._streams.get_map():
            # Asked first: what it wrote before it ended is then in the pipes.
            has_ended = self._process.poll() is not None
            ready = self._streams.select(TICK_S)
            for key, _ in ready:
                is_event, rest = key.data
                data = os.read(key.fd, 1 << 16)
                if not data:
                    self._streams.unregister(key.fileobj)
                *lines, rest[:] = (rest + (data or b"\n")).split(b"\n")
                del rest[:-_LONGEST_LINE_BYTES]
                yield from ((is_event, bytes(line)) for line in lines if line.strip())
            yield None
            if has_ended and not ready:
                return  # something that it started holds the pipes open

    def _signal_group(self, number: signal.Signals) -> None:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self._process.pid, number)


def _event(line: bytes) -> dict[str, Any]:
    # What is printed while Python starts comes before the events, and is none.
    with contextlib.suppress(ValueError):
        event = json.loads(line)
        if isinstance(event, dict):
            return event
    return {}


def error_from_data(data: Mapping[str, Any]) -> PytestTrtError | OSError:
    """Return the exception that `child.error_to_data` encoded, of the class that it had there."""
    if "errno" in data:
        return OSError(data["errno"], data["text"], data["path"])
    attributes = {k: tuple(v) if isinstance(v, list) else v for k, v in data["attributes"].items()}
    state = {**attributes, "diagnostic": from_data(Diagnostic, data["diagnostic"])}
    return diagnostics.rebuild(getattr(diagnostics, data["class"]), state)
