"""One process at a time measures on a device, over all runs of one user."""

from __future__ import annotations

import re
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path

from pytest_trt.files import locked, user_lock


def device_lock(
    device: str, waiting: Callable[[float], None], *, folder: Path | None = None
) -> AbstractContextManager[None]:
    """Hold the right to measure on a device. The kernel releases it when the process dies.

    Args:
        device: Identifies the device on this machine: a GPU's UUID, or the host's name.
        waiting: Called with the seconds waited so far, about once a second.
        folder: Where the lock file lies; by default a folder of the user, whatever the cache is.
    """
    name = re.sub(r"[^A-Za-z0-9_.-]+", "_", device)
    path = user_lock(name) if folder is None else folder / f"{name}.lock"
    return locked(path, waiting=waiting)
