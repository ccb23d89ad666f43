"""SIGTERM and SIGHUP end a run as Ctrl-C does: what is half built is removed first.

The process then dies of the signal, as whoever sent it expects.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
from types import FrameType

import pytest

_SIGNALS = (signal.SIGTERM, signal.SIGHUP)


def end_as_ctrl_c_does(config: pytest.Config) -> None:
    """Handle the signals from now on until the run is over.

    A handler of the project's stays, and so does an ignored signal, as under nohup.
    """
    if threading.current_thread() is not threading.main_thread():
        return
    received: list[int] = []

    def handle(number: int, frame: FrameType | None) -> None:
        received.append(number)
        signal.signal(number, signal.SIG_DFL)  # the next one ends the process at once
        raise KeyboardInterrupt(signal.Signals(number).name)

    def end() -> None:
        for number in handled:
            if signal.getsignal(number) is handle:
                signal.signal(number, signal.SIG_DFL)
        if received:
            sys.stdout.flush()
            os.kill(os.getpid(), received[0])

    handled = [one for one in _SIGNALS if signal.getsignal(one) is signal.SIG_DFL]
    for number in handled:
        signal.signal(number, handle)
    config.add_cleanup(end)
