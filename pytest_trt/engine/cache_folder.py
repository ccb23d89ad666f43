"""The cache's folder: made private, labelled, and refused where others could write to it."""

from __future__ import annotations

import contextlib
import errno
import os
import shlex
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

from pytest_trt.diagnostics import CacheError, Remedy
from pytest_trt.private import NotPrivateError, open_private

#: The folders in it.
PARTS = ("engines", "building", "references", "timing", "digests", "last_runs")

#: Files that label the folder for people, backup programs and git.
_LABELS = {
    "README": "Engines built by pytest-trt. Everything here is rebuilt when it is missing:\n"
    "delete what you like, or run `pytest-trt cache clear`.\n",
    "CACHEDIR.TAG": "Signature: 8a477f597d28d172789f06886806bc55\n# Written by pytest-trt.\n",
    ".gitignore": "*\n",
}
_NO_SPACE = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}


def prepare(folder: Path, trusted: Sequence[Path]) -> bool:
    """Create the cache's folders, private to the user, and return whether they can be written.

    Raises:
        CacheError: It cannot be created, belongs to another user, or others can write to it.
    """
    require_usable_name(folder)
    try:
        _check_private(folder, trusted)
        if not _writable(folder):
            return False  # an older version may have made it, without some of the folders
        if not _parts_writable(folder):
            _make_parts(folder)
            return _parts_writable(folder)
    except NotPrivateError as error:
        raise refused(folder, error) from error
    except OSError as error:
        if error.errno in _NO_SPACE:
            with out_of_space_explained(folder.parent):
                raise
        raise CacheError(
            f"the engine cache {folder} cannot be created: {error.strerror} ({error.filename})",
            code="TRT802",
            facts={"folder": str(folder), "errno": error.errno},
            fix="Name a folder that you can write to with --trt-cache-dir.",
        ) from error
    return True


def require_usable_name(folder: Path) -> None:
    """Refuse a path that vendor libraries cannot open.

    Raises:
        CacheError: It is not valid UTF-8.
    """
    try:
        str(folder).encode()
    except UnicodeEncodeError as error:
        shown = os.fsencode(folder).decode(errors="backslashreplace")
        raise CacheError(
            f"the engine cache {shown} cannot be used: its path is not valid UTF-8, and vendor "
            "libraries open no other files",
            code="TRT802",
            facts={"folder": shown},
            fix="Name another folder with --trt-cache-dir.",
        ) from error


def _check_private(folder: Path, trusted: Sequence[Path]) -> None:
    """Create the folder, or refuse one that others could put plans into."""
    with open_private(folder, trusted=trusted, create=True) as opened:
        for part in PARTS:
            with contextlib.suppress(FileNotFoundError):
                opened.folder(part).close()


def refused(folder: Path, error: NotPrivateError) -> CacheError:
    """Return the error for a cache that others could have written."""
    path, shown = error.path, shlex.quote(str(error.path))
    inside = path == folder or folder in path.parents
    where = f"the engine cache {path}" if inside else f"{path}, above the engine cache {folder},"
    fix = Remedy("Name a folder of your own with --trt-cache-dir.")
    if error.owner is not None:
        what = f"{where} belongs to user {error.owner}, not to you ({os.geteuid()})"
    elif error.mode is not None:
        what = f"other users can write to {where.rstrip(',')} (mode {error.mode:o})"
        command = f"chmod {'700' if inside else 'go-w'} {shown}"
        own = "use a cache of your own: --trt-cache-dir"
        fix = Remedy("Make it private:", (command,), alternatives=(own,))
    else:
        what = f"{where} cannot be used: {error.strerror}"
        fix = Remedy("Remove it: it is created again when it is needed.")
    return CacheError(
        f"{what}: engines are native code, so only your own are loaded",
        code="TRT801",
        facts={"folder": str(folder), "path": str(path), "owner": error.owner, "mode": error.mode},
        fix=fix,
    )


def _make_parts(folder: Path) -> None:
    # The labels first, so that they are there wherever all of the folders are.
    for name, text in _LABELS.items():
        if not (folder / name).exists():
            (folder / name).write_text(text)
    for part in PARTS:
        (folder / part).mkdir(exist_ok=True, mode=0o700)


def _parts_writable(folder: Path) -> bool:
    return all(_writable(f"{folder}/{part}") for part in PARTS)


def _writable(folder: Path | str) -> bool:
    return os.access(folder, os.W_OK | os.X_OK)


@contextlib.contextmanager
def out_of_space_explained(root: Path) -> Iterator[None]:
    """Turn "no space left" into an error that names the place and what to do.

    Raises:
        CacheError: In place of an `OSError` for a full disk or an exhausted quota.
    """
    try:
        yield
    except OSError as error:
        if error.errno not in _NO_SPACE:
            raise
        raise CacheError(
            f"no {_scarce(root)} left for the engine cache {root} ({error.strerror})",
            code="TRT803",
            facts={"folder": str(root), "errno": error.errno},
            fix=Remedy(
                "Free space there, or move the cache with --trt-cache-dir. To empty it:",
                ("pytest-trt cache clear",),
            ),
        ) from error


def _scarce(root: Path) -> str:
    with contextlib.suppress(OSError):
        status = os.statvfs(root)
        if status.f_files and not status.f_favail:
            return "inode"
    return "space"


def require_space(folder: Path, size_bytes: int) -> None:
    """Check that a folder can take a file of some size.

    Raises:
        OSError: The disk has too little space, or no inode for another file.
    """
    try:
        with tempfile.TemporaryFile(dir=folder) as file:
            os.posix_fallocate(file.fileno(), 0, max(size_bytes, 1 << 16))
    except OSError as error:
        if error.errno in _NO_SPACE:
            raise


def size_bytes(path: Path) -> int:
    """Return the size of a file, or of all files in a folder; what vanishes meanwhile counts 0."""
    try:
        with os.scandir(path) as found:
            entries = list(found)
    except NotADirectoryError:
        return path.stat().st_size
    except OSError:
        return 0
    total = 0
    for entry in entries:
        with contextlib.suppress(OSError):
            is_folder = entry.is_dir(follow_symlinks=False)
            total += size_bytes(Path(entry)) if is_folder else entry.stat().st_size
    return total
