"""The terminal, beyond what pytest writes: lines that fit, and progress of long steps."""

from __future__ import annotations

import os
import shutil
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, TextIO

import pytest

from pytest_trt.diagnostics import PytestTrtError, failure_lines, wrapped
from pytest_trt.escaping import terminal

#: How a progress line on a terminal is updated at most, in seconds.
_UPDATE_S = 0.5

#: Variables by which pytest detects CI: some systems give their jobs a terminal and log it.
_ON_CI = ("CI", "BUILD_NUMBER")

#: A step that takes no longer than this, in seconds, is not reported.
_QUIET_S = {"terminal": 0.5, "plain": 5.0}


def width_of(config: pytest.Config) -> int | None:
    """Return the columns to wrap at, or None where output goes to a file or a pipe."""
    reporter = config.pluginmanager.get_plugin("terminalreporter")
    if reporter is None or not reporter.isatty:
        return None
    width: int = config.get_terminal_writer().fullwidth
    return width


def write_prose(reporter: pytest.TerminalReporter, text: str) -> None:
    """Write sentences, wrapped between words on a terminal."""
    width = width_of(reporter.config)
    for paragraph in text.split("\n"):
        indent = paragraph[: len(paragraph) - len(paragraph.lstrip())]
        for line in wrapped(paragraph.lstrip(), width, indent):
            reporter.write_line(line)


@dataclass(frozen=True)
class _Crash:
    """What pytest's short summary shows of an error, on CI without cutting it."""

    message: str

    def __str__(self) -> str:
        return self.message


class _CollectionError:
    """A text whose form on the terminal can be replaced, unlike pytest's own.

    Args:
        text: The error.

    Attributes:
        reprcrash: Its first line.
    """

    def __init__(self, text: str) -> None:
        self._text = text
        self.reprcrash = _Crash(text.partition("\n")[0])

    def __str__(self) -> str:
        return self._text

    def toterminal(self, out: Any) -> None:
        out.line(self._text)


def fit_to_terminal(
    report: pytest.TestReport | pytest.CollectReport,
    config: pytest.Config,
    render: Callable[[int], str],
) -> None:
    """Replace what the terminal shows of a failure; other writers, such as junit, get the text.

    Args:
        report: A failed report without a traceback.
        config: The run's configuration.
        render: Returns the text for a number of columns.
    """
    shown: Any = report.longrepr
    if isinstance(shown, str):
        shown = _CollectionError(shown)
        report.longrepr = shown
    if width_of(config) is None or not hasattr(shown, "toterminal"):
        return
    as_it_was, writer = shown.toterminal, config.get_terminal_writer()
    entries = getattr(getattr(shown, "reprtraceback", None), "reprentries", ())
    location = entries[-1].reprfileloc if entries else None

    def toterminal(out: Any) -> None:
        # Whoever makes a string of it brings a writer of its own.
        if out is writer:
            out.line(render(out.fullwidth))
            if location is not None:
                out.line("")
                location.toterminal(out)
        else:
            as_it_was(out)

    shown.toterminal = toterminal


def usage_error(error: PytestTrtError | str) -> pytest.UsageError:
    """Return the error with which pytest ends before any test, fitted to standard error."""
    width = None
    if sys.stderr is not None and sys.stderr.isatty():
        width = shutil.get_terminal_size().columns - len("ERROR: ")  # pytest's prefix
    if isinstance(error, str):
        return pytest.UsageError("\n".join(wrapped(error, width)))
    return pytest.UsageError("\n".join(failure_lines([error.diagnostic], width=width)))


