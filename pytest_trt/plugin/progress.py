"""Saying what takes long, where it helps: a live line on a terminal, plain lines elsewhere."""

from __future__ import annotations

import os
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TextIO

import pytest

#: How often a line is written anew that is written between measurements, in seconds.
_STILL_S = 0.5

#: What tells of CI, as pytest itself asks: some give their jobs a terminal, and keep what it shows.
_ON_CI = ("CI", "BUILD_NUMBER")

#: A step that takes no longer than this goes unmentioned, in seconds.
_QUIET_S = {"terminal": 0.5, "plain": 5.0}


class TerminalProgress:
    """Tells the terminal what a long step is doing.

    pytest captures what tests write, so this writes to a copy of standard error. It is to be made
    while nothing is captured: when pytest starts, or between collecting and running.

    Args:
        config: The run's configuration. In an xdist worker nothing is written: many workers would
            write over one another.
    """

    def __init__(self, config: pytest.Config) -> None:
        self._stream: TextIO | None = None
        self._column = _column_of(config)
        if not hasattr(config, "workerinput") and config.get_verbosity() >= 0:
            try:
                descriptor = sys.__stderr__.fileno() if sys.__stderr__ else -1
                self._stream = open(os.dup(descriptor), "w", encoding="utf-8")  # noqa: PTH123, SIM115
            except (OSError, ValueError):
                self._stream = None  # no standard error, or it is no file

    @contextmanager
    def task(self, title: str) -> Iterator[Callable[[str], None]]:
        """Announce a step once it takes long; what it yields replaces the text."""
        if self._stream is None:
            yield lambda message: None
            return
        line = _LiveLine(self._stream, title, self._column())
        try:
            yield line.say
        finally:
            line.stop()

    @contextmanager
    def still(self, title: str) -> Iterator[Callable[[str], None]]:
        """Announce a step that is timed: nothing is written but when it says something.

        A line that moves by itself takes time of a core that is being measured.

        Args:
            title: What stands before everything that is said.
        """
        if self._stream is None:
            yield lambda message: None
            return
        line = _StillLine(self._stream, title, self._column())
        try:
            yield line.say
        finally:
            line.stop()

    def close(self) -> None:
        """Release the copy of standard error."""
        if self._stream is not None:
            self._stream.close()
            self._stream = None


def _column_of(config: pytest.Config) -> Callable[[], int]:
    """Return what tells how much of a row pytest has written on the terminal, in columns."""
    writer, output = config.get_terminal_writer(), sys.__stdout__
    # What tests write with -s is on that row as well, and nobody knows how much of it.
    if config.getoption("capture") == "no" or output is None or not output.isatty():
        return lambda: 0
    return lambda: writer.width_of_current_line


def _back_to(column: int, columns: int) -> str:
    """Return what moves the cursor from the line below back to the end of pytest's row."""
    ended = column % columns
    return f"\x1b[A\x1b[{ended}C" if ended else ""


def _fitted(title: str, told: str, columns: int) -> str:
    """Return a line that fits: which test gives way first, as what it is doing changes."""
    from pytest_trt.report.fit import shortened

    return f"{shortened(title, columns - len(told), '...')}{told}"[:columns]


def _is_live(stream: TextIO) -> bool:
    """Whether a line may be written over: a log that is kept shows every one that ever was."""
    return stream.isatty() and not any(os.environ.get(name) for name in _ON_CI)


def _columns_of(stream: TextIO) -> int:
    try:
        return os.get_terminal_size(stream.fileno()).columns or 80
    except OSError:
        return 80


class _StillLine:
    """One step's line, written by whoever takes the step, at moments that do not count.

    Args:
        stream: Where it is written.
        title: What the step is about.
        column: How much of its row pytest has written, to which it comes back.
        clock: Seconds.
    """

    def __init__(
        self,
        stream: TextIO,
        title: str,
        column: int = 0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._stream, self._title, self._clock = stream, title, clock
        self._column = column
        self._is_terminal = _is_live(stream)
        self._started_s = self._written_s = clock()
        self._has_begun, self._said = False, ""

    def say(self, message: str) -> None:
        now_s = self._clock()
        if not self._has_begun:
            if now_s - self._started_s < _QUIET_S["terminal" if self._is_terminal else "plain"]:
                return
            # pytest's row of dots may be on this line: leave it as it is.
            self._write("\n" if self._column or not self._is_terminal else "")
        elif not self._is_terminal or (
            message == self._said and now_s - self._written_s < _STILL_S
        ):
            return
        self._has_begun, self._written_s, self._said = True, now_s, message
        if self._is_terminal:
            told = f": {message} ({now_s - self._started_s:.0f} s)"
            self._write(f"\r\x1b[2K{_fitted(self._title, told, _columns_of(self._stream) - 1)}")
        else:
            self._write(f"trt: {self._title}: {message}\n")

    def stop(self) -> None:
        if self._has_begun and self._is_terminal:
            self._write(f"\r\x1b[2K{_back_to(self._column, _columns_of(self._stream))}")
            self._has_begun = False

    def _write(self, text: str) -> None:
        self._stream.write(text)
        self._stream.flush()


class _LiveLine:
    """One step's line: a spinner on a terminal, or the plain text once."""

    def __init__(self, stream: TextIO, title: str, column: int = 0) -> None:
        self._stream, self._column = stream, column
        self._text = title
        self._status: object | None = None
        self._is_live = _is_live(stream)
        kind = "terminal" if self._is_live else "plain"
        self._timer = threading.Timer(_QUIET_S[kind], self._begin)
        self._timer.daemon = True
        self._lock = threading.Lock()
        self._stopped = False
        self._timer.start()

    def say(self, message: str) -> None:
        with self._lock:
            self._text = message
            if self._status is not None:
                self._status.update(message)  # type: ignore[attr-defined]

    def stop(self) -> None:
        self._timer.cancel()
        with self._lock:
            self._stopped = True
            if self._status is not None:
                self._status.stop()  # type: ignore[attr-defined]
                self._stream.write(_back_to(self._column, _columns_of(self._stream)))
                self._stream.flush()

    def _begin(self) -> None:
        with self._lock:
            if self._stopped:
                return
            # pytest's row of dots may be on this line: leave it as it is.
            if not self._is_live:
                self._stream.write(f"\ntrt: {self._text}\n")
                self._stream.flush()
                return
            self._stream.write("\n" if self._column else "")
            from rich.console import Console

            self._status = Console(file=self._stream).status(self._text)
            self._status.start()
