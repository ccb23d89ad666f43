"""An index of the cache, so that a build does not have to read all other entries.

It answers what concerns many entries: their total size, which was used least recently, and which
belong to a model. The entries are the truth: the index is compared with their folders when a
process first uses it, and made again from them when it is damaged, so it can be deleted at any
time. It decides what is evicted and which difference explains a miss, never which engine is loaded.

SQLite, because processes exclude each other, and the least recently used entry is found without
reading the others. Nothing is synced to the disk, and the journal is in memory: after a crash, or a
kill in the middle of a write, the index may be damaged, and is made again. So each process checks
its pages, a checksum of each row and the total first, as a wrong size or time would evict the wrong
entries. A log that every process reads and compacts was the alternative: as long, and reading it
grows with the cache.
"""

from __future__ import annotations

import contextlib
import os
import re
import sqlite3
import threading
import zlib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import NamedTuple, TypeVar

from pytest_trt.engine.cache_folder import size_bytes
from pytest_trt.engine.sidecar import Sidecar, SidecarError, read_sidecar
from pytest_trt.files import PRIVATE
from pytest_trt.private import PrivateFolder

#: Its file. Another format gets another name, so that two releases can share a cache.
INDEX_NAME = "index2.sqlite"

#: The folders of what is indexed and evicted.
_PARTS = ("engines", "references", "digests")

#: Engines that a miss is compared with, at most.
_RELATED = 20

#: Seconds to wait for another process: it may be reading every entry of a large cache.
_TIMEOUT_S = 60

_SCHEMA = (
    "CREATE TABLE entries (part TEXT, name BLOB, bytes INTEGER, used INTEGER, model BLOB,"
    " digest TEXT, use TEXT, checksum INTEGER, PRIMARY KEY (part, name)) WITHOUT ROWID",
    "CREATE INDEX by_used ON entries (used)",
    "CREATE INDEX by_model ON entries (model, use)",
    "CREATE INDEX by_digest ON entries (digest, use)",
    "CREATE TABLE total (bytes INTEGER)",
    "INSERT INTO total VALUES (0)",
    "CREATE TRIGGER grow AFTER INSERT ON entries"
    " BEGIN UPDATE total SET bytes = bytes + new.bytes; END",
    "CREATE TRIGGER shrink AFTER DELETE ON entries"
    " BEGIN UPDATE total SET bytes = bytes - old.bytes; END",
    "PRAGMA user_version = 1",
)

#: What SQLite raises for a damaged file: its messages are not always UTF-8.
_DAMAGED = (sqlite3.Error, OSError, ValueError, TypeError)

_FILE_NAME = re.compile(rb"(?!\.\.?$)[^/\0]+")

T = TypeVar("T")


