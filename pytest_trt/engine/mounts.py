"""On which kind of file system a file lies, by Linux's list of mounts."""

from __future__ import annotations

import re
from pathlib import Path

#: The mounts of this process. Source: proc(5), /proc/pid/mountinfo.
MOUNTS = Path("/proc/self/mountinfo")


def file_system(path: str, mounts: Path = MOUNTS) -> str:
    """Return the type of the file system that holds a file, such as "ext4"; empty if unknown.

    Asked by path: the device number that a file shows is not the mount's on btrfs and overlays.

    Args:
        path: Absolute, links resolved.
        mounts: A list in the form of `MOUNTS`.
    """
    try:
        text = mounts.read_text(encoding="utf-8", errors="surrogateescape")
    except OSError:
        return ""
    holder, kind = "", ""
    for line in text.splitlines():
        mount, _, source = line.partition(" - ")
        # The last of several mounts on one point is the one that shows.
        point = _unescaped(mount.split(" ")[4])
        if len(point) >= len(holder) and f"{path}/".startswith(f"{point.rstrip('/')}/"):
            holder, kind = point, source.split(" ")[0]
    return kind


def _unescaped(point: str) -> str:
    # Blanks and backslashes are written as three octal digits.
    return re.sub(r"\\([0-7]{3})", lambda match: chr(int(match[1], 8)), point)
