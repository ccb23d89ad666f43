"""TensorRT's log and progress, through callbacks that do not lose an interrupt.

TensorRT's bindings print and swallow exceptions raised in callbacks, Ctrl-C included, so they are
stored here and raised after the call.
"""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from typing import Any

from pytest_trt.engine.protocols import Progress

#: A build logs hundreds of lines; the last ones contain the error.
_TAIL_LINES = 40


#: In a log, that device memory ran out. Source: github.com/NVIDIA/TensorRT/issues/477 and
#: github.com/onnx/onnx-tensorrt/issues/758, misspelling included; seen with TensorRT 8.6.0.
OUT_OF_MEMORY = re.compile("out ?of ?memory|insuff?icient memory", re.IGNORECASE)


class LogTail:
    """The last warnings and errors of one build or load, and the exception of a callback.

    Args:
        on_line: Called with each new line.
    """

    def __init__(self, on_line: Callable[[str], None] = lambda line: None) -> None:
        self._lines: deque[str] = deque(maxlen=_TAIL_LINES)
        self._on_line = on_line
        self.raised: BaseException | None = None

    def add(self, line: str) -> None:
        """Add a line, unless it repeats the previous one."""
        if not self._lines or self._lines[-1] != line:
            self._lines.append(line)
            self._on_line(line)

    @property
    def lines(self) -> tuple[str, ...]:
        """The lines, oldest first."""
        return tuple(self._lines)

    def raise_pending(self) -> None:
        """Raise the exception of a callback, if there is one."""
        if self.raised is not None:
            raise self.raised


@cache
def process_logger(trt: Any) -> Any:
    """Return the only logger of this process for a vendor module.

    TensorRT up to 10 uses the first logger that it gets until it is unloaded, and ignores others.
    """

    class Logger(trt.ILogger):  # type: ignore[misc]
        def __init__(self) -> None:
            trt.ILogger.__init__(self)
            self.tails: list[LogTail] = []

        def log(self, severity: Any, message: str) -> None:
            if not self.tails:
                return
            try:
                if int(severity) <= int(trt.ILogger.Severity.WARNING):
                    self.tails[-1].add(f"[{severity.name}] {message.strip()}")
            except BaseException as exc:
                self.tails[-1].raised = exc

    return Logger()


@contextmanager
def log_tail(trt: Any, on_line: Callable[[str], None] = lambda line: None) -> Iterator[LogTail]:
    """Collect what the vendor module logs inside the block; `on_line` gets each line."""
    logger, tail = process_logger(trt), LogTail(on_line)
    logger.tails.append(tail)
    try:
        yield tail
    finally:
        logger.tails.remove(tail)


def progress_monitor(trt: Any, progress: Progress, tail: LogTail) -> Any | None:
    """Return a progress monitor for a builder, or None if the version has none."""
    if not hasattr(trt, "IProgressMonitor"):
        return None

    class Monitor(trt.IProgressMonitor):  # type: ignore[misc]
        def __init__(self) -> None:
            trt.IProgressMonitor.__init__(self)
            self._steps: dict[str, int] = {}

        def phase_start(self, phase_name: str, parent_phase: str | None, num_steps: int) -> None:
            self._steps[phase_name] = num_steps
            if not parent_phase:
                self._report(phase_name)

        def phase_finish(self, phase_name: str) -> None:
            self._steps.pop(phase_name, None)

        def step_complete(self, phase_name: str, step: int) -> bool:
            self._report(f"{phase_name} {step + 1}/{self._steps.get(phase_name, 0)}")
            return tail.raised is None  # False cancels the build

        def _report(self, message: str) -> None:
            try:
                progress(message)
            except BaseException as exc:
                tail.raised = exc

    return Monitor()
