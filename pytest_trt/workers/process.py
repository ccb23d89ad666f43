"""A child process that is given one job at a time and tells events, seen from its parent.

What vendor libraries do to a process (crash, hang, run out of memory) they do to the child. Its own
side is `child_events`.
"""

from __future__ import annotations

import contextlib
import json
import os
import selectors
import signal
import subprocess
import sys
from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

from pytest_trt.diagnostics import BackendUnavailableError

#: Seconds between two looks at the clock, and so between two messages of elapsed time.
TICK_S = 0.5

#: Lines of a child's standard error that are worth keeping: what libraries say when they die.
STDERR_LINES = 20

#: A library that prints without end and without newlines shall not fill this process's memory.
_LONGEST_LINE_BYTES = 1 << 20

#: The search path goes along as arguments, so that the child imports what this process would.
_START = "import sys; sys.path[:] = sys.argv[1:]; from {module} import main; main()"


class Line(NamedTuple):
    """A line that a child wrote: an event, or something on standard error."""

    is_event: bool
    text: bytes

    @property
    def event(self) -> dict[str, Any]:
        """The event; empty where the line is none."""
        if self.is_event:
            # What is printed while Python starts comes before the events, and is none.
            with contextlib.suppress(ValueError):
                event = json.loads(self.text)
                if isinstance(event, dict):
                    return event
        return {}


def start_child(module: str, *, does: str) -> subprocess.Popen[bytes]:
    """Start a process that runs `main` of a module, with this process's environment and path.

    Args:
        module: Which one.
        does: What it does, for messages: "builds digits.onnx fp16 for sm90".

    Raises:
        BackendUnavailableError: It cannot be started.
    """
    try:
        return subprocess.Popen(
            [sys.executable, "-c", _START.format(module=module), *sys.path],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            # A group of its own can be ended as a whole, and Ctrl-C is this process's to handle.
            start_new_session=True,
        )
    except (OSError, ValueError, TypeError) as exc:
        raise BackendUnavailableError(
            f"the process that {does} cannot be started: {exc}.",
            fix=f"it is started with {sys.executable or 'sys.executable, which is empty'}: run "
            "pytest with a Python that can be started as a program.",
        ) from exc


def send_line(process: subprocess.Popen[bytes], text: str) -> None:
    """Give a child a line."""
    assert process.stdin is not None
    with contextlib.suppress(BrokenPipeError):  # it is gone already; its last words say why
        process.stdin.write(text.encode() + b"\n")
        process.stdin.flush()


def lines_of(process: subprocess.Popen[bytes]) -> Iterator[Line | None]:
    """Yield what a child writes until it is gone, and None at least every `TICK_S`."""
    assert process.stdout is not None
    assert process.stderr is not None
    with selectors.DefaultSelector() as selector:
        # With each stream goes what it said since its last newline.
        selector.register(process.stdout, selectors.EVENT_READ, (True, bytearray()))
        selector.register(process.stderr, selectors.EVENT_READ, (False, bytearray()))
        while selector.get_map():
            ready = selector.select(TICK_S)
            for key, _ in ready:
                is_event, rest = key.data
                data = os.read(key.fd, 1 << 16)
                if not data:
                    selector.unregister(key.fileobj)
                *lines, rest[:] = (rest + (data or b"\n")).split(b"\n")
                del rest[:-_LONGEST_LINE_BYTES]
                yield from (Line(is_event, bytes(line)) for line in lines if line.strip())
            yield None
            if not ready and process.poll() is not None:
                return  # something that it started holds the pipes open


def never_began(does: str, status: int | None, stderr: Iterable[str]) -> BackendUnavailableError:
    """Return the error for a child that ended before it came as far as this package's code."""
    said = "".join(f"\n  | {line}" for line in stderr)
    return BackendUnavailableError(
        f"the process that {does} ended with status {status} before it began:{said}",
        fix=f"run {sys.executable} -c 'import pytest_trt'; it is started with the same "
        "environment and search path.",
    )


def signal_name(number: int) -> str:
    """Return a signal's name, "SIGSEGV"."""
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"
