"""A worker that calls functions of this package, one after another, with a limit of its memory.

A function is called with `progress` and with its arguments, which are JSON-simple as its result is.
"""

from __future__ import annotations

import errno
import faulthandler
import importlib
import math
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any

from pytest_trt.workers.child import Reporter, serve
from pytest_trt.workers.memory import limit_memory

#: What is released once the reply has been sent, as that may take as long as a small job.
later: list[object] = []

#: What is called then. What it raises is raised again when the parent asks for the same.
ahead: list[Callable[[], object]] = []

#: Seconds for which a limit holds: to look for what is left takes as long as to load a small model.
_LIMITED_S = 1.0


def main() -> None:
    """Call one function after another."""
    faulthandler.enable()  # shows where a library crashed
    serve(_Calls().call, once=False, after_errors=True, rest=_rest)


def _rest() -> None:
    later.clear()
    while ahead:
        with suppress(Exception):
            ahead.pop()()


class _Calls:
    def __init__(self) -> None:
        self._limited_s = -math.inf
        self._limit_bytes: int | None = None

    def call(self, job: Mapping[str, Any], reporter: Reporter) -> object:
        module, _, function = job["function"].partition(":")
        called = getattr(importlib.import_module(module), function)
        if time.monotonic() > self._limited_s + _LIMITED_S:
            self._limit_bytes, self._limited_s = limit_memory(), time.monotonic()
        try:
            return called(progress=reporter.progress, **job["arguments"])
        except MemoryError as error:
            limit_bytes = self._limit_bytes
            most = "what the system allows" if limit_bytes is None else f"the {limit_bytes:,} bytes"
            asked = f" ({error})" if str(error) else ""
            text = f"it needs more memory than {most} that this process may take{asked}"
            raise OSError(errno.ENOMEM, text) from error
