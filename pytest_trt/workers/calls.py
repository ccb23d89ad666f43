"""A worker that calls functions of this package, one after another, with a limit of its memory.

A function is called with `progress` and with its arguments, which are JSON-simple as its result is.
"""

from __future__ import annotations

import errno
import faulthandler
import importlib
from collections.abc import Mapping
from typing import Any

from pytest_trt.workers.child import Reporter, serve
from pytest_trt.workers.memory import limit_memory


def main() -> None:
    """Call one function after another."""
    faulthandler.enable()  # shows where a library crashed
    serve(_call, once=False, after_errors=True)


def _call(job: Mapping[str, Any], reporter: Reporter) -> object:
    module, _, function = job["function"].partition(":")
    called = getattr(importlib.import_module(module), function)
    limit_bytes = limit_memory()
    try:
        return called(progress=reporter.progress, **job["arguments"])
    except MemoryError as error:
        most = "what the system allows" if limit_bytes is None else f"the {limit_bytes:,} bytes"
        asked = f" ({error})" if str(error) else ""
        text = f"it needs more memory than {most} that this process may take{asked}"
        raise OSError(errno.ENOMEM, text) from error
