"""Calls a function in a worker: what it returns, or what happened to the process instead.

Vendor libraries crash while they are imported, drivers hang, and so do file systems whose server
does not answer. None of that may happen to the caller.
"""

from __future__ import annotations

import faulthandler
import importlib
import re
import sysconfig
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pytest_trt.diagnostics import BackendUnavailableError
from pytest_trt.workers.child import Reporter, serve
from pytest_trt.workers.process import Reply, Worker

#: Where a crash was, in what the standard library's faulthandler prints.
_FRAME = re.compile(r'File "(?!<frozen)([^"]+)", line (\d+)')

#: Where Python keeps the modules that vendors call before they crash, `ctypes` for one.
_OWN_OF_PYTHON = tuple(f"{sysconfig.get_path('stdlib')}/{name}" for name in ("ctypes", "importlib"))


@dataclass(frozen=True, slots=True)
class Answer:
    """What came of a question.

    Attributes:
        value: What the function returned; None where there is a problem.
        problem: What happened instead: "crashes Python (SIGSEGV), in a.py, line 3".
        timed_out: Whether that is that it took too long.
    """

    value: Any = None
    problem: str = ""
    timed_out: bool = False


def ask(
    question: str,
    *,
    timeout_s: float,
    environment: Mapping[str, str] | None = None,
    **arguments: object,
) -> Answer:
    """Call a function in a process of its own; never raises, and never waits for much longer.

    Args:
        question: The function, "package.module:function". What it returns is JSON-simple.
        timeout_s: Seconds after which the process is ended.
        environment: Environment variables of the process; by default those of this one.
        **arguments: Its arguments, JSON-simple.
    """
    try:
        worker = Worker(__name__, task=f"calls {question}", environment=environment)
    except BackendUnavailableError as error:
        return Answer(problem=error.message)
    with worker:
        reply = worker.run({"question": question, "arguments": arguments}, timeout_s=timeout_s)
    if reply.is_done:
        return Answer(**reply.result)
    if reply.timed_out:
        return Answer(problem=f"gives no answer within {timeout_s:g} s", timed_out=True)
    return Answer(problem=_ended(reply))


def _ended(reply: Reply) -> str:
    last = f": {reply.stderr[-1]}" if reply.stderr else ""
    if not reply.signal_name:
        return f"ends Python with status {reply.status}{last}"
    where = _crashed_in(list(reply.stderr)) or last
    return f"crashes Python ({reply.signal_name}){where}"


def _crashed_in(lines: Sequence[str]) -> str:
    """Return where the crashed thread was: in the vendor's files rather than in Python's."""
    start = next((n for n, line in enumerate(lines) if line.startswith("Current thread")), None)
    frames = [found.groups() for line in lines[start:] if (found := _FRAME.search(line))]
    if start is None or not frames:
        return ""
    file, number = next((one for one in frames if not one[0].startswith(_OWN_OF_PYTHON)), frames[0])
    return f", in {file}, line {number}"


def main() -> None:
    """Answer the question that comes in on standard input, and end."""
    faulthandler.enable()  # shows where a library crashed
    serve(_answer)


def _answer(job: Mapping[str, Any], reporter: Reporter) -> Mapping[str, Any]:
    module, _, function = job["question"].partition(":")
    try:
        return {"value": getattr(importlib.import_module(module), function)(**job["arguments"])}
    except BaseException as error:  # a library may even try to exit
        return {"problem": f"{type(error).__name__}: {error}"}
