"""Seeing a process end without asking for its number, which another one may get."""

from __future__ import annotations

import os
import select
import subprocess
from pathlib import Path


class Lifeline:
    """A named pipe that a builder holds open for as long as it lives; it begins with a byte."""

    def __init__(self, path: Path) -> None:
        self.path = path
        os.mkfifo(path)
        self._reader = -1
        self._held = False

    def is_held(self, timeout_s: float = 0.0) -> bool:
        """Whether a process has held the pipe; this waits for it no longer than `timeout_s`."""
        if self._reader < 0:
            self.read_without_waiting()
        if not self._held and select.select([self._reader], [], [], timeout_s)[0]:
            self._held = os.read(self._reader, 1) != b""
        return self._held

    def wait_until_held(self, by: subprocess.Popen[bytes]) -> None:
        """Wait until a process holds the pipe that `by` is, or that it has started."""
        while not self.is_held(0.1):
            assert by.poll() is None, f"exit status {by.returncode}, and nothing held the pipe"

    def read_without_waiting(self) -> None:
        self._reader = os.open(self.path, os.O_RDONLY | os.O_NONBLOCK)
        os.set_blocking(self._reader, True)

    def wait_until_let_go(self) -> None:
        while os.read(self._reader, 1):
            pass
        os.close(self._reader)
