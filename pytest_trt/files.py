"""Files that several processes share: atomic writes, locks, and the file system they lie on."""

from __future__ import annotations

import contextlib
import errno
import os
import re
import stat
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from io import FileIO
from pathlib import Path
from typing import BinaryIO

from pytest_trt.diagnostics import Remedy, ReportError, as_typed
from pytest_trt.private import NotPrivateError, runtime_folder

#: How often a process that waits for a lock reports it, in seconds.
_REPORT_S = 1.0

#: Seconds between two attempts to get a lock.
_POLL_S = 0.02

#: The mounts of this process. Source: proc(5), /proc/pid/mountinfo.
MOUNTS = Path("/proc/self/mountinfo")

#: Permission bits of files that only the user may read.
PRIVATE = 0o600


#: How long a file must have been unchanged before its stamp proves that it holds the same bytes:
#: longer than a tick of any file system's clock (2 s on FAT), and longer than Linux leaves a page
#: of a memory map dirty (30 s, checked every 5 s): until the page is written back, further stores
#: do not move the file's times.
#: Source: https://docs.kernel.org/admin-guide/sysctl/vm.html, dirty_expire_centisecs.
REST_NS = 60 * 10**9

#: First bytes of a file that Git LFS has not downloaded. Source: its specification, `docs/spec.md`.
LFS_POINTER = b"version https://git-lfs"

#: What to do about such a file.
LFS_PULL = Remedy("Install Git LFS, and download the file:", ("git lfs pull",))

#: A tick of the coarsest clock of a file system, FAT's.
TICK_NS = 2 * 10**9

#: Names of drafts, and of folders that hide them from git.
_DRAFT = re.compile(r"\..+\.[0-9a-f]{12}", re.DOTALL)
_HIDING = re.compile(r"\.pytest-trt-[0-9a-f]{12}")
_IGNORE = ".gitignore"


@dataclass(frozen=True, slots=True)
class FileStamp:
    """The file system's metadata of a file.

    Attributes:
        path: The file, absolute, links resolved.
        device: Number of the file system.
        inode: Number of the file in it.
        size_bytes: Its size.
        mtime_ns: When its bytes last changed; programs can set it.
        ctime_ns: When its bytes or metadata last changed.
    """

    path: str
    device: int
    inode: int
    size_bytes: int
    mtime_ns: int
    ctime_ns: int

    @classmethod
    def of(cls, path: Path, file: FileIO, real_path: str = "") -> FileStamp:
        """Return the stamp of an open file: opening makes network file systems ask the server.

        Args:
            path: How the file was opened.
            file: The file.
            real_path: The path with links resolved, where it is known.
        """
        status = os.fstat(file.fileno())
        return cls(
            path=real_path or os.path.realpath(path),
            device=status.st_dev,
            inode=status.st_ino,
            size_bytes=status.st_size,
            mtime_ns=status.st_mtime_ns,
            ctime_ns=status.st_ctime_ns,
        )

    def rested(self, now_ns: int, for_ns: int = REST_NS) -> bool:
        """Whether the file had been unchanged for long enough at that time.

        False where the file system has no file numbers or no change times.
        """
        known = self.inode > 0 and self.ctime_ns > 0
        return known and max(self.mtime_ns, self.ctime_ns) + for_ns < now_ns


def open_regular(path: Path) -> FileIO:
    """Open a file to read, without a buffer. A pipe would block, and a device may do anything.

    Raises:
        OSError: It cannot be opened, or is no regular file.
    """
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    mode = os.fstat(descriptor).st_mode
    if stat.S_ISREG(mode):
        return FileIO(descriptor)
    os.close(descriptor)
    if stat.S_ISDIR(mode):
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(path))
    raise OSError(errno.EINVAL, "not a regular file", str(path))


def is_lfs_pointer(path: Path) -> bool:
    """Whether a file is a pointer that Git LFS left in the place of its content."""
    try:
        with open_regular(path) as file:
            return file.read(len(LFS_POINTER)) == LFS_POINTER
    except OSError:
        return False


