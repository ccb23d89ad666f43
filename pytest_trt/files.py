"""Files that several processes share: atomic writes, locks, and the file system they lie on."""

from __future__ import annotations

import contextlib
import errno
import os
import re
import stat
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import BinaryIO

from pytest_trt.private import NotPrivateError, runtime_folder

#: How often a process that waits for a lock reports it, in seconds.
_REPORT_S = 1.0

#: Seconds between two attempts to get a lock.
_POLL_S = 0.02

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
    waiting: Callable[[float, str], None] = lambda seconds, holder: None,
    timeout_s: float | None = None,
) -> Iterator[None]:
    """Hold a lock file. The kernel releases it when the process dies.

    Args:
        path: The lock file. It stays when the lock is released. A link is not followed.
        waiting: Called about once a second with the seconds waited so far, and who holds it:
            "process 1234".
        timeout_s: Seconds to wait at most for one holder; None for no limit. A holder that is
            followed by another one is no reason to give up.

    Raises:
        LockTimeoutError: Another process still holds it.
        NotPrivateError: Other users can hold it, or something else is in its place.
        OSError: The file cannot be opened, or its file system has no locks.
    """
    descriptor = _acquired(path, waiting, timeout_s)
    try:
        # For those who wait: one hold differs from the next.
        os.pwrite(descriptor, f"{os.getpid()} {time.monotonic_ns()}\n".encode(), 0)
        yield
    finally:
        os.close(descriptor)


class LockTimeoutError(TimeoutError):
    """Another process held a lock for too long.

    Attributes:
        holder: "process 1234".
        waited_s: For how long it was waited for.
    """

    def __init__(self, path: Path, holder: str, waited_s: float) -> None:
        super().__init__(errno.ETIMEDOUT, f"{holder} holds the lock", str(path))
        self.holder, self.waited_s = holder, waited_s


def _acquired(path: Path, waiting: Callable[[float, str], None], timeout_s: float | None) -> int:
    """Return the descriptor of a lock file that this process holds."""
    # Imported late: it is not there on every system.
    import fcntl

    started_s = since_s = reported_s = time.monotonic()
    hold = b""
    while True:
        descriptor = _open_lock(path)
        try:
            with contextlib.suppress(BlockingIOError):
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                if os.fstat(descriptor).st_nlink:
                    os.fchmod(descriptor, PRIVATE)
                    return descriptor
                os.close(descriptor)  # somebody cleared the folder meanwhile
                continue
            _require_unreadable(descriptor, path)
            held = os.pread(descriptor, 100, 0)
        except BaseException:
            os.close(descriptor)
            raise
        os.close(descriptor)
        now_s = time.monotonic()
        if held != hold:
            hold, since_s = held, now_s
        number = held.split(b" ")[0].decode(errors="replace")
        holder = f"process {number}" if number.isdigit() else "another process"
        if timeout_s is not None and now_s - since_s >= timeout_s:
            raise LockTimeoutError(path, holder, now_s - since_s)
        if now_s - reported_s >= _REPORT_S:
            reported_s = now_s
            waiting(now_s - started_s, holder)
        time.sleep(_POLL_S)


def _open_lock(path: Path) -> int:
    """Open a lock file of this user's or root's, and nothing that only looks like one.

    A named pipe would block whoever opens it, and a link would create a file elsewhere.
    """
    flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK
    try:
        descriptor = os.open(path, flags, PRIVATE)
    except FileNotFoundError:  # the first lock, or somebody cleared the cache
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        descriptor = os.open(path, flags, PRIVATE)
    status = os.fstat(descriptor)
    if not stat.S_ISREG(status.st_mode) or status.st_uid not in (os.geteuid(), 0):
        os.close(descriptor)
        raise NotPrivateError(path, "it is not a lock file of this user")
    return descriptor


def _require_unreadable(descriptor: int, path: Path) -> None:
    # Whoever may read a file may lock it, and never let go.
    mode = stat.S_IMODE(os.fstat(descriptor).st_mode)
    if mode & ~PRIVATE:
        raise NotPrivateError(path, f"other users can hold this lock (mode {mode:o})")


def user_lock(name: str) -> Path:
    """Return a lock file of the user's, for things in whose own place no file may be left.

    Raises:
        OSError: There is no folder for it that only the user can write to.
    """
    return runtime_folder() / f"{name}.lock"


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
