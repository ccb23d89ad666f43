"""Findings on the engine cache and the baselines."""

from __future__ import annotations

from collections.abc import Iterator

from pytest_trt import units
from pytest_trt.doctor.finding import Finding, Level
from pytest_trt.doctor.places import BaselineFacts, CacheFacts

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