@cache
def _has_memory_files() -> bool:
    return hasattr(os, "memfd_create") and Path("/proc/self/fd").exists()


@contextlib.contextmanager
def memory_file() -> Iterator[Path]:
    """Provide a file in memory that other processes of this user can read and write by its path.

    It ends with the block, and with this process. Where the system has none, it is on the disk.

    Raises:
        OSError: It cannot be made.
    """
    if _has_memory_files():
        descriptor = os.memfd_create("pytest-trt")
        try:
            yield Path(f"/proc/{os.getpid()}/fd/{descriptor}")
        finally:
            os.close(descriptor)
    else:
        with tempfile.NamedTemporaryFile(prefix="pytest-trt-") as file:
            yield Path(file.name)


@contextlib.contextmanager
def atomic_open(
    path: Path, *, mode: int = 0o666, sync: bool = True, drafts: Path | None = None
) -> Iterator[BinaryIO]:
    """Open a new file to write, which replaces `path` when the block ends without an exception.

    Readers see the old content or the new one, never a part; a crash of the machine included. What
    a killed process leaves is removed by `sweep`.

    Args:
        path: The file to replace, in a folder that exists.
        mode: Permission bits, from which the process's umask is subtracted.
        sync: Whether to wait until the disk has it: not for what readers verify, and can do
            without if the machine crashes.
        drafts: A folder of the same file system in which to write it, swept by its owner; by
            default a new one next to the target, in which git ignores it.

    Raises:
        OSError: It cannot be written; the old file is unchanged.
    """
    # On the file system of the target, as files are only renamed within one; with a dot, so that no
    # `*.json` finds it.
    name = f".{path.name[:50]}"
    with _hiding(path.parent) if drafts is None else contextlib.nullcontext(drafts) as folder:
        draft, descriptor = _new_draft(folder, name, mode)
        try:
            with os.fdopen(descriptor, "wb") as file:
                yield file
                file.flush()
                if sync:
                    os.fsync(file.fileno())
                draft.replace(path)  # before it is closed, which releases its lock
        except BaseException:
            draft.unlink(missing_ok=True)
            raise


