"""Artifacts of CI that hold baselines: folders, `.zip` and `.tar` files, read without extraction.

Whoever can make CI run can make an artifact. Nothing of one is written to the disk, links are not
followed, and sizes are limited before anything is read.
"""

from __future__ import annotations

import gzip
import os
import stat
import tarfile
import tempfile
import zipfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path
from typing import IO, Any, TypeAlias

from pytest_trt.diagnostics import BaselineError, Remedy, as_typed
from pytest_trt.files import open_regular

#: The most that one file may hold, and all files of an artifact together.
MAX_FILE_BYTES = 256 * 2**20
MAX_TOTAL_BYTES = 2**30

#: The most files, and the longest name of one.
MAX_FILES = 10_000
MAX_NAME = 1_000

_CHUNK = 2**20

#: Reads the bytes of a file of an artifact.
Read: TypeAlias = Callable[[], bytes]

_Member: TypeAlias = "tuple[str, int, Read | None]"


class UnsafeError(Exception):
    """An artifact has something that an upload of baselines never has; the text names it."""


@contextmanager
def open_artifact(path: Path) -> Iterator[Mapping[str, Read]]:
    """Provide a function for each regular file of an artifact, by name, that reads it.

    Args:
        path: A folder, a `.zip` file, or a `.tar` file, also gzipped.

    Raises:
        BaselineError: It cannot be read, is none of these, or is not safe to read.
    """
    with ExitStack() as opened:
        try:
            files = _checked(_members(path, opened))
        except UnsafeError as error:
            raise _refused(path, str(error)) from error
        except FileNotFoundError as error:
            raise _unreadable(path, "it does not exist") from error
        # zipfile and tarfile raise many exception types for damaged files.
        except Exception as error:
            raise _unreadable(path, str(error) or type(error).__name__) from error
        yield {name: _reader(path, name, size, read) for name, (size, read) in files.items()}


def _members(path: Path, opened: ExitStack) -> Iterator[_Member]:
    if path.is_dir():
        return _of_folder(path)
    file = opened.enter_context(open_regular(path))
    if os.fstat(file.fileno()).st_size > MAX_TOTAL_BYTES:
        raise UnsafeError(f"it has more than {MAX_TOTAL_BYTES:,} bytes")
    magic = file.read(4)
    file.seek(0)
    if magic.startswith(b"PK"):
        return _of_zip(opened.enter_context(zipfile.ZipFile(file)))
    # Decompressed here, as tarfile reads headers of any size.
    plain: Any = tempfile.SpooledTemporaryFile(_CHUNK)  # noqa: SIM115
    opened.push(plain)
    _copy(gzip.GzipFile(fileobj=file) if magic.startswith(b"\x1f\x8b") else file, plain)
    return _of_tar(opened.enter_context(tarfile.open(fileobj=plain, mode="r:")))


def _copy(source: IO[bytes] | gzip.GzipFile, target: IO[bytes]) -> None:
    total = 0
    while chunk := source.read(_CHUNK):
        total += len(chunk)
        if total > MAX_TOTAL_BYTES:
            raise UnsafeError(f"it holds more than {MAX_TOTAL_BYTES:,} bytes")
        target.write(chunk)
    target.seek(0)


def _of_folder(root: Path) -> Iterator[_Member]:
    for folder, folders, names in os.walk(root, onerror=_raise):
        folders.sort()
        for name in sorted((*folders, *names)):
            path = Path(folder, name)
            shown, status = path.relative_to(root).as_posix(), path.lstat()
            if stat.S_ISREG(status.st_mode):
                yield shown, status.st_size, partial(_content, path)
            elif not stat.S_ISDIR(status.st_mode):
                raise UnsafeError(f"{shown} is not a regular file")


def _raise(error: OSError) -> None:
    raise error


def _content(path: Path) -> bytes:
    # A link that took the file's place since is not followed.
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    with os.fdopen(descriptor, "rb") as file:
        return file.read(MAX_FILE_BYTES + 1)


def _of_zip(archive: zipfile.ZipFile) -> Iterator[_Member]:
    for info in archive.infolist():
        kind = stat.S_IFMT(info.external_attr >> 16)
        if info.is_dir() and kind in (0, stat.S_IFDIR):
            yield info.filename.rstrip("/"), 0, None
            continue
        if kind not in (0, stat.S_IFREG):
            raise UnsafeError(f"{info.filename} is not a regular file")
        yield info.filename, info.file_size, partial(archive.read, info)


def _of_tar(archive: tarfile.TarFile) -> Iterator[_Member]:
    for info in archive:
        # What `tar -C folder .` writes begins with "./".
        name = info.name.removeprefix("./")
        if info.isdir():
            if name not in ("", "."):
                yield name, 0, None
        elif info.isreg() and not info.issparse():
            yield name, info.size, partial(_extracted, archive, info)
        else:
            raise UnsafeError(f"{info.name} is not a regular file")


def _extracted(archive: tarfile.TarFile, info: tarfile.TarInfo) -> bytes:
    file = archive.extractfile(info)
    assert file is not None  # it is a regular file
    return file.read()


def _checked(members: Iterator[_Member]) -> dict[str, tuple[int, Read]]:
    """Return the files of an artifact, all of which are safe to read."""
    found: dict[str, tuple[int, Read]] = {}
    total = 0
    for number, (name, size, read) in enumerate(members):
        _check_name(name)
        total += size
        if number >= MAX_FILES or size > MAX_FILE_BYTES or total > MAX_TOTAL_BYTES:
            raise UnsafeError(
                f"{name} exceeds {MAX_FILES:,} files, {MAX_FILE_BYTES:,} bytes a file or "
                f"{MAX_TOTAL_BYTES:,} bytes in all"
            )
        if name in found:
            raise UnsafeError(f"{name} occurs twice")
        if read is not None:
            found[name] = size, read
    return found


def _check_name(name: str) -> None:
    parts = name.split("/")
    if (
        not all(parts)  # also an absolute path
        or {".", ".."} & set(parts)
        or "\\" in name
        or ":" in parts[0]  # a drive of Windows
        or not name.isprintable()
        or len(os.fsencode(name)) > MAX_NAME
        or max(len(os.fsencode(part)) for part in parts) > 255
    ):
        raise UnsafeError(f"{name[:MAX_NAME]!r} is not the name of a file inside it")


def _reader(path: Path, name: str, size: int, read: Read) -> Read:
    def content() -> bytes:
        try:
            found = read()
        except Exception as error:
            raise _unreadable(path / name, str(error) or type(error).__name__) from error
        if len(found) != size:
            raise _unreadable(path / name, f"it holds {len(found):,} bytes instead of {size:,}")
        return found

    return content


def _refused(path: Path, problem: str) -> BaselineError:
    return BaselineError(
        f"{as_typed(path)} is not safe to read: {problem}",
        fix="Find out who made it. Upload folders of baselines as they are, with nothing else.",
        code="TRT653",
        facts={"file": str(path), "problem": problem},
    )


def _unreadable(path: Path, problem: str) -> BaselineError:
    return BaselineError(
        f"{as_typed(path)} cannot be read: {problem}",
        fix=Remedy("Name a folder, a .zip or a .tar file that CI stored; download it again."),
        code="TRT654",
        facts={"file": str(path), "problem": problem},
    )
