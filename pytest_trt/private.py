"""Files and folders that nobody but the user and root can have written.

What is opened is checked, not what a path led to a moment ago: a folder is reached from the root
down, each step relative to the descriptor of the one before, and a file is checked by the
descriptor that is read. So whoever renames a folder above meanwhile changes nothing.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterable
from contextlib import suppress
from io import FileIO
from pathlib import Path
from types import TracebackType
from typing import Literal, NamedTuple

#: Permission to write, of the group and of all others.
_GROUP, _OTHERS = 0o020, 0o002

#: More links than this on a way are a circle, as for the kernel. Source: path_resolution(7).
_MOST_LINKS = 40

#: Where Linux lists the open files of this process.
_OPEN_FILES = "/proc/self/fd"


#: A test may change the current folder before the first engine is needed.
_started_in: list[Path] = []
with suppress(OSError):
    _started_in.append(Path.cwd())


class NotPrivateError(PermissionError):
    """Another user could have written a file, or could replace a folder.

    Attributes:
        path: The file or folder.
        owner: Its owner, if that is neither the user nor root; else None.
        mode: Its permission bits, if others may write to it; else None.
    """

    def __init__(
        self, path: Path, reason: str, *, owner: int | None = None, mode: int | None = None
    ) -> None:
        super().__init__(errno.EPERM, reason, str(path))
        self.path, self.owner, self.mode = path, owner, mode


class PrivateFolder:
    """An open folder that only the user or root can write to, see `open_private`.

    Args:
        path: How it was reached, for messages.
        descriptor: The open folder, which belongs to this object.
    """

    def __init__(self, path: Path, descriptor: int) -> None:
        self.path, self._descriptor = path, descriptor

    @classmethod
    def at(cls, path: Path) -> PrivateFolder:
        """Open a folder whose folders above have been checked, see `open_private`.

        Raises:
            NotPrivateError: Others can write to it, or it is a link.
            OSError: It cannot be opened.
        """
        return cls(path, _open_folder(None, path))

    @property
    def stable_path(self) -> Path:
        """A path that leads to this folder while it is open, whatever is renamed.

        In other processes of this user, too. Where the system has none, the path by which it was
        reached.
        """
        path = Path(f"/proc/{os.getpid()}/fd/{self._descriptor}")
        return path if path.exists() else self.path

    def folder(self, name: str) -> PrivateFolder:
        """Open a folder in it.

        Raises:
            NotPrivateError: Others can write to it, or it is a link.
            OSError: It cannot be opened.
        """
        return PrivateFolder(self.path / name, _open_folder(self._descriptor, self.path / name))

    def open(self, name: str) -> FileIO:
        """Open a file in it to read.

        Raises:
            NotPrivateError: Others can have written it, or it is not a regular file.
            OSError: It cannot be opened.
        """
        path, flags = self.path / name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK
        descriptor = _open(path, flags, self._descriptor)
        try:
            if not stat.S_ISREG(os.fstat(descriptor).st_mode):
                raise NotPrivateError(path, "it is not a regular file")
            _check(descriptor, path)
            # Without a buffer: a cache hit reads small files, and each millisecond of it counts.
            return FileIO(descriptor, "rb")
        except BaseException:
            os.close(descriptor)
            raise

    def read(self, name: str) -> bytes:
        """Return the bytes of a file in it, see `open`."""
        with self.open(name) as file:
            return file.read()

    def touch(self) -> None:
        """Set its times to now.

        Raises:
            OSError: It belongs to root, or to a read-only file system.
        """
        os.utime(self.stable_path)

    def close(self) -> None:
        """Close it. May be called twice."""
        descriptor, self._descriptor = self._descriptor, -1
        if descriptor >= 0:
            os.close(descriptor)

    def __enter__(self) -> PrivateFolder:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()


class _Step(NamedTuple):
    """A folder on the way to another one."""

    path: str
    descriptor: int


def trusted_places() -> tuple[Path, ...]:
    """Return the current folder, the one that the process was started in, and the user's home.

    Whoever can replace one of them can already run code as this user: as a test that pytest is
    about to import, or as a file that shells and interpreters load.
    """
    found = [*_started_in]
    with suppress(OSError):  # it was removed
        found.append(Path.cwd())
    with suppress(RuntimeError):  # no HOME, and a user without a name
        found.append(Path.home())
    return tuple(dict.fromkeys(found))


def open_private(
    path: Path, *, trusted: Iterable[Path] = (), create: bool = False
) -> PrivateFolder:
    """Open a folder that only the user and root can write to, or replace by renaming one above.

    In a sticky folder, such as /tmp, nobody can rename what belongs to somebody else.

    Args:
        path: The folder. Links above it are followed if the user or root made them.
        trusted: Folders that, with all above them, may belong to others; see `trusted_places`.
        create: Whether to create it, private, and those above it, which others may read.

    Raises:
        NotPrivateError: Others can write to it, or could replace it.
        OSError: It cannot be opened.
    """
    path = path.absolute()
    if path == path.parent:
        raise NotPrivateError(path, "it is the root folder")
    above = _walk(path.parent, tuple(trusted), create=create)
    try:
        if create:
            _make(above, path.name, 0o700)
        return PrivateFolder(path, _open_folder(above.descriptor, path))
    finally:
        os.close(above.descriptor)


def _walk(folder: Path, trusted: tuple[Path, ...], *, create: bool) -> _Step:
    """Open a folder step by step from the root; others may have made what is in it."""
    names, links = list(reversed(folder.parts[1:])), 0
    here = _start(folder)
    try:
        _check_above(here, trusted)
        while names:
            name = names.pop()
            if create:
                _make(here, name, 0o755)
            try:
                descriptor = os.open(name, _folder_flags(), dir_fd=here.descriptor)
            except OSError as error:
                links += 1
                target = _link_target(here, name, trusted) if links <= _MOST_LINKS else None
                if target is None:
                    raise OSError(error.errno, error.strerror, f"{here.path}/{name}") from None
                names += reversed(target.parts[1:] if target.is_absolute() else target.parts)
                following = _start(target) if target.is_absolute() else None
            else:
                following = _Step(f"{here.path}/{name}", descriptor)
            if following is not None:
                os.close(here.descriptor)
                here = following
                _check_above(here, trusted)
    except BaseException:
        os.close(here.descriptor)
        raise
    return here


def _make(above: _Step, name: str, mode: int) -> None:
    """Create a folder if nothing of its name is there; for others never to write, any umask."""
    try:
        os.stat(name, dir_fd=above.descriptor, follow_symlinks=False)
    except FileNotFoundError:
        try:
            with suppress(FileExistsError):
                os.mkdir(name, mode, dir_fd=above.descriptor)
        except OSError as error:
            raise OSError(error.errno, error.strerror, f"{above.path}/{name}") from None


def _start(path: Path) -> _Step:
    return _Step(path.anchor.rstrip("/"), os.open(path.anchor, _folder_flags()))


def _link_target(here: _Step, name: str, trusted: tuple[Path, ...]) -> Path | None:
    """Return where a link leads; None if it is none."""
    if not _is_link(name, here.descriptor):
        return None
    status = os.stat(name, dir_fd=here.descriptor, follow_symlinks=False)
    # Only its owner replaces a link in a sticky folder; elsewhere whoever can is trusted.
    if status.st_uid not in _owners() and not _leads_to(here.descriptor, trusted):
        reason = f"it is a symbolic link of user {status.st_uid}"
        raise NotPrivateError(Path(f"{here.path}/{name}"), reason, owner=status.st_uid)
    return Path(os.readlink(name, dir_fd=here.descriptor))


def _check_above(here: _Step, trusted: tuple[Path, ...]) -> None:
    status = os.fstat(here.descriptor)
    if status.st_mode & stat.S_ISVTX and status.st_uid in _owners():
        return
    try:
        _check(here.descriptor, here.path or "/")
    except NotPrivateError:
        if not _leads_to(here.descriptor, trusted):
            raise


def _leads_to(descriptor: int, trusted: tuple[Path, ...]) -> bool:
    status = os.fstat(descriptor)
    for place in trusted:
        for folder in (place, *place.parents, *place.resolve().parents):
            with suppress(OSError):
                if os.path.samestat(status, folder.stat()):
                    return True
    return False


def _open_folder(above: int | None, path: Path) -> int:
    descriptor = _open(path, _folder_flags(), above)
    try:
        _check(descriptor, path)
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor


def _open(path: Path, flags: int, above: int | None) -> int:
    name = path if above is None else path.name
    try:
        return os.open(name, flags, dir_fd=above)
    except OSError as error:
        if _is_link(name, above):
            raise NotPrivateError(path, "it is a symbolic link") from None
        raise OSError(error.errno, error.strerror, str(path)) from None


def _is_link(name: str | Path, above: int | None) -> bool:
    try:
        return stat.S_ISLNK(os.stat(name, dir_fd=above, follow_symlinks=False).st_mode)
    except OSError:
        return False


def _folder_flags() -> int:
    # What can only be passed through can still be opened as a path.
    return os.O_DIRECTORY | os.O_NOFOLLOW | getattr(os, "O_PATH", os.O_RDONLY)


def _check(descriptor: int, path: Path | str) -> None:
    """Refuse an open file or folder that others can have written; `path`: how it was reached.

    The user's own group may write: what follows the umask of many systems can be written by it.
    """
    status = os.fstat(descriptor)
    if status.st_uid not in _owners():
        reason = f"it belongs to user {status.st_uid}"
        raise NotPrivateError(Path(path), reason, owner=status.st_uid)
    writers = status.st_mode & (_GROUP | _OTHERS)
    if not writers:
        return
    own_group = writers == _GROUP and _is_own_group(status.st_gid)
    if own_group and not _has_acl(descriptor):
        return
    mode = stat.S_IMODE(status.st_mode)
    raise NotPrivateError(Path(path), f"other users can write to it (mode {mode:o})", mode=mode)


def _owners() -> tuple[int, int]:
    return (os.geteuid(), 0)


def _is_own_group(group: int) -> bool:
    """Whether a group has one member, this user: with it, many systems create group-writable files.

    Source: useradd(8), USERGROUPS_ENAB; pam_umask(8), usergroups.
    """
    import grp
    import pwd

    try:
        user, named = pwd.getpwuid(os.geteuid()), grp.getgrgid(group)
    except KeyError:
        return False
    same = user.pw_gid == group and user.pw_name == named.gr_name
    return same and set(named.gr_mem) <= {user.pw_name}


def _has_acl(descriptor: int) -> bool:
    # With an access control list, the bits of the group are those of all that it names.
    try:
        return "system.posix_acl_access" in os.listxattr(f"{_OPEN_FILES}/{descriptor}")
    except (AttributeError, OSError):
        return True


def home_folder(kind: Literal["cache", "state"]) -> Path | None:
    """Return the folder in the user's home for such files.

    None for users without a home, or with one that they cannot write to: in a container, the home
    of a user without a name is "/".
    """
    import platformdirs

    found = {"cache": platformdirs.user_cache_dir, "state": platformdirs.user_state_dir}[kind]
    try:
        folder = Path(found("pytest-trt"))
    except RuntimeError:
        return None
    if not folder.is_absolute():  # older versions of platformdirs do not raise
        return None
    there = next(one for one in (folder, *folder.parents) if one.exists())
    return folder if there == folder or os.access(there, os.W_OK | os.X_OK) else None


def user_folder() -> Path:
    """Return a folder among temporary files that belongs to the user, by number; it is created.

    For users without a home. Numbers are always there, while names are not.

    Raises:
        NotPrivateError: Somebody else made it.
        OSError: It cannot be created.
    """
    import tempfile

    return _made(Path(tempfile.gettempdir()) / f"pytest-trt-{os.geteuid()}")


def runtime_folder() -> Path:
    """Return a private folder for locks that all of the user's processes find; it is created.

    Raises:
        OSError: There is none: nothing can be created, or others could replace it.
    """
    runtime = (Path(os.environ.get("XDG_RUNTIME_DIR", "")), Path(f"/run/user/{os.geteuid()}"))
    places = [one / "pytest-trt" for one in runtime if one.is_absolute() and one.is_dir()]
    for place in filter(None, (*places, home_folder("state"))):
        with suppress(OSError):
            return _made(place)
    return user_folder()


def _made(folder: Path) -> Path:
    with open_private(folder, trusted=trusted_places(), create=True) as opened:
        if not os.access(opened.stable_path, os.W_OK | os.X_OK):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(folder))
    return folder
