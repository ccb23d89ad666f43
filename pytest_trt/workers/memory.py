"""How much memory a process may use, so that a model that explodes fails and the machine lives."""

from __future__ import annotations

import contextlib
import itertools
import os
from collections.abc import Iterator
from pathlib import Path

#: Share of the memory that is available which one process may take.
_MOST = 0.9

#: Control groups, of version 2 and 1: the folder below /sys/fs/cgroup, the limit and the usage.
_GROUPS = (
    ("", "memory.max", "memory.current"),
    ("memory", "memory.limit_in_bytes", "memory.usage_in_bytes"),
)

_BYTES_PER_KB = 1024


def available_bytes(root: Path = Path("/")) -> int | None:
    """Return the memory that this machine, or this container, has left; None where unknown.

    Args:
        root: Where `proc` and `sys` are.
    """
    found = []
    with contextlib.suppress(OSError, ValueError):
        lines = (root / "proc/meminfo").read_text().splitlines()
        found += [
            int(line.split()[1]) * _BYTES_PER_KB for line in lines if line.startswith("MemAvail")
        ]
    found += _left_in_groups(root)
    return min(found, default=None)


def _left_in_groups(root: Path) -> Iterator[int]:
    """Yield what the control groups of this process leave it, the files that are cached included.

    Source: https://docs.kernel.org/admin-guide/cgroup-v2.html, "Memory Interface Files".
    """
    own = [""]
    with contextlib.suppress(OSError):
        for line in (root / "proc/self/cgroup").read_text().splitlines():
            _, controllers, path = line.split(":", 2)
            own += [path] if controllers in ("", "memory") else []
    for (part, limit, usage), path in itertools.product(_GROUPS, own):
        folder = root / "sys/fs/cgroup" / part / path.lstrip("/")
        with contextlib.suppress(OSError, ValueError):  # "max" is no limit
            most = int((folder / limit).read_text())
            used = int((folder / usage).read_text())
            for line in (folder / "memory.stat").read_text().splitlines():
                name, _, value = line.partition(" ")
                if name in ("inactive_file", "total_inactive_file"):
                    used -= int(value)
                    break
            yield max(most - used, 0)


def limit_memory() -> int | None:
    """Let this process allocate most of the memory that is available; return how many bytes.

    Mapped files do not count. Where the system has no such limit, nothing happens.
    """
    import resource

    available = available_bytes()
    with contextlib.suppress(OSError, ValueError):
        pages = int(Path("/proc/self/statm").read_text().split()[5])
        if available is not None:
            held = pages * os.sysconf("SC_PAGE_SIZE")
            _, hard = resource.getrlimit(resource.RLIMIT_DATA)
            wanted = held + int(available * _MOST)
            most = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
            resource.setrlimit(resource.RLIMIT_DATA, (most, hard))
            return most - held
    return None
