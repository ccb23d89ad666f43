"""Signals that a test sends, whatever started the tests: background jobs ignore some."""

from __future__ import annotations

import signal
from collections.abc import Callable


def hearing(*, ignored: int | None = None) -> Callable[[], None]:
    """Return what a child process calls before it starts, to hear every signal but one."""

    def hear() -> None:
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, signal.SIG_IGN if number == ignored else signal.SIG_DFL)

    return hear
