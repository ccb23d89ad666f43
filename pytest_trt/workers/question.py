"""Asks a question in a process of its own: the answer, or what became of the process.

Vendor libraries crash while they are imported, drivers hang, and so do file systems whose server
is gone. None of that may happen to the one who asks.
"""

from __future__ import annotations

import json
import re
import sysconfig
import time
from dataclasses import dataclass
from typing import Any

from pytest_trt.diagnostics import BackendUnavailableError
from pytest_trt.workers.process import lines_of, send_line, signal_name, start_child
from pytest_trt.workers.warm_builder import end_process

_CHILD = "pytest_trt.workers.question_child"

#: How the problem of a question begins that took too long.
NO_ANSWER = "gives no answer within"

#: Where a crash was, in what the standard library's faulthandler prints.
_FRAME = re.compile(r'File "(?!<frozen)([^"]+)", line (\d+)')

#: Where Python keeps the modules that vendors call before they crash, `ctypes` for one.
_OWN_OF_PYTHON = tuple(f"{sysconfig.get_path('stdlib')}/{name}" for name in ("ctypes", "importlib"))

#: Lines of standard error that are searched for it.
_KEPT_LINES = 500


@dataclass(frozen=True, slots=True)
class Answer:
    """What a question came to.

    Attributes:
        value: What was answered; None where `problem` says why nothing was.
        problem: What happened instead, in words: "crashes Python (SIGSEGV), in a.py, line 3".
    """

    value: Any = None
    problem: str = ""


def ask(question: str, *, timeout_s: float, **arguments: object) -> Answer:
    """Call a function in a process of its own; never raises, and never waits for much longer.

    Args:
        question: The function, "package.module:function". What it returns is JSON-simple.
        timeout_s: Seconds after which the process is ended.
        **arguments: What it is called with, JSON-simple.
    """
    try:
        process = start_child(_CHILD, does=f"asks {question}")
    except BackendUnavailableError as error:
        return Answer(problem=f"cannot be asked: {error.message}")
    began_s = time.monotonic()
    said: list[str] = []
    try:
        send_line(process, json.dumps({"question": question, "arguments": arguments}))
        for line in lines_of(process):
            event = line.event if line is not None else {}
            if event.get("event") == "answer":
                return Answer(event["answer"])
            if event.get("event") == "raised":
                return Answer(problem=event["text"])
            if line is not None:
                said = [*said[-_KEPT_LINES:], line.text.decode(errors="replace").rstrip()]
            if time.monotonic() - began_s > timeout_s:
                return Answer(problem=f"{NO_ANSWER} {timeout_s:g} s")
    finally:
        end_process(process)
    return Answer(problem=_ended(process.returncode, said))


def _ended(status: int | None, said: list[str]) -> str:
    words = f": {said[-1]}" if said else ""
    if status is None or status >= 0:
        return f"ends Python with status {status}{words}"
    where = _crashed_in(said) or words
    return f"crashes Python ({signal_name(-status)}){where}"


def _crashed_in(said: list[str]) -> str:
    """Return where the thread was that crashed: in the vendor's files rather than in Python's."""
    start = next((n for n, line in enumerate(said) if line.startswith("Current thread")), len(said))
    frames = [found.groups() for line in said[start:] if (found := _FRAME.search(line))]
    if not frames:
        return ""
    file, number = next((one for one in frames if not one[0].startswith(_OWN_OF_PYTHON)), frames[0])
    return f", in {file}, line {number}"
