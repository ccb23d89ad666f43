"""Processes that tests start: git, with an identity of its own, and holders of locks."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path


def git(folder: Path, *args: str, status: int = 0) -> None:
    """Run git in a folder; it has to end with a status."""
    who = ("-c", "user.name=a", "-c", "user.email=a@example.org", "-c", "commit.gpgsign=false")
    command = ["git", "-C", str(folder), *who, *args]
    done = subprocess.run(command, capture_output=True, check=False)
    assert done.returncode == status, done


def commit_all(folder: Path, *args: str) -> None:
    """Commit everything in a folder, which becomes a repository."""
    for line in (("init", "-q"), ("add", "."), ("commit", "-q", "-m", "x", *args)):
        git(folder, *line)


def holder(code: str, *args: str) -> subprocess.Popen[str]:
    """Start Python code that prints "held", and then holds something until its input ends."""
    process = subprocess.Popen(
        [sys.executable, "-c", code, *args],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "held\n"
    return process
