"""A call with a time limit in this process: another thread makes it, and the caller waits.

A thread inside a library cannot be ended. It is asked to stop; one that does not is left behind.
"""

from __future__ import annotations

import _thread
import contextlib
import math
import os
import queue
import time
from collections.abc import Callable
from typing import Any, Generic, TypeVar

_T = TypeVar("_T")

#: Seconds after which a signal is handled at the latest.
_TICK_S = 0.5

#: Seconds that a call has to end after it was asked to.
GRACE_S = 5.0


class _Thread:
    """A thread that makes one call after another."""

    def __init__(self) -> None:
        self._calls: queue.SimpleQueue[Callable[[], Any]] = queue.SimpleQueue()
        self.outcomes: queue.SimpleQueue[tuple[Any, BaseException | None]] = queue.SimpleQueue()
        # Thread.start() waits until the thread runs: 0.3 ms, or 4 ms where all cores are busy.
        _thread.start_new_thread(self._make_calls, ())

    def begin(self, function: Callable[[], Any]) -> None:
        self._calls.put(function)

    def _make_calls(self) -> None:
        while True:
            function, value, raised = self._calls.get(), None, None
            try:
                value = function()
            except BaseException as error:
                raised = error
            self.outcomes.put((value, raised))
            del function, value, raised


#: Threads that wait for a call.
_waiting: list[_Thread] = []
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_waiting.clear)


def start_early() -> None:
    """Start the thread of the first call while something else takes time."""
    if not _waiting:
        _waiting.append(_Thread())


class LimitedCall(Generic[_T]):
    """One call in another thread, for which the caller waits and can be interrupted.

    Args:
        function: What is called.
        stop: Asks it to stop; called from the caller's thread.

    Attributes:
        timed_out: Whether it was asked to stop at its time limit.
        is_stuck: Whether it still runs though it was asked to stop.
    """

    def __init__(self, function: Callable[[], _T], stop: Callable[[], None]) -> None:
        self._function, self._stop = function, stop
        self.timed_out = self.is_stuck = False

    def result(self, timeout_s: float) -> _T:
        """Make the call; return what it returns or raise what it raises.

        Args:
            timeout_s: Seconds after which it is asked to stop; 0 for no limit.

        Raises:
            TimeoutError: It did not stop even then.
        """
        try:
            thread = _waiting.pop()
        except IndexError:
            thread = _Thread()
        try:
            # In here: Ctrl-C may come as soon as the call has begun.
            thread.begin(self._function)
            value, raised = _waited(thread, timeout_s or math.inf)
        except queue.Empty:
            self.timed_out = True
            value, raised = self._stopped(thread)
        except BaseException:  # Ctrl-C, or what a signal handler raises
            self._stopped(thread)
            raise
        finally:
            if not self.is_stuck:
                _waiting.append(thread)
        if raised is not None:
            raise raised
        result: _T = value
        return result

    def _stopped(self, thread: _Thread) -> tuple[Any, BaseException | None]:
        self.is_stuck = True
        self._stop()
        try:
            outcome = _waited(thread, GRACE_S)
        except queue.Empty:
            return None, TimeoutError()
        self.is_stuck = False
        return outcome


def _waited(thread: _Thread, most_s: float) -> tuple[Any, BaseException | None]:
    # A signal that comes just before the wait begins is handled only after it.
    end_s = time.monotonic() + most_s
    while (left_s := end_s - time.monotonic()) > _TICK_S:
        with contextlib.suppress(queue.Empty):
            return thread.outcomes.get(timeout=_TICK_S)
    return thread.outcomes.get(timeout=max(left_s, 0))
