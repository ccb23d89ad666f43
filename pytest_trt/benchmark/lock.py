"""One process at a time measures on a device, over all runs of one user."""

from __future__ import annotations

import getpass
import os
import re
import tempfile
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path

import platformdirs

from pytest_trt.files import process_lock


def device_lock(
    device: str, waiting: Callable[[float], None], *, folder: Path | None = None
) -> AbstractContextManager[None]:
    """Hold the right to measure on a device. The kernel releases it when the process dies.

    Args:
        device: What tells the device from others of this machine: a GPU's UUID, the host's name.
        waiting: Called with the seconds waited so far, about once a second.
        folder: Where locks are; by default one of the user, whatever cache a run is given.
    """
    folder = _made(folder or Path(platformdirs.user_state_dir("pytest-trt")))
    return process_lock(folder / f"{re.sub(r'[^A-Za-z0-9_.-]+', '_', device)}.lock", waiting)


def _made(folder: Path) -> Path:
    """Make a folder; where the user's own cannot be written, one among temporary files."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if os.access(folder, os.W_OK):
            return folder
    except OSError:
        pass
    private = Path(tempfile.gettempdir()) / f"pytest-trt-{getpass.getuser()}"
    private.mkdir(mode=0o700, exist_ok=True)
    return private
