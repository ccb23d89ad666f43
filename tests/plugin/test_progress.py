from __future__ import annotations

import fcntl
import os
import pty
import select
import struct
import termios
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from pytest_trt.plugin import terminal


def read(descriptor: int) -> str:
    """Return what is written next, waiting for it."""
    ready, _, _ = select.select([descriptor], [], [], 20)
    return os.read(descriptor, 4096).decode() if ready else ""


def read_until(descriptor: int, text: str) -> str:
    seen = ""
    while text not in seen:
        more = read(descriptor)
        assert more, f"{text!r} did not come; {seen!r} did"
        seen += more
    return seen


@pytest.fixture
def at_once(monkeypatch):
    monkeypatch.setattr(terminal, "_QUIET_S", {"terminal": 0.0, "plain": 0.0})


def shown_on(descriptor: int, column: int = 0) -> terminal.TerminalProgress:
    shown = terminal.TerminalProgress.__new__(terminal.TerminalProgress)
    shown._column = lambda: column
    shown._stream = open(descriptor, "w", encoding="utf-8")  # noqa: SIM115
    return shown


def test_long_step_is_a_plain_line_without_a_terminal(at_once) -> None:
    reader, writer = os.pipe()
    shown = shown_on(writer)
    with shown.task("building digits.onnx fp16"):
        assert "trt: building digits.onnx fp16\n" in read_until(reader, "fp16")
    shown.close()
    assert read(reader) == ""
    os.close(reader)


def test_long_step_is_a_live_line_on_a_terminal_and_removed_afterwards(at_once) -> None:
    reader, writer = pty.openpty()
    shown = shown_on(writer)
    with shown.task("building") as say:
        read_until(reader, "building")
        say("converting to fp16")
        read_until(reader, "converting to fp16")
    assert "\x1b[2K" in read(reader)
    shown.close()
    os.close(reader)


def test_short_step_is_not_mentioned() -> None:
    reader, writer = os.pipe()
    shown = shown_on(writer)
    with shown.task("building"):
        pass
    shown.close()
    assert read(reader) == ""
    os.close(reader)


@pytest.mark.parametrize("args", [["-q"], ["-n", "1"]])
@pytest.mark.exhaustive
def test_nothing_is_written_when_quiet_or_in_a_worker(project, args) -> None:
    if "-n" in args:
        pytest.importorskip("xdist")
    project.test_file(
        '@pytest.mark.trt_model("models/linear.onnx")\n'
        "def test_it(trt_engine, request):\n"
        "    from pytest_trt.plugin.state import PROGRESS_KEY\n"
        "    assert request.config.stash[PROGRESS_KEY]._stream is None\n"
    )
    result = project.run(*args, subprocess=True)
    assert result.ret == 0


class Clock:
    def __init__(self) -> None:
        self.now_s = 0.0

    def __call__(self) -> float:
        return self.now_s


@contextmanager
def still_line(descriptor: int, clock: Clock, column: int = 0) -> Iterator[terminal.ProgressLine]:
    with open(descriptor, "w", encoding="utf-8") as stream:
        line = terminal.ProgressLine(stream, "timing digits.onnx", column, clock)
        yield line
        line.stop()


def shown_by(line: terminal.ProgressLine, reader: int) -> str:
    """Return all that a line has written to a terminal, which hands it over in pieces."""
    end = "<end>"
    line._stream.write(end)
    line._stream.flush()
    return read_until(reader, end).removesuffix(end)


def show_progress(line: terminal.ProgressLine, clock: Clock, *at_s: float, step: str = "") -> None:
    for now_s in at_s:
        clock.now_s = now_s
        line.say(step or f"round at {now_s:g}")


def test_timed_step_is_reported_periodically_on_a_terminal_and_removed_afterwards() -> None:
    reader, writer = pty.openpty()
    clock = Clock()
    with still_line(writer, clock) as line:
        show_progress(line, clock, 0.1, 0.6, 0.7, 0.8, 1.2, step="taking rounds")
        line.stop()
        shown = shown_by(line, reader)
    assert shown.count("timing digits.onnx: taking rounds") == 2
    assert "timing digits.onnx: taking rounds (1 s)" in shown
    assert shown.endswith("\r\x1b[2K")
    os.close(reader)


