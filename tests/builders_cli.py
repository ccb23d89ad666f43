"""The `pytest-trt` command as its users run it, but in this process."""

from __future__ import annotations

import io
import os
import pty
import subprocess
import sys
from collections.abc import Sequence
from contextlib import redirect_stderr, redirect_stdout
from subprocess import CompletedProcess
from unittest.mock import patch

from pytest_trt.cli import main


def run_command(*args: str) -> CompletedProcess[str]:
    """Run it; an exception that it does not handle is raised here."""
    out, err, status = io.StringIO(), io.StringIO(), 0
    with (
        patch.object(sys, "argv", ["pytest-trt", *args]),
        redirect_stdout(out),
        redirect_stderr(err),
    ):
        try:
            main()
        except SystemExit as ended:
            status = int(ended.code or 0)
    return CompletedProcess(args, status, out.getvalue(), err.getvalue())


def _environment(**given: str) -> dict[str, str]:
    none = ("NO_COLOR", "FORCE_COLOR", "COLUMNS", "PY_COLORS", "TTY_COMPATIBLE")
    return {**{k: v for k, v in os.environ.items() if k not in none}, "TERM": "xterm", **given}


def on_terminal(line: Sequence[str], **variables: str) -> str:
    """Run a command on a terminal, and return what it prints there."""
    master, slave = pty.openpty()
    running = subprocess.Popen(
        line, stdin=slave, stdout=slave, stderr=slave, env=_environment(**variables)
    )
    os.close(slave)
    found = b""
    try:
        while part := os.read(master, 4096):
            found += part
    except OSError:
        pass  # the other side is closed
    finally:
        os.close(master)
        running.wait()
    return found.decode()


def in_pipe(line: Sequence[str], **variables: str) -> str:
    """Run a command whose output is read by another, and return that."""
    env = _environment(**variables)
    return subprocess.run(line, env=env, check=False, capture_output=True, text=True).stdout
