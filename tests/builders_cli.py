"""The `pytest-trt` command as its users run it, but in this process."""

from __future__ import annotations

import io
import subprocess
import sys
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


def commit(*args: str) -> None:
    """Commit everything in the current folder, which becomes a repository."""
    who = ("-c", "user.name=a", "-c", "user.email=a@example.org", "-c", "commit.gpgsign=false")
    for line in (("init", "-q"), ("add", "."), ("commit", "-q", "-m", "x", *args)):
        subprocess.run(["git", *who, *line], check=True, capture_output=True)
