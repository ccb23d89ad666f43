"""The engine cache: a private folder of entries that prove themselves whole before they are used.

An entry is a folder with the plan, any file that belongs to it, and a JSON sidecar. It is put
together elsewhere in the cache and renamed into place, so an entry is there completely or not at
all; and its files are checked against their digests before every load, so whatever did go wrong
(a full disk, a lost cache line of the file system, somebody's editor) makes a miss and not a
wrong engine. Everything in here can be deleted at any time.

Layout below the cache's root::

    v1/                     private to the user (0700): plans are native code
      engines/NAME-KEY/     engine.json and the files that it lists
      building/             entries being put together; left over ones are never read
      locks/                one lock file per key
      references/           reference outputs, see `pytest_trt.accuracy`
      last_runs/            speeds that may be accepted, see `pytest_trt.baseline`
      timing/               what builders measured, see `pytest_trt.engine.timing_cache`
      digests/              digests of models that were hashed before
"""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import platformdirs

from pytest_trt.diagnostics import CacheError
from pytest_trt.engine.cache_folder import PARTS, out_of_space_explained, prepare
from pytest_trt.engine.digest_records import DigestRecords
from pytest_trt.engine.facts import EngineFacts
from pytest_trt.engine.sidecar import (
    SIDECAR_NAME,
    OtherFormatError,
    Sidecar,
    SidecarError,
    read_facts,
    read_sidecar,
    verify_files,
)
from pytest_trt.files import locked

#: Name of the folder that everything lies in. Another layout gets another name, so that two
#: releases can share one root.
LAYOUT = "v1"

#: Cap on the size of the cache unless told otherwise; least recently used entries go first.
DEFAULT_MAX_BYTES = 20 * 10**9

#: What is left out of the names of entries.
_UNUSUAL = re.compile(r"[^A-Za-z0-9_.-]+")


@dataclass(frozen=True, slots=True)
class Entry:
    """One whole engine in the cache."""

    folder: Path
    sidecar: Sidecar
    facts: EngineFacts

    @property
    def plan(self) -> Path:
        """The plan's file."""
        return self.folder / self.sidecar.plan_name


@dataclass(frozen=True, slots=True)
class CorruptEntry:
    """An entry that is not whole, and why; or one whose format another version wrote."""

    folder: Path
    reason: str
    other_format: bool = False


