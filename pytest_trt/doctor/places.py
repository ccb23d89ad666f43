"""Looks at the folders of the engine cache and of the baselines, and makes neither.

To be asked in a process of its own: a file system whose server is gone keeps whoever touches it.
"""

from __future__ import annotations

import errno
import os
import tempfile
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from pytest_trt.baseline.file import baseline_files, read_baselines
from pytest_trt.diagnostics import BaselineError, CacheError
from pytest_trt.engine.cache import LAYOUT, CorruptEntry, EngineCache
from pytest_trt.engine.mounts import file_system

#: Written to see whether a folder takes it: more than fits beside what a file system keeps of a
#: small file.
_TRIAL_BYTES = 1 << 16

_NO_SPACE = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}


@dataclass(frozen=True, slots=True)
class Folder:
    """A folder, or the nearest one above it where it is not there yet.

    Attributes:
        path: The folder.
        exists: Whether it is there.
        refusal: Why nothing can be written there; empty where it can.
        is_full: Whether that is for want of space.
        free_bytes: Free space on its file system.
        file_system: Type of its file system, "ext4"; empty where it is unknown.
    """

    path: str
    exists: bool
    refusal: str
    is_full: bool
    free_bytes: int
    file_system: str


@dataclass(frozen=True, slots=True)
class CacheFacts:
    """What is known of the engine cache.

    Attributes:
        root: Where it is, as options name it.
        folder: The folder in it that everything lies in.
        problem: Why it cannot be used, and what to do; both empty where it can.
        engines: How many there are.
        damaged: What of them is not whole, by the name of the entry. Sizes are compared, bytes are
            not: that is for `pytest-trt cache verify`.
        size_bytes: Of everything in it.
    """

    root: str
    folder: Folder
    problem: tuple[str, str] = ("", "")
    engines: int = 0
    damaged: Mapping[str, str] | None = None
    size_bytes: int = 0


@dataclass(frozen=True, slots=True)
class BaselineFacts:
    """What is known of the baselines.

    Attributes:
        folder: Where they are.
        tests: How many tests have one.
        targets: What they were measured on.
        problems: Files that cannot be read: what is wrong, and what to do.
    """

    folder: Folder
    tests: int = 0
    targets: tuple[str, ...] = ()
    problems: tuple[tuple[str, str], ...] = ()


def look_at_folder(path: Path) -> Folder:
    """Return how a folder is, after writing to it and taking that back."""
    there = next((one for one in (path, *path.parents) if _exists(one)), path)
    refusal, is_full, free_bytes = "", False, 0
    try:
        status = os.statvfs(there)
        free_bytes = status.f_bavail * status.f_frsize
        with tempfile.TemporaryFile(dir=there) as file:
            file.write(bytes(_TRIAL_BYTES))
            file.flush()
            os.fsync(file.fileno())
    except OSError as error:
        refusal, is_full = error.strerror or str(error), error.errno in _NO_SPACE
    kind = file_system(str(there.resolve()))
    return Folder(str(path), there == path, refusal, is_full, free_bytes, kind)


def look_at_cache(path: str) -> dict[str, Any]:
    """Return the `CacheFacts` of a cache's root, JSON-simple."""
    root = Path(path)
    folder = look_at_folder(root / LAYOUT)
    if not folder.exists:
        return asdict(CacheFacts(path, folder))
    try:
        cache = EngineCache(root)
        found = cache.entries()
    except CacheError as error:
        return asdict(CacheFacts(path, folder, (error.message, error.fix)))
    damaged = {}
    for entry in found:
        if isinstance(entry, CorruptEntry):
            damaged[entry.folder.name] = entry.reason
            continue
        for name, file in entry.sidecar.files.items():
            size_bytes = _size_bytes(entry.folder / name)
            if size_bytes != file.size_bytes:
                damaged[entry.folder.name] = f"{name} has {size_bytes} of {file.size_bytes} bytes"
    files = (file for file in cache.folder.rglob("*") if not file.is_symlink())
    total = sum(_size_bytes(file) for file in files if file.is_file())
    return asdict(CacheFacts(path, folder, engines=len(found), damaged=damaged, size_bytes=total))


def look_at_baselines(path: str) -> dict[str, Any]:
    """Return the `BaselineFacts` of a folder, JSON-simple."""
    folder = look_at_folder(Path(path))
    tests, targets, problems = 0, set(), []
    for file in baseline_files(Path(path)):
        try:
            baselines = read_baselines(file)
        except BaselineError as error:
            problems.append((error.message, error.fix))
            continue
        if baselines is not None:
            tests += len(baselines.tests)
            targets.add(" ".join(filter(None, baselines.target.values())))
    return asdict(BaselineFacts(folder, tests, tuple(sorted(targets)), tuple(problems)))


def cache_from_json(data: Mapping[str, Any]) -> CacheFacts:
    """Return the facts that `look_at_cache` told."""
    what, fix = data["problem"]
    return CacheFacts(**{**data, "folder": Folder(**data["folder"]), "problem": (what, fix)})


def baselines_from_json(data: Mapping[str, Any]) -> BaselineFacts:
    """Return the facts that `look_at_baselines` told."""
    problems = tuple((what, fix) for what, fix in data["problems"])
    return BaselineFacts(
        **{**data, "folder": Folder(**data["folder"]), "problems": problems}
        | {"targets": tuple(data["targets"])}
    )


def _exists(path: Path) -> bool:
    try:
        return path.exists()
    except OSError:  # in a folder that this user may not enter
        return False


def _size_bytes(file: Path) -> int:
    try:
        return file.stat().st_size
    except OSError:  # removed by another process meanwhile
        return 0
