"""The folders of the engine cache and the baselines: their state, and findings about it."""

from __future__ import annotations

import errno
import os
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from pytest_trt import units
from pytest_trt.baseline.file import baseline_files, read_baselines
from pytest_trt.diagnostics import BaselineError, CacheError
from pytest_trt.doctor.finding import Finding, Level
from pytest_trt.engine.cache import LAYOUT, CorruptEntry, EngineCache
from pytest_trt.files import file_system

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


#: File systems over a network: locks are slow or not kept, and models are hashed by every run.
_NETWORKS = frozenset(
    {"afs", "beegfs", "ceph", "cifs", "gfs2", "glusterfs", "gpfs", "lustre", "nfs", "nfs4"}
    | {"ocfs2", "smb3", "smbfs", "fuse.ceph", "fuse.gcsfuse", "fuse.glusterfs", "fuse.s3fs"}
    | {"fuse.sshfs"}
)

#: Less free space than this is told: an engine of a large model, and what its builder writes.
_LITTLE_BYTES = 10**9

_ELSEWHERE = "put it elsewhere with --trt-cache-dir (trt_cache_dir in the ini file)."


def cache_findings(facts: CacheFacts, max_bytes: int) -> Iterator[Finding]:
    """Yield what there is to say of the engine cache.

    Args:
        facts: What is known of it.
        max_bytes: Cap on its size.
    """
    what, fix = facts.problem
    folder = facts.folder
    if what:
        yield _cache(Level.ERROR, facts.root, what, fix)
        return
    held = (
        f"{facts.root}: {facts.engines} engines, {units.size(facts.size_bytes)} of "
        f"{units.size(max_bytes)}, {units.size(folder.free_bytes)} free"
    )
    if not folder.exists:
        held = f"{facts.root}: not there yet, {units.size(folder.free_bytes)} free"
    if folder.is_full:
        yield _cache(
            Level.ERROR,
            held,
            f"nothing can be written: {folder.refusal}",
            f"free space, run `pytest-trt cache clear`, or {_ELSEWHERE}",
        )
    elif folder.refusal and not folder.exists:
        yield _cache(Level.ERROR, held, f"it cannot be made: {folder.refusal}", _ELSEWHERE)
    elif folder.refusal:
        why = f"nothing can be written ({folder.refusal}): every run builds what is missing anew"
        yield _cache(Level.WARN, held, why, f"make it writable for this user, or {_ELSEWHERE}")
    elif folder.free_bytes < _LITTLE_BYTES:
        fix = f"free space, or {_ELSEWHERE}"
        yield _cache(Level.WARN, held, "there is little space left for large engines", fix)
    elif folder.file_system in _NETWORKS:
        yield _cache(
            Level.WARN,
            f"{held}, on {folder.file_system}",
            "locks over a network are slow, or not kept by every server",
            f"keep it on a local disk: {_ELSEWHERE}",
        )
    else:
        yield _cache(Level.OK, held)
    if facts.damaged:
        name, reason = next(iter(facts.damaged.items()))
        yield _cache(
            Level.WARN,
            f"{len(facts.damaged)} of {facts.engines} engines are not whole",
            f"{name}: {reason}; they are built anew when they are needed",
            "pytest-trt cache verify --remove",
        )


def baseline_findings(facts: BaselineFacts) -> Iterator[Finding]:
    """Yield what there is to say of the baselines."""
    folder = facts.folder
    if not folder.exists:
        yield _baselines(Level.NOTE, f"{folder.path}: none yet")
        return
    held = f"{folder.path}: of {facts.tests} tests"
    if facts.targets:
        held = f"{held} on {', '.join(facts.targets)}"
    if folder.refusal:
        why = f"nothing can be written ({folder.refusal}): no baseline can be recorded"
        fix = "make it writable for this user, or free space, if baselines are to be recorded."
        yield _baselines(Level.WARN, held, why, fix)
    else:
        yield _baselines(Level.OK, held)
    for what, fix in facts.problems:
        yield _baselines(Level.ERROR, "a file that cannot be read", what, fix)


def unknown_place(name: str, folder: str, problem: str) -> Finding:
    """Return the finding for a folder that could not be looked at."""
    return Finding(
        "places",
        name,
        Level.ERROR,
        folder,
        why=f"looking at it: {problem}",
        fix="check the disk or the server that it lies on (`df`, `dmesg`), or name another folder.",
    )


def _cache(level: Level, what: str, why: str = "", fix: str = "") -> Finding:
    return Finding("places", "cache", level, what, why, fix)


def _baselines(level: Level, what: str, why: str = "", fix: str = "") -> Finding:
    return Finding("places", "baselines", level, what, why, fix)