class CacheIndex:
    """The index of one cache.

    Args:
        folder: The cache's folder, with the entries in it.
        writable: Whether the index can be stored there; otherwise this process makes its own.
    """

    def __init__(self, folder: Path, *, writable: bool) -> None:
        self._folder = folder
        self._writable = writable
        self._in_memory: sqlite3.Connection | None = None
        self._opened: _Opened | None = None
        self._compared = False
        # Threads share the connection, and a transaction belongs to one of them.
        self._lock = threading.Lock()

    def related(self, model: Path, fields: Mapping[str, str]) -> list[Path]:
        """Return engines of a model for the same use, the most recently used first.

        Args:
            model: The model's file. One of another path is only related if its bytes are equal:
                many projects have a `model.onnx`.
            fields: The fields of an engine's key.
        """
        of_use = _of_use(model, fields)

        def work(db: sqlite3.Connection) -> list[Path]:
            found = db.execute(
                "SELECT part, name FROM entries WHERE (model = ? OR digest = ?) AND use = ?"
                " ORDER BY used DESC LIMIT ?",
                (*of_use, _RELATED),
            )
            return [self._path(part, name) for part, name in found]

        return self._run(work, "DEFERRED" if self._compared else "IMMEDIATE")

    def add(
        self,
        entries: Mapping[Path, Sidecar | None],
        *,
        max_bytes: int,
        stays: Callable[[Path], bool],
    ) -> list[Path]:
        """Register new entries; return what to delete, least recently used first.

        Args:
            entries: Engines with their sidecars, and other files.
            max_bytes: What all entries together may take.
            stays: Whether an entry must not be evicted.
        """

        def work(db: sqlite3.Connection) -> list[Path]:
            for path, sidecar in entries.items():
                self._insert(db, path, sidecar)
            return self._evict(db, max_bytes, stays)

        return self._run(work)

    def delete(self) -> None:
        """Delete the index."""
        self._close()
        # The journal first: with the next index it would be taken for one to roll back.
        for suffix in ("-journal", ""):
            (self._folder / f"{INDEX_NAME}{suffix}").unlink(missing_ok=True)

    def _run(self, work: Callable[[sqlite3.Connection], T], begin: str = "IMMEDIATE") -> T:
        """Return what a transaction returns; the index is made again if it is damaged."""
        with self._lock:
            for _ in range(2 if self._writable and self._in_memory is None else 0):
                try:
                    return self._transaction(self._connection(), work, begin)
                except _DAMAGED:
                    with contextlib.suppress(OSError):
                        self.delete()
            # No space, a read-only cache, or a file system without locks.
            if self._in_memory is None:
                self._in_memory, self._compared = _connect(":memory:"), False
            return self._transaction(self._in_memory, work, begin)

    def _connection(self) -> sqlite3.Connection:
        """Return the connection to the file that is there now, opened by this process.

        Another process may have deleted a damaged index, or this one may have been forked.
        """
        file = self._folder / INDEX_NAME
        opened = self._opened
        if opened is not None and opened.process == os.getpid():
            with contextlib.suppress(FileNotFoundError):
                status = file.stat()
                if os.path.samestat(opened.status, status) and not _is_shared(status):
                    return opened.db
            self._close()
        db = _connect_private(file)
        db.execute("PRAGMA journal_mode = MEMORY").fetchone()
        self._opened = _Opened(db, file.stat(), os.getpid())
        self._compared = False
        return db

    def _close(self) -> None:
        opened, self._opened = self._opened, None
        if opened is not None and opened.process == os.getpid():
            with contextlib.suppress(sqlite3.Error):
                opened.db.close()

    def _transaction(
        self, db: sqlite3.Connection, work: Callable[[sqlite3.Connection], T], begin: str
    ) -> T:
        with db:
            db.execute(f"BEGIN {begin}")
            if not self._compared:
                if not db.execute("PRAGMA user_version").fetchone()[0]:
                    for statement in _SCHEMA:
                        db.execute(statement)
                self._compare(db)
            result = work(db)
        self._compared = True
        return result

    def _compare(self, db: sqlite3.Connection) -> None:
        """Add entries that are not indexed, and drop those that are not there.

        A process may have died between its two steps; or other programs copied and deleted entries.
        """
        if db.execute("PRAGMA integrity_check(1)").fetchone() != ("ok",):
            raise sqlite3.DatabaseError("its pages are damaged")
        known, total_bytes = set(), 0
        for *row, checksum in db.execute("SELECT * FROM entries"):
            if _checksum(*row) != checksum:
                raise sqlite3.DatabaseError("a row does not match its checksum")
            known.add(self._path(*row[:2]))
            total_bytes += row[2]
        if db.execute("SELECT bytes FROM total").fetchall() != [(total_bytes,)]:
            raise sqlite3.DatabaseError("the total is not the sum of the rows")
        parts = [folder for part in _PARTS if (folder := self._folder / part).is_dir()]
        # Names with a dot are drafts.
        found = {path for folder in parts for path in folder.glob("[!.]*")}
        for path in known - found:
            self._remove(db, path)
        for path in found - known:
            self._insert(db, path, None)

    def _insert(self, db: sqlite3.Connection, path: Path, sidecar: Sidecar | None) -> None:
        with contextlib.suppress(OSError):  # removed by another process meanwhile
            used, held_bytes = path.stat().st_mtime_ns, size_bytes(path)
            model, digest, use = None, None, None
            with contextlib.suppress(SidecarError, OSError):
                if path.parent.name == "engines":
                    sidecar = sidecar or _sidecar(path)
                    model, digest, use = _of_use(Path(sidecar.model_path), sidecar.key_fields)
            row = (*_names(path), held_bytes, used, model, digest, use)
            db.execute(
                "INSERT OR REPLACE INTO entries VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
                (*row, _checksum(*row)),
            )

    def _remove(self, db: sqlite3.Connection, path: Path) -> None:
        db.execute("DELETE FROM entries WHERE part = ? AND name = ?", _names(path))

    def _evict(
        self, db: sqlite3.Connection, max_bytes: int, stays: Callable[[Path], bool]
    ) -> list[Path]:
        evicted: list[Path] = []
        skipped = 0
        while db.execute("SELECT bytes FROM total").fetchone()[0] > max_bytes:
            oldest = db.execute(
                "SELECT * FROM entries ORDER BY used LIMIT 1 OFFSET ?", (skipped,)
            ).fetchone()
            if oldest is None:
                break
            part, name, held_bytes, indexed, *others, _ = oldest
            path = self._path(part, name)
            used = _last_used(path)
            # A hit moves an entry's time and not the index: the time counts, once it matters.
            if used not in (None, indexed):
                checksum = _checksum(part, name, held_bytes, used, *others)
                db.execute(
                    "UPDATE entries SET used = ?, checksum = ? WHERE part = ? AND name = ?",
                    (used, checksum, part, name),
                )
            elif used is not None and stays(path):
                skipped += 1
            else:
                self._remove(db, path)
                evicted.append(path)
        return evicted

    def _path(self, part: object, name: object) -> Path:
        """Return an entry's path, which leads nowhere else whatever a damaged index holds."""
        if part not in _PARTS or not isinstance(name, bytes) or not _FILE_NAME.fullmatch(name):
            raise sqlite3.DatabaseError(f"{part!r}, {name!r} is no entry")
        return self._folder / str(part) / os.fsdecode(name)