class EngineCache:
    """Engines on disk by key, shared by all processes of one user.

    Args:
        root: The cache's folder; it is made when it is missing.
        max_bytes: Cap on what is kept.

    Raises:
        CacheError: The folder cannot be used: it belongs to somebody else, others may write to
            it, or something else is in its place.
    """

    def __init__(self, root: Path, *, max_bytes: int = DEFAULT_MAX_BYTES) -> None:
        self.root = root
        self.folder = root / LAYOUT
        self.max_bytes = max_bytes
        self.writable = prepare(self.folder)
        # Where a cache that cannot be written stages: removed with this object.
        self._scratch: tempfile.TemporaryDirectory[str] | None = None
        # Entries that this process has verified, with what their files looked like then.
        self._verified: dict[str, tuple[object, ...]] = {}

    @property
    def references(self) -> Path:
        """Where reference outputs are kept."""
        return self.folder / "references"

    @property
    def timing(self) -> Path:
        """Where timing caches of builders are kept."""
        return self.folder / "timing"

    @property
    def last_runs(self) -> Path:
        """Where it is kept what the last run of each project measured."""
        return self.folder / "last_runs"

    @property
    def digests(self) -> DigestRecords:
        """Digests of models that were hashed before."""
        return DigestRecords(self.folder / "digests")

    def lookup(self, name: str, key_digest: str) -> Entry | CorruptEntry | None:
        """Return the entry of a key after checking every byte of it, and mark it as used.

        Args:
            name: The entry's name, see `entry_name`.
            key_digest: The whole digest of the key; the name holds only a part of it.
        """
        folder = self.folder / "engines" / name
        try:
            sidecar = read_sidecar(folder)
            if sidecar.key_digest != key_digest:
                raise SidecarError(
                    f"it was built for key {sidecar.key_digest[:12]}, not {key_digest[:12]}"
                )
            self._verify(folder, sidecar)
            entry = Entry(folder, sidecar, read_facts(folder))
        except FileNotFoundError:
            return None
        except SidecarError as error:
            return CorruptEntry(folder, str(error), isinstance(error, OtherFormatError))
        with contextlib.suppress(OSError):
            os.utime(folder)
        return entry

    def _verify(self, folder: Path, sidecar: Sidecar) -> None:
        """Check an entry's files, once per process for as long as they stay untouched."""
        stamps = _stamps(folder, sidecar)
        if stamps is None or self._verified.get(folder.name) != stamps:
            verify_files(folder, sidecar)
            self._verified[folder.name] = stamps or ()

    @contextlib.contextmanager
    def lock(self, key_digest: str, waiting: Callable[[float], None]) -> Iterator[None]:
        """Hold the right to build one key. The kernel releases it when the process dies.

        Args:
            key_digest: The key to be built.
            waiting: Called with the seconds waited so far, about once a second.
        """
        if not self.writable:
            yield
            return
        with locked(self.folder / "locks" / f"{key_digest[:32]}.lock", waiting=waiting):
            yield

    @contextlib.contextmanager
    def staging(self, name: str) -> Iterator[Path]:
        """Give a private, empty folder to put an entry together in; `publish` it or lose it.

        To be used under the key's `lock`.

        Raises:
            CacheError: The disk is full.
        """
        if not self.writable:
            self._scratch = self._scratch or tempfile.TemporaryDirectory(prefix="pytest-trt-")
            yield Path(tempfile.mkdtemp(prefix=f"{name}.", dir=self._scratch.name))
            return
        building = self.folder / "building"
        # The caller holds the key's lock: what else is staged under its name was left by a
        # process that died.
        for left_over in (*building.glob(f"{name}.*"), *building.glob("trash.*")):
            shutil.rmtree(left_over, ignore_errors=True)
        with out_of_space_explained(self.root):
            folder = Path(tempfile.mkdtemp(prefix=f"{name}.", dir=building))
            try:
                yield folder
            finally:
                shutil.rmtree(folder, ignore_errors=True)

    def publish(self, staged: Path, name: str, sidecar: Sidecar) -> Entry:
        """Make a staged entry the entry of its key, in place of any that is there.

        In a cache that cannot be written the entry stays where it was staged.

        Raises:
            CacheError: The disk is full.
        """
        with out_of_space_explained(self.root):
            (staged / SIDECAR_NAME).write_text(sidecar.to_json(), encoding="utf-8")
        if not self.writable:
            return Entry(staged, sidecar, read_facts(staged))
        final = self.folder / "engines" / name
        try:
            staged.rename(final)
        except OSError:
            self.discard(final)
            staged.rename(final)
        self._evict(keep=final)
        return Entry(final, sidecar, read_facts(final))

    def discard(self, folder: Path) -> None:
        """Remove an entry at once for every other process: renamed first, then deleted."""
        trash = Path(tempfile.mkdtemp(prefix="trash.", dir=self.folder / "building"))
        with contextlib.suppress(FileNotFoundError):
            folder.rename(trash / "entry")
        shutil.rmtree(trash, ignore_errors=True)

    def entries(self) -> list[Entry | CorruptEntry]:
        """Return every entry, the most recently used first. Plans are not read, see `lookup`."""
        found: list[Entry | CorruptEntry] = []
        for folder in self._folders():
            try:
                found.append(Entry(folder, read_sidecar(folder), read_facts(folder)))
            except FileNotFoundError:
                continue
            except SidecarError as error:
                found.append(CorruptEntry(folder, str(error), isinstance(error, OtherFormatError)))
        return found

    def find(self, key_digest: str) -> Entry | None:
        """Return the entry of a key by the key alone, every byte of it checked, or None."""
        for entry in self.entries():
            if isinstance(entry, Entry) and entry.sidecar.key_digest == key_digest:
                found = self.lookup(entry.folder.name, key_digest)
                return found if isinstance(found, Entry) else None
        return None

    def clear(self) -> int:
        """Delete everything in the cache and return how many engines that were.

        Raises:
            CacheError: The cache cannot be written.
        """
        if not self.writable:
            raise CacheError(
                f"the engine cache {self.folder} is read-only.",
                fix="run the command as the user who owns it.",
            )
        engines = len(list(self._folders()))
        for part in PARTS:
            shutil.rmtree(self.folder / part, ignore_errors=True)
        prepare(self.folder)
        return engines

    def _folders(self) -> list[Path]:
        def last_used(folder: Path) -> float:
            try:
                return folder.stat().st_mtime
            except OSError:  # evicted by another process meanwhile
                return 0.0

        return sorted((self.folder / "engines").glob("*"), key=last_used, reverse=True)

    def _evict(self, keep: Path) -> None:
        """Delete least recently used engines and reference outputs until the cap holds."""
        sized = []
        for path in [*self._folders(), *self.references.glob("*")]:
            with contextlib.suppress(OSError):
                sized.append((path.stat().st_mtime, path, _size_bytes(path)))
        excess = sum(size for _, _, size in sized) - self.max_bytes
        for _, path, size in sorted(sized):
            if excess <= 0:
                return
            if path == keep:
                continue
            self.discard(path)
            excess -= size


def default_cache_dir() -> Path:
    """Return the cache's root where nothing else is said: in the user's cache folder."""
    return Path(platformdirs.user_cache_dir("pytest-trt"))


def entry_name(model_name: str, precision: str, arch: str, key_digest: str) -> str:
    """Return an entry's folder name: readable first, then enough of the key to be its own."""
    stem = _UNUSUAL.sub("_", Path(model_name).stem)[:60]
    return f"{stem}-{precision}-{arch}-{key_digest[:20]}"


def _stamps(folder: Path, sidecar: Sidecar) -> tuple[object, ...] | None:
    """What tells an untouched file from a changed one: a write moves its change time."""
    try:
        stats = [(name, (folder / name).stat()) for name in sidecar.files]
    except OSError:
        return None
    return tuple((n, s.st_ino, s.st_size, s.st_mtime_ns, s.st_ctime_ns) for n, s in stats)


def _size_bytes(path: Path) -> int:
    if path.is_file():
        return path.stat().st_size
    return sum(file.stat().st_size for file in path.iterdir())
