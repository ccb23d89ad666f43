"""The child's side of a worker: jobs come in on standard input, events go out. See `process`."""

from __future__ import annotations

import contextlib
import ctypes
import json
import os
import select
import signal
import sys
import threading
import traceback
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, NoReturn

from pytest_trt.diagnostics import PytestTrtError
from pytest_trt.records import to_data

#: Seconds that a worker waits for its next job before it ends: a test suite needs the next engine a
#: few tests after the last one.
WARM_S = 15.0

#: PR_SET_PDEATHSIG. Source: linux/prctl.h.
_SET_PARENT_DEATH_SIGNAL = 1

#: Added to the badness by which the kernel chooses what to kill when memory runs out, 0 to 1000:
#: this process rather than pytest. Source: proc(5), /proc/pid/oom_score_adj.
_OOM_SCORE = "500"


class Reporter:
    """Sends events to the parent, one JSON object a line; threads may share it.

    From now on, standard output is standard error: what native libraries print must not get
    between the events.
    """

    def __init__(self) -> None:
        self._stream = os.fdopen(os.dup(1), "wb")
        os.dup2(2, 1)
        self._lock = threading.Lock()

    def progress(self, text: str, timeout_s: float | None = None) -> None:
        """Report the step that begins now.

        Args:
            text: What it does.
            timeout_s: The limit of its seconds, in place of what is left to the job; 0 for none.
        """
        self.send("progress", text, timeout_s)

    def log(self, line: str) -> None:
        """Report a line of a log."""
        self.send("log", line)

    def send(self, event: str, content: object = None, timeout_s: float | None = None) -> None:
        """Send one event. The process ends if nobody reads it."""
        data = {"event": event, "content": content}
        if timeout_s is not None:
            data["timeout_s"] = timeout_s
        line = json.dumps(data).encode() + b"\n"
        try:
            with self._lock:
                self._stream.write(line)
                self._stream.flush()
        except OSError:
            os._exit(1)


def serve(
    job: Callable[[Any, Reporter], object],
    *,
    once: bool = True,
    after_errors: bool = False,
    rest: Callable[[], object] = lambda: None,
) -> NoReturn:
    """Do jobs until one fails, and end without unloading anything: libraries may crash then.

    Errors of this package and of the operating system are reported to the parent; any other
    exception ends the process with status 1 and a traceback on standard error.

    Args:
        job: Does a job; JSON-simple data in and out.
        once: Whether to end after one job; otherwise when none comes for `WARM_S`.
        after_errors: Whether to do further jobs after a reported error.
        rest: Called after each job, while the parent works on.
    """
    reporter = Reporter()
    _end_with_parent()
    with contextlib.suppress(OSError):
        Path("/proc/self/oom_score_adj").write_text(_OOM_SCORE)
    for number, line in enumerate(_jobs()):
        # The first job imports libraries. Later ones do no harm before they report a step, and each
        # event wakes the parent.
        if number == 0:
            reporter.send("started")
        event, content = _do(job, json.loads(line), reporter)
        if event == "error" and after_errors:
            event = "refused"
        reporter.send(event, content)
        if once or event == "error":
            break
        rest()
    os._exit(0)


def _do(
    job: Callable[[Any, Reporter], object], data: object, reporter: Reporter
) -> tuple[str, object]:
    try:
        return "done", job(data, reporter)
    except (PytestTrtError, OSError) as error:
        return "error", error_to_data(error)
    except BaseException:
        traceback.print_exc()
        sys.stderr.flush()
        os._exit(1)


def _jobs() -> Iterator[bytes]:
    """Yield jobs as they come, until none comes for `WARM_S`."""
    rest, limit_ms = b"", None  # the first one is on its way, however long it takes
    arrival = select.poll()
    arrival.register(0, select.POLLIN)
    while arrival.poll(limit_ms):
        data = os.read(0, 1 << 16)
        if not data:
            os._exit(1)
        *lines, rest = (rest + data).split(b"\n")
        for line in lines:
            yield line
            limit_ms = WARM_S * 1000


def _end_with_parent() -> None:
    """End this process when its parent ends, also in the middle of a job."""
    with contextlib.suppress(OSError, AttributeError):  # Linux has it
        ctypes.CDLL(None).prctl(_SET_PARENT_DEATH_SIGNAL, signal.SIGKILL)
    # The parent holds the other end open for as long as it lives. Jobs do not wake this thread.
    end = select.poll()
    end.register(0, 0)

    def wait() -> None:
        end.poll()
        os._exit(1)

    threading.Thread(target=wait, daemon=True).start()


def error_to_data(error: PytestTrtError | OSError) -> Mapping[str, Any]:
    """Return an error as JSON-simple data, which `process.error_from_data` decodes."""
    if isinstance(error, OSError):
        path = None if error.filename is None else str(error.filename)
        return {"errno": error.errno, "text": error.strerror or str(error), "path": path}
    return {
        "class": type(error).__name__,
        "diagnostic": to_data(error.diagnostic),
        "attributes": {k: v for k, v in vars(error).items() if k != "diagnostic"},
    }