def test_next_step_is_reported_at_once() -> None:
    reader, writer = pty.openpty()
    clock = Clock()
    with still_line(writer, clock) as line:
        show_progress(line, clock, 0.6, step="fresh process 1 of 7: loading")
        show_progress(line, clock, 0.7, 0.8, step="fresh process 1 of 7: taking rounds")
        shown = shown_by(line, reader)
    assert shown.count("loading") == shown.count("taking rounds") == 1
    os.close(reader)


def test_long_timed_step_is_one_line_without_a_terminal() -> None:
    reader, writer = os.pipe()
    clock = Clock()
    with still_line(writer, clock) as line:
        show_progress(line, clock, 0.6, 4.0, 5.5, 9.0, 30.0)
    assert read(reader) == "\ntrt: timing digits.onnx: round at 5.5\n"
    os.close(reader)


def narrow(columns: int) -> tuple[int, int]:
    reader, writer = pty.openpty()
    fcntl.ioctl(writer, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
    return reader, writer


def test_timed_step_is_never_wider_than_its_terminal() -> None:
    reader, writer = narrow(40)
    clock = Clock()
    with still_line(writer, clock) as line:
        show_progress(line, clock, 1.0, step="x" * 100)
        assert len(shown_by(line, reader).rpartition("\x1b[2K")[2]) == 39
    os.close(reader)


def test_step_and_elapsed_time_are_shown_where_the_name_is_shortened() -> None:
    reader, writer = narrow(40)
    clock = Clock()
    with still_line(writer, clock) as line:
        show_progress(line, clock, 1.0, step="taking turns, look 2 of 3")
        reported = shown_by(line, reader).rpartition("\x1b[2K")[2]
    assert reported.startswith("ti")
    assert reported.endswith("...x: taking turns, look 2 of 3 (1 s)")
    assert len(reported) <= 39
    os.close(reader)


@pytest.mark.parametrize("variable", ["CI", "BUILD_NUMBER"])
def test_ci_terminal_shows_a_step_once(at_once, monkeypatch, variable: str) -> None:
    monkeypatch.setenv(variable, "true")
    reader, writer = pty.openpty()
    clock = Clock()
    with still_line(writer, clock) as line:
        show_progress(line, clock, 1.0, 2.0, 3.0, step="taking rounds")
        line.stop()
        shown = shown_by(line, reader)
    assert shown.strip() == "trt: timing digits.onnx: taking rounds"
    assert "\x1b" not in shown
    os.close(reader)


def test_build_on_a_terminal_of_ci_is_a_plain_line(at_once, monkeypatch) -> None:
    monkeypatch.setenv("CI", "true")
    reader, writer = pty.openpty()
    shown = shown_on(writer)
    with shown.task("building digits.onnx"):
        assert "\x1b" not in read_until(reader, "trt: building digits.onnx")
    shown.close()
    os.close(reader)


def test_no_thread_writes_while_something_is_timed(at_once) -> None:
    reader, writer = pty.openpty()
    shown = shown_on(writer)
    before = threading.active_count()
    with shown.quiet_task("timing") as say:
        say("taking rounds")
        assert "timing: taking rounds" in read_until(reader, "taking rounds")
        assert threading.active_count() == before
    shown.close()
    os.close(reader)


@pytest.mark.parametrize(
    ("column", "back"),
    [(0, ""), (21, "\x1b[A\x1b[21C"), (90, "\x1b[A\x1b[10C"), (80, "")],
    ids=["no row", "a row", "one that is folded", "one that is full"],
)
def test_row_of_dots_continues_where_it_stopped(column: int, back: str) -> None:
    reader, writer = pty.openpty()
    fcntl.ioctl(writer, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 80, 0, 0))
    clock = Clock()
    with still_line(writer, clock, column) as line:
        show_progress(line, clock, 1.0)
        line.stop()
        shown = shown_by(line, reader)
    assert shown.startswith("\r\n\r\x1b[2K") == (column > 0)
    assert shown.endswith(f"\r\x1b[2K{back}")
    os.close(reader)


def test_row_of_dots_continues_after_a_build(at_once) -> None:
    reader, writer = pty.openpty()
    fcntl.ioctl(writer, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 80, 0, 0))
    shown = shown_on(writer, column=21)
    with shown.task("building"):
        assert read_until(reader, "building").startswith("\r\n")
    assert read_until(reader, "\x1b[21C").endswith("\x1b[A\x1b[21C")
    shown.close()
    os.close(reader)
