"""The host as a device: figures of one CPU are compared with none of another."""

from __future__ import annotations

import os
import platform
from collections.abc import Mapping
from pathlib import Path


def host_cpu(cpuinfo: Path = Path("/proc/cpuinfo")) -> Mapping[str, str]:
    """Return the CPU's name and how many cores this process may use, by label.

    Args:
        cpuinfo: Where Linux tells the name; elsewhere the platform module does.
    """
    names = []
    if cpuinfo.exists():
        lines = cpuinfo.read_text(encoding="utf-8", errors="replace").splitlines()
        names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    name = next(iter(names), platform.processor() or platform.machine())
    usable = getattr(os, "sched_getaffinity", None)  # not on macOS
    cores = len(usable(0)) if usable else os.cpu_count()
    return {"cpu": name, "cores": f"{cores} cores"}
