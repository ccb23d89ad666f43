"""Seeing a process end without asking for its number, which another one may get."""

from __future__ import annotations

import os
from pathlib import Path


class Lifeline:
    """A named pipe that a builder holds open for as long as it lives."""

    def __init__(self, path: Path) -> None:
        self.path = path
        os.mkfifo(path)
        self._reader = -1

    def wait_until_held(self) -> None:
        self._reader = os.open(self.path, os.O_RDONLY)

    def read_without_waiting(self) -> None:
        self._reader = os.open(self.path, os.O_RDONLY | os.O_NONBLOCK)
        os.set_blocking(self._reader, True)

    def wait_until_let_go(self) -> None:
        assert os.read(self._reader, 1) == b""
        os.close(self._reader)