class TerminalProgress:
    """Reports what a long step is doing: a live line on a terminal, a plain line elsewhere.

    pytest captures what tests write, so this writes to a copy of standard error. Create it while
    nothing is captured: when pytest starts, or between collection and the first test.

    Args:
        config: The run's configuration. In an xdist worker nothing is written, as workers would
            overwrite each other's lines.
    """

    def __init__(self, config: pytest.Config) -> None:
        self._stream: TextIO | None = None
        self._column = _column_of(config)
        if not hasattr(config, "workerinput") and config.get_verbosity() >= 0:
            try:
                descriptor = sys.__stderr__.fileno() if sys.__stderr__ else -1
                self._stream = open(os.dup(descriptor), "w", encoding="utf-8")  # noqa: PTH123, SIM115
            except (OSError, ValueError):
                self._stream = None  # there is no standard error, or it is not a file

    @contextmanager
    def task(self, title: str) -> Iterator[Callable[[str], None]]:
        """Report a step once it takes long; calling what is yielded replaces the text."""
        if self._stream is None:
            yield lambda message: None
            return
        line = ProgressLine(self._stream, "", self._column())
        line.message = title
        done = threading.Event()
        thread = threading.Thread(target=_keep_writing, args=(line, done), daemon=True)
        thread.start()
        try:
            yield lambda message: setattr(line, "message", message)
        finally:
            done.set()
            thread.join()
            line.stop()

    @contextmanager
    def quiet_task(self, title: str) -> Iterator[Callable[[str], None]]:
        """Report a step that is timed: only what is yielded writes, when it is called.

        A line that updates itself would take time of a core that is being measured.
        """
        if self._stream is None:
            yield lambda message: None
            return
        line = ProgressLine(self._stream, title, self._column())
        try:
            yield line.say
        finally:
            line.stop()

    def close(self) -> None:
        """Close the copy of standard error."""
        if self._stream is not None:
            self._stream.close()
            self._stream = None


class ProgressLine:
    """One step's line, written only inside of `say` and `update`.

    Args:
        stream: Where it is written.
        title: What the step is about; empty where the messages say it.
        column: Columns of its row that pytest has written, to which the cursor returns.
        clock: Seconds.

    Attributes:
        message: What the step is doing.
    """

    def __init__(
        self,
        stream: TextIO,
        title: str,
        column: int = 0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._stream, self._title, self._clock = stream, terminal(title), clock
        self._column = column
        self.is_live = stream.isatty() and not any(map(os.environ.get, _ON_CI))
        self.quiet_s = _QUIET_S["terminal" if self.is_live else "plain"]
        self._started_s = self._written_s = clock()
        self._has_begun, self._shown, self.message = False, "", ""

    def say(self, message: str) -> None:
        """Show what the step is doing now."""
        self.message = message
        self.update()

    def update(self) -> None:
        """Write the line if it is due: the message changed, or is shown for half a second."""
        message, now_s = terminal(self.message), self._clock()
        if not self._has_begun:
            if now_s - self._started_s < self.quiet_s:
                return
            # pytest's row of dots may be on this line: leave it as it is.
            self._write("\n" if self._column or not self.is_live else "")
        elif not self.is_live or (message == self._shown and now_s - self._written_s < _UPDATE_S):
            return
        self._has_begun, self._written_s, self._shown = True, now_s, message
        text = f": {message}" if self._title else message
        if self.is_live:
            text = f"{text} ({now_s - self._started_s:.0f} s)"
            self._write(f"\r\x1b[2K{_fitted(self._title, text, _columns_of(self._stream) - 1)}")
        else:
            self._write(f"trt: {self._title}{text}\n")

    def stop(self) -> None:
        """Erase the line, and go back to the end of pytest's row."""
        if self._has_begun and self.is_live:
            ended = self._column % _columns_of(self._stream)
            self._write("\r\x1b[2K" + (f"\x1b[A\x1b[{ended}C" if ended else ""))
            self._has_begun = False

    def _write(self, text: str) -> None:
        self._stream.write(text)
        self._stream.flush()


def _keep_writing(line: ProgressLine, done: threading.Event) -> None:
    """Update a line until the step is done; a plain line only once, when it is due."""
    wait_s = line.quiet_s
    while not done.wait(wait_s):
        line.update()
        wait_s = _UPDATE_S


def _column_of(config: pytest.Config) -> Callable[[], int]:
    """Return a function that returns how many columns pytest has written of the current row."""
    output = sys.__stdout__
    # What tests write with -s is on that row as well, and pytest does not count it.
    captures = config.getoption("capture", "no") != "no"  # -p no:capture removes the option
    shows = config.pluginmanager.hasplugin("terminalreporter")
    if not (captures and shows) or output is None or not output.isatty():
        return lambda: 0
    writer = config.get_terminal_writer()
    return lambda: writer.width_of_current_line


def _fitted(title: str, text: str, columns: int) -> str:
    """Return a line that fits: the title is shortened first, as the text changes."""
    from pytest_trt.report.table import shortened

    return f"{shortened(title, columns - len(text), '...')}{text}"[:columns]


def _columns_of(stream: TextIO) -> int:
    try:
        return os.get_terminal_size(stream.fileno()).columns or 80
    except OSError:
        return 80
