"""Time for tests of what is believed of files that were left alone."""

from __future__ import annotations

import time
from pathlib import Path

from pytest_trt.files import REST_NS


def much_later() -> int:
    """Return a time at which every file of today has been left alone for long enough."""
    return time.time_ns() + 2 * REST_NS


def next_tick(folder: Path) -> None:
    """Return once the file system's clock has moved on, as it has between a test run and the next.

    It ticks every few milliseconds, and two writes in one tick leave the same times.
    """
    probe = folder / "tick"
    probe.write_bytes(b"")
    before_ns = probe.stat().st_ctime_ns
    while probe.stat().st_ctime_ns == before_ns:
        probe.write_bytes(b"")
    probe.unlink()
