from __future__ import annotations

import os
import pty
import select

import pytest

from pytest_trt.plugin import progress


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
    monkeypatch.setattr(progress, "_QUIET_S", {"terminal": 0.0, "plain": 0.0})


def shown_on(descriptor: int) -> progress.TerminalProgress:
    shown = progress.TerminalProgress.__new__(progress.TerminalProgress)
    shown._stream = open(descriptor, "w", encoding="utf-8")  # noqa: SIM115
    return shown


def test_long_step_is_a_plain_line_where_there_is_no_terminal(at_once) -> None:
    reader, writer = os.pipe()
    shown = shown_on(writer)
    with shown.task("building digits.onnx fp16"):
        assert "trt: building digits.onnx fp16\n" in read_until(reader, "fp16")
    shown.close()
    assert read(reader) == ""
    os.close(reader)


def test_long_step_is_a_live_line_on_a_terminal_and_gone_afterwards(at_once) -> None:
    reader, writer = pty.openpty()
    shown = shown_on(writer)
    with shown.task("building") as say:
        read_until(reader, "building")
        say("converting to fp16")
        read_until(reader, "converting to fp16")
    assert "\x1b[2K" in read(reader)
    shown.close()
    os.close(reader)


def test_short_step_goes_unmentioned() -> None:
    reader, writer = os.pipe()
    shown = shown_on(writer)
    with shown.task("building"):
        pass
    shown.close()
    assert read(reader) == ""
    os.close(reader)


@pytest.mark.parametrize("args", [["-q"], ["-n", "1"]])
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