def atomic_write(path: Path, data: str | bytes, *, mode: int = 0o666) -> None:
    """Replace the content of a file at once for every reader, see `atomic_open`.

    Text is written as UTF-8, lone surrogates as backslash escapes. The folder is created. What
    killed processes left in it is removed.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    sweep(path.parent)
    with atomic_open(path, mode=mode) as file:
        file.write(data.encode(errors="backslashreplace") if isinstance(data, str) else data)


def write_output(path: Path, data: str | bytes) -> None:
    """Write a file that the user named, whole or not at all; see `atomic_write`.

    Raises:
        ReportError: It cannot be written; an existing file is unchanged.
    """
    try:
        atomic_write(path, data)
    except OSError as error:
        raise ReportError(
            f"{as_typed(path)} cannot be written: {error.strerror}",
            fix="Name a file in a writable folder, and check that there is space.",
            code="TRT901",
            facts={"file": str(path), "error": error.strerror},
        ) from error


def sweep(folder: Path, *, drafts: bool = False) -> None:
    """Remove what killed processes left of `atomic_open` in a folder. Never fails.

    Args:
        folder: The folder.
        drafts: Whether it is a folder for drafts, and all files in it are ours.
    """
    with contextlib.suppress(OSError):
        for entry in os.scandir(folder):
            if _HIDING.fullmatch(entry.name):
                _remove_unlocked(Path(entry.path, _IGNORE), _empty)
                with contextlib.suppress(OSError):
                    Path(entry.path).rmdir()
            elif drafts and _DRAFT.fullmatch(entry.name):
                _remove_unlocked(Path(entry.path), lambda path: path.unlink())


def _remove_unlocked(path: Path, remove: Callable[[Path], None]) -> None:
    import fcntl

    with contextlib.suppress(OSError), open_regular(path) as file:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        remove(path)


def _empty(ignore: Path) -> None:
    """Remove the files of a folder, the one that hides the others last."""
    for path in ignore.parent.iterdir():
        if path != ignore:
            path.unlink()
    ignore.unlink()


def _new_draft(folder: Path, name: str, mode: int) -> tuple[Path, int]:
    while True:
        draft = folder / f"{name}.{os.urandom(6).hex()}"
        descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, mode)
        if _locked_before_swept(descriptor):
            return draft, descriptor
        os.close(descriptor)


def _locked_before_swept(descriptor: int) -> bool:
    """Lock a new file, by which `sweep` sees that it is in use; return whether it was faster."""
    import fcntl

    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:  # no locks: then it is never swept
        return True
    return os.fstat(descriptor).st_nlink > 0


@contextlib.contextmanager
def _hiding(parent: Path) -> Iterator[Path]:
    """Provide a new folder in which git ignores every file; it is removed."""
    while True:
        folder = parent / f".pytest-trt-{os.urandom(6).hex()}"
        folder.mkdir(mode=0o700)
        ignore = folder / _IGNORE
        try:
            descriptor = _new_ignore(folder)
            break
        except FileNotFoundError:  # swept while it was empty
            continue
        except BaseException:
            ignore.unlink(missing_ok=True)
            folder.rmdir()
            raise
    try:
        yield folder
    finally:
        ignore.unlink(missing_ok=True)
        with contextlib.suppress(OSError):
            folder.rmdir()
        os.close(descriptor)


def _new_ignore(folder: Path) -> int:
    """Create the file that hides a folder's files from git, complete and locked from the start."""
    import fcntl

    directory = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        try:
            flags, name = os.O_TMPFILE | os.O_RDWR, "."
            descriptor = os.open(name, flags | os.O_CLOEXEC, PRIVATE, dir_fd=directory)
        except OSError:  # a file system without nameless files
            flags = os.O_CREAT | os.O_EXCL | os.O_RDWR
            descriptor, name = os.open(folder / _IGNORE, flags | os.O_CLOEXEC, PRIVATE), _IGNORE
        try:
            with contextlib.suppress(OSError):
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            os.write(descriptor, b"*\n")
            if name != _IGNORE:
                # Through its descriptor: only root may link a nameless file otherwise.
                source = f"/proc/self/fd/{descriptor}"
                os.link(source, _IGNORE, dst_dir_fd=directory, follow_symlinks=True)
        except BaseException:
            os.close(descriptor)
            raise
        return descriptor
    finally:
        os.close(directory)


@contextlib.contextmanager
def locked(
    path: Path,
    *,
    waiting: Callable[[float, str], None] = lambda seconds, holder: None,
    timeout_s: float | None = None,
    remove: bool = False,
) -> Iterator[None]:
    """Hold a lock file. The kernel releases it when the process dies.

    Args:
        path: The lock file. A link is not followed.
        waiting: Called about once a second with the seconds waited so far, and who holds it:
            "process 1234".
        timeout_s: Seconds to wait at most for one holder; None for no limit. A holder that is
            followed by another one is no reason to give up.
        remove: Whether to remove the file when the lock is released.

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
        if remove:
            path.unlink(missing_ok=True)
        os.close(descriptor)


class LockTimeoutError(TimeoutError):
    """Another process held a lock for too long.

    Attributes:
        holder: "process 1234".
        pid: Its number; None where that is unknown.
        waited_s: For how long it was waited for.
    """

    def __init__(self, path: Path, pid: int | None, waited_s: float) -> None:
        self.holder, self.pid, self.waited_s = _holder(pid), pid, waited_s
        super().__init__(errno.ETIMEDOUT, f"{self.holder} holds the lock", str(path))


def _holder(pid: int | None) -> str:
    return "another process" if pid is None else f"process {pid}"


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
                os.close(descriptor)  # it was removed meanwhile
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
        number = held.split(b" ")[0]
        pid = int(number) if number.isdigit() else None
        if timeout_s is not None and now_s - since_s >= timeout_s:
            raise LockTimeoutError(path, pid, now_s - since_s)
        if now_s - reported_s >= _REPORT_S:
            reported_s = now_s
            waiting(now_s - started_s, _holder(pid))
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
