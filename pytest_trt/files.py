"""Files that several processes share: atomic writes, locks, and the file system they lie on."""

from __future__ import annotations

import contextlib
import os
import re
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import BinaryIO

#: How often a process that waits for a lock reports it, in seconds.
_REPORT_S = 1.0

#: The mounts of this process. Source: proc(5), /proc/pid/mountinfo.
MOUNTS = Path("/proc/self/mountinfo")

#: Permission bits of files that only the user may read.
PRIVATE = 0o600


@contextlib.contextmanager
def atomic_open(path: Path, *, mode: int = 0o666, sync: bool = True) -> Iterator[BinaryIO]:
    """Open a new file to write, which replaces `path` when the block ends without an exception.

    Readers see the old content or the new one, never a part; a crash of the machine included.

    Args:
        path: The file to replace, in a folder that exists.
        mode: Permission bits, from which the process's umask is subtracted.
        sync: Whether to wait until the disk has it: not for what readers verify, and can do
            without if the machine crashes.

    Raises:
        OSError: It cannot be written; the old file is unchanged.
    """
    # In the same folder, as files are only renamed within one file system; hidden, so that no
    # `*.json` finds it.
    draft = path.with_name(f".{path.name[:50]}.{os.urandom(6).hex()}")
    try:
        descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
        with os.fdopen(descriptor, "wb") as file:
            yield file
            if sync:
                file.flush()
                os.fsync(file.fileno())
        draft.replace(path)
    except BaseException:
        draft.unlink(missing_ok=True)
        raise


def atomic_write(path: Path, data: str | bytes, *, mode: int = 0o666) -> None:
    """Replace the content of a file at once for every reader, see `atomic_open`.

    Text is written as UTF-8, lone surrogates as backslash escapes. The folder is created.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with atomic_open(path, mode=mode) as file:
        file.write(data.encode(errors="backslashreplace") if isinstance(data, str) else data)


@contextlib.contextmanager
def locked(
    path: Path,
    *,
    waiting: Callable[[float], None] = lambda seconds: None,
    timeout_s: float | None = None,
) -> Iterator[None]:
    """Hold a lock file. The kernel releases it when the process dies.

    Args:
        path: The lock file. It stays when the lock is released.
        waiting: Called with the seconds waited so far, about once a second.
        timeout_s: Seconds to wait at most; None for no limit.

    Raises:
        TimeoutError: Another process still holds it.
        OSError, NotImplementedError: The file cannot be opened, or its file system has no locks.
    """
    # Imported late: a run that finds its engines in the cache needs no lock.
    from filelock import FileLock, Timeout

    lock = FileLock(path)
    started_s = time.monotonic()
    while True:
        waited_s = time.monotonic() - started_s
        left_s = _REPORT_S if timeout_s is None else min(_REPORT_S, max(0, timeout_s - waited_s))
        try:
            lock.acquire(timeout=left_s, poll_interval=0.02)
            break
        except Timeout:
            waited_s = time.monotonic() - started_s
            if timeout_s is not None and waited_s >= timeout_s:
                raise
            waiting(waited_s)
    try:
        yield
    finally:
        lock.release()


def user_lock(name: str) -> Path:
    """Return a lock file of the user's, for things in whose own place no file may be left.

    It lies in the user's state folder, or among temporary files where that cannot be written.
    """
    import getpass
    import tempfile

    import platformdirs

    folder = Path(platformdirs.user_state_dir("pytest-trt"))
    try:
        folder.mkdir(parents=True, exist_ok=True)
        usable = os.access(folder, os.W_OK)
    except OSError:
        usable = False
    if not usable:
        folder = Path(tempfile.gettempdir()) / f"pytest-trt-{getpass.getuser()}"
        folder.mkdir(mode=0o700, exist_ok=True)
    return folder / f"{name}.lock"


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
