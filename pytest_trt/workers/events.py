"""A child process's own side: jobs come in on standard input, events go out, and then it ends.

The parent's side is `child_process`.
"""

from __future__ import annotations

import contextlib
import ctypes
import json
import os
import queue
import signal
import sys
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import BinaryIO

#: PR_SET_PDEATHSIG. Source: linux/prctl.h.
_SET_PARENT_DEATH_SIGNAL = 1

#: Added to the badness by which the kernel chooses what to kill when memory runs out, 0 to 1000.
#: Source: proc(5), /proc/pid/oom_score_adj.
_OOM_SCORE = "500"


class Events:
    """What the parent is told, an object a line, from any thread.

    Args:
        stream: Where lines go.
    """

    def __init__(self, stream: BinaryIO) -> None:
        self._stream = stream
        self._lock = threading.Lock()

    @classmethod
    def to_parent(cls) -> Events:
        """Return what reaches the parent; what native libraries print goes elsewhere from now on.

        It must not get between the events.
        """
        events = cls(os.fdopen(os.dup(1), "wb"))
        os.dup2(2, 1)
        return events

    def send(self, event: Mapping[str, object]) -> None:
        """Tell one event; without a parent to tell it to, the process ends."""
        line = json.dumps(event).encode() + b"\n"
        try:
            with self._lock:
                self._stream.write(line)
                self._stream.flush()
        except OSError:
            os._exit(1)


def jobs_of_parent() -> queue.SimpleQueue[bytes]:
    """Return the jobs as they come; this process ends when the one that sends them is gone."""
    with contextlib.suppress(OSError, AttributeError):  # Linux has it
        ctypes.CDLL(None).prctl(_SET_PARENT_DEATH_SIGNAL, signal.SIGKILL)
    jobs: queue.SimpleQueue[bytes] = queue.SimpleQueue()

    def read() -> None:
        while line := sys.stdin.buffer.readline():
            jobs.put(line)
        # The parent keeps the other end open for as long as it lives.
        os._exit(1)

    threading.Thread(target=read, daemon=True).start()
    return jobs


def die_first_for_memory() -> None:
    """Have the kernel end this process rather than pytest when memory runs out."""
    with contextlib.suppress(OSError):
        Path("/proc/self/oom_score_adj").write_text(_OOM_SCORE)