def _is_shared(status: os.stat_result) -> bool:
    return bool(status.st_mode & ~PRIVATE & 0o777)


def _connect_private(file: Path) -> sqlite3.Connection:
    # Whoever may read a file may lock it, and never let go.
    with contextlib.suppress(FileExistsError):
        os.close(os.open(file, os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, PRIVATE))
    if _is_shared(file.stat()):
        file.unlink()  # it is made again
        return _connect_private(file)
    return _connect(file)


class _Opened(NamedTuple):
    db: sqlite3.Connection
    status: os.stat_result
    process: int


def _checksum(*row: object) -> int:
    return zlib.crc32(repr(row).encode())


class _Connection(sqlite3.Connection):
    """Closes itself with the cache that it belongs to: Python 3.13 warns where nothing does."""

    def __del__(self) -> None:
        self.close()


def _connect(file: Path | str) -> sqlite3.Connection:
    db = sqlite3.connect(
        file,
        timeout=_TIMEOUT_S,
        isolation_level=None,
        check_same_thread=False,
        factory=_Connection,
    )
    db.execute("PRAGMA page_size = 1024")  # of a new one: each transaction writes a few rows
    db.execute("PRAGMA synchronous = OFF")
    db.execute("PRAGMA recursive_triggers = ON")  # a row that is replaced shrinks the total, too
    return db


def _sidecar(path: Path) -> Sidecar:
    with PrivateFolder.at(path) as entry:
        return read_sidecar(entry)


def _names(path: Path) -> tuple[str, bytes]:
    return path.parent.name, os.fsencode(path.name)


def _of_use(model: Path, fields: Mapping[str, str]) -> tuple[bytes, str | None, str]:
    """Return a model's file and digest, and what one of its engines is for.

    Of another precision, architecture or backend it is a different engine, not a changed one.
    """
    use = " ".join(str(fields.get(label)) for label in ("backend", "precision", "arch"))
    return os.fsencode(model), fields.get("model digest"), use


def _last_used(path: Path) -> int | None:
    try:
        return path.stat().st_mtime_ns
    except OSError:
        return None
