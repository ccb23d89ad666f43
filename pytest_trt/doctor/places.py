"""The folders of the engine cache and the baselines: facts, and findings about them.

The facts are collected in a child process: a file system whose server is down blocks its caller.
No folder is created.
"""

from __future__ import annotations

import errno
import os
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pytest_trt import units
from pytest_trt.baseline.file import ANSWERS, baseline_files, read_baselines
from pytest_trt.diagnostics import BaselineError, CacheError, Remedy
from pytest_trt.doctor.finding import NO_REMEDY, Finding, Level, Problem
from pytest_trt.engine.cache import LAYOUT, CorruptEntry, EngineCache
from pytest_trt.engine.cache_folder import require_usable_name
from pytest_trt.files import file_system
from pytest_trt.records import to_data
from pytest_trt.wording import count

#: Bytes of the trial file: more than fits into the metadata of a file system.
_TRIAL_BYTES = 1 << 16

_NO_SPACE = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}


@dataclass(frozen=True, slots=True)
class Folder:
    """A folder, or the nearest existing one above it.

    Attributes:
        path: The folder.
        exists: Whether it exists.
        refusal: Why nothing can be written there; empty if it can.
        is_full: Whether that is for lack of space.
        free_bytes: Free space on its file system.
        file_system: Type of its file system, "ext4"; empty if it is unknown.
    """

    path: str
    exists: bool
    refusal: str
    is_full: bool
    free_bytes: int
    file_system: str


@dataclass(frozen=True, slots=True)
class CacheFacts:
    """The engine cache.

    Attributes:
        root: The folder that options name.
        folder: The folder of the entries in it.
        problem: Why it cannot be used; None if it can.
        engines: The number of engines.
        damaged: Why entries are damaged, by name. Only sizes are compared; `pytest-trt cache
            verify` compares digests.
        size_bytes: The size of all entries.
    """

    root: str
    folder: Folder
    problem: Problem | None = None
    engines: int = 0
    damaged: Mapping[str, str] | None = None
    size_bytes: int = 0


@dataclass(frozen=True, slots=True)
class BaselineFacts:
    """The baselines.

    Attributes:
        folder: Their folder.
        tests: The number of tests with a baseline of their speed.
        answers: The number of tests with stored answers.
        targets: The targets that speeds were measured on.
        problems: Files that cannot be read.
    """

    folder: Folder
    tests: int = 0
    answers: int = 0
    targets: tuple[str, ...] = ()
    problems: tuple[Problem, ...] = ()


def look_at_folder(path: Path) -> Folder:
    """Return the state of a folder, after writing a temporary file there."""
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
    """Return the `CacheFacts` of a cache's root as JSON-simple data."""
    root = Path(path)
    folder = look_at_folder(root / LAYOUT)
    try:
        require_usable_name(root)
        if not folder.exists:
            return _data(CacheFacts(path, folder))
        cache = EngineCache(root)
        found = cache.entries()
    except CacheError as error:
        problem = Problem(error.message, error.diagnostic.remedy)
        return _data(CacheFacts(path, folder, problem))
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
    return _data(CacheFacts(path, folder, engines=len(found), damaged=damaged, size_bytes=total))


def look_at_baselines(path: str) -> dict[str, Any]:
    """Return the `BaselineFacts` of a folder as JSON-simple data."""
    folder = look_at_folder(Path(path))
    tests, targets = 0, set()
    problems: list[Problem] = []
    for file in baseline_files(Path(path)):
        try:
            baselines = read_baselines(file)
        except BaselineError as error:
            problems.append(Problem(error.message, error.diagnostic.remedy))
            continue
        if baselines is not None:
            tests += len(baselines.tests)
            targets.add(" ".join(filter(None, baselines.target.values())))
    answers = _look_at_answers(Path(path), problems)
    return _data(BaselineFacts(folder, tests, answers, tuple(sorted(targets)), tuple(problems)))


def _look_at_answers(root: Path, problems: list[Problem]) -> int:
    """Return how many tests have stored answers, and add what is wrong with their files."""
    if not (root / ANSWERS).is_dir():
        return 0
    from pytest_trt.baseline.answers import answer_files, read_answers, read_data  # imports numpy

    tests = 0
    for file in answer_files(root):
        try:
            answers = read_answers(file)
            if answers is not None:
                tests += len(answers.tests)
                read_data(file, answers.data)
        except BaselineError as error:
            problems.append(Problem(error.message, error.diagnostic.remedy))
    return tests


def _data(facts: CacheFacts | BaselineFacts) -> dict[str, Any]:
    data: dict[str, Any] = to_data(facts)
    return data


def _exists(path: Path) -> bool:
    try:
        return path.exists()
    except OSError:  # a folder that this user may not enter
        return False


def _size_bytes(file: Path) -> int:
    try:
        return file.stat().st_size
    except OSError:  # removed by another process
        return 0


