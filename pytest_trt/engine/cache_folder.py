"""The cache's folder: made private, labelled, and refused where others could write to it."""

from __future__ import annotations

import contextlib
import errno
import os
import shlex
from collections.abc import Iterator
from pathlib import Path

from pytest_trt.diagnostics import CacheError, Remedy

#: The folders in it.
PARTS = ("engines", "building", "locks", "references", "timing", "digests", "last_runs")

#: Files that label the folder for people, backup programs and git.
_LABELS = {
    "README": "Engines built by pytest-trt. Everything here is rebuilt when it is missing:\n"
    "delete what you like, or run `pytest-trt cache clear`.\n",
    "CACHEDIR.TAG": "Signature: 8a477f597d28d172789f06886806bc55\n# Written by pytest-trt.\n",
    ".gitignore": "*\n",
}
_NO_SPACE = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}


def prepare(folder: Path) -> bool:
    """Create the cache's folders, private to the user, and return whether they can be written.

    Raises:
        CacheError: It cannot be created, belongs to another user, or others can write to it.
    """
    try:
        if not folder.is_dir():
            folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        _check_private(folder)
        if not _writable(folder):
            return False  # an older version may have made it, without some of the folders
        if not _parts_writable(folder):
            _make_parts(folder)
            return _parts_writable(folder)
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


def _check_private(folder: Path) -> None:
    """Refuse a folder that others could put plans into: a plan is native code that is run."""
    if os.name != "posix":
        return
    status = folder.stat()
    if status.st_uid not in (os.geteuid(), 0):
        raise CacheError(
            f"the engine cache {folder} belongs to user {status.st_uid}, not to you "
            f"({os.geteuid()}): engines are native code, so only your own are loaded",
            code="TRT801",
            facts={"folder": str(folder), "owner": status.st_uid},
            fix="Name a folder of your own with --trt-cache-dir.",
        )
    if status.st_mode & 0o022:
        raise CacheError(
            f"other users can write to the engine cache {folder} (mode "
            f"{status.st_mode & 0o777:o}): engines are native code, so it is not used",
            code="TRT801",
            facts={"folder": str(folder), "mode": f"{status.st_mode & 0o777:o}"},
            fix=Remedy("Make it private:", (f"chmod 700 {shlex.quote(str(folder))}",)),
        )


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
            f"no space left for the engine cache {root} ({error.strerror})",
            code="TRT803",
            facts={"folder": str(root), "errno": error.errno},
            fix=Remedy(
                "Free space there, or move the cache with --trt-cache-dir. To empty it:",
                ("pytest-trt cache clear",),
            ),
        ) from error