#: Network file systems: locks are slow or unreliable, and every run hashes the models.
_NETWORKS = frozenset(
    {"afs", "beegfs", "ceph", "cifs", "gfs2", "glusterfs", "gpfs", "lustre", "nfs", "nfs4"}
    | {"ocfs2", "smb3", "smbfs", "fuse.ceph", "fuse.gcsfuse", "fuse.glusterfs", "fuse.s3fs"}
    | {"fuse.sshfs"}
)

#: The least free space: an engine of a large model, and temporary files of its builder.
_LITTLE_BYTES = 10**9

_ELSEWHERE = "move it: --trt-cache-dir, or trt_cache_dir in the ini file"


def cache_findings(facts: CacheFacts, max_bytes: int) -> Iterator[Finding]:
    """Yield findings about the engine cache."""
    folder = facts.folder
    if facts.problem is not None:
        yield _cache(Level.ERROR, facts.root, facts.problem.what, facts.problem.remedy)
        return
    what = (
        f"{facts.root}: {count(facts.engines, 'engine')}, {units.size(facts.size_bytes)} of "
        f"{units.size(max_bytes)}, {units.size(folder.free_bytes)} free"
    )
    if not folder.exists:
        what = f"{facts.root}: does not exist yet, {units.size(folder.free_bytes)} free"
    yield _writing(what, folder)
    if facts.damaged:
        name, reason = next(iter(facts.damaged.items()))
        yield _cache(
            Level.WARN,
            f"damaged engines: {len(facts.damaged)} of {facts.engines}",
            f"{name}: {reason}; a damaged engine is rebuilt when it is needed",
            Remedy(commands=("pytest-trt cache verify --remove",)),
        )


def _writing(what: str, folder: Folder) -> Finding:
    move = Remedy(f"{_ELSEWHERE}.")
    if folder.is_full:
        why = f"nothing can be written: {folder.refusal}"
        remedy = Remedy(
            "free space, or clear the cache:",
            commands=("pytest-trt cache clear",),
            alternatives=(_ELSEWHERE,),
        )
        return _cache(Level.ERROR, what, why, remedy)
    if folder.refusal and not folder.exists:
        return _cache(Level.ERROR, what, f"it cannot be created: {folder.refusal}", move)
    if folder.refusal:
        why = f"nothing can be written ({folder.refusal}): every run rebuilds what is missing"
        remedy = Remedy("make it writable for this user.", alternatives=(_ELSEWHERE,))
        return _cache(Level.WARN, what, why, remedy)
    if folder.free_bytes < _LITTLE_BYTES:
        remedy = Remedy("free space.", alternatives=(_ELSEWHERE,))
        return _cache(Level.WARN, what, "there is little space left for large engines", remedy)
    if folder.file_system in _NETWORKS:
        why = "locks over a network are slow, and some servers do not honour them"
        return _cache(
            Level.WARN,
            f"{what}, on {folder.file_system}",
            why,
            Remedy("use a local disk.", alternatives=(_ELSEWHERE,)),
        )
    return _cache(Level.OK, what)


def baseline_findings(facts: BaselineFacts) -> Iterator[Finding]:
    """Yield findings about the baselines."""
    folder = facts.folder
    if not folder.exists:
        yield _baselines(Level.NOTE, f"{folder.path}: none yet")
        return
    what = f"{folder.path}: baselines of {count(facts.tests, 'test')}"
    if facts.targets:
        what = f"{what}, recorded on {', '.join(facts.targets)}"
    if facts.answers:
        what = f"{what}; stored answers of {count(facts.answers, 'test')}"
    if folder.refusal:
        why = f"nothing can be written ({folder.refusal}): no baseline can be recorded"
        remedy = Remedy("to record baselines, make it writable for this user, or free space.")
        yield _baselines(Level.WARN, what, why, remedy)
    else:
        yield _baselines(Level.OK, what)
    for problem in facts.problems:
        yield _baselines(Level.ERROR, "unreadable file", problem.what, problem.remedy)


def unknown_place(name: str, folder: str, problem: str) -> Finding:
    """Return the finding for a folder whose facts could not be collected."""
    remedy = Remedy("check its disk or server (`df`, `dmesg`), or name another folder.")
    return _place(name, Level.ERROR, folder, f"examining it: {problem}", remedy)


def _cache(level: Level, what: str, why: str = "", remedy: Remedy = NO_REMEDY) -> Finding:
    return _place("cache", level, what, why, remedy)


def _baselines(level: Level, what: str, why: str = "", remedy: Remedy = NO_REMEDY) -> Finding:
    return _place("baselines", level, what, why, remedy)


def _place(name: str, level: Level, what: str, why: str, remedy: Remedy) -> Finding:
    code = "TRT760" if level in (Level.WARN, Level.ERROR) else ""
    return Finding("places", name, level, what, why, remedy, code)
