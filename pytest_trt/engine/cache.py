"""The engine cache: a private folder of entries that are verified before they are used.

An entry is a folder with the plan, any file that belongs to it, and a sidecar. It is assembled
elsewhere in the cache and renamed into place, so it exists completely or not at all. The sidecar is
sealed with its key (`pytest_trt.sealed`), as all else in the cache is, and has the digests of the
files. All are checked before every load, so that damage of any kind (a full disk, a fault of the
file system, an editor) makes a miss and not a wrong engine. Everything in the cache can be deleted
at any time. Nothing waits for the disk: what a crash of the machine damages is rebuilt.

Layout below the cache's root::

    v1/                     private to the user (0700): plans are native code
      engines/NAME-KEY/     engine.sealed and the files that it lists
      building/             KEY.lock of each key that is being built, and all that is being written;
                            what no process has locked is a leftover, and removed
      references/           reference outputs, see `pytest_trt.accuracy`
      last_runs/            speeds that may be accepted, see `pytest_trt.baseline`
      timing/               timings of builders, see `pytest_trt.engine.timing_cache`
      digests/              digests of models, see `pytest_trt.engine.digest_records`
      index2.sqlite         an index of what is evicted, see `pytest_trt.engine.cache_index`
"""

from __future__ import annotations

import contextlib
import errno
import math
import os
import re
import shutil
import stat
import tempfile
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from pytest_trt.diagnostics import CacheError, Diagnostic, EngineBuildError, EngineLoadError, Remedy
from pytest_trt.engine.cache_folder import (
    PARTS,
    out_of_space_explained,
    prepare,
    refused,
    size_bytes,
)
from pytest_trt.engine.digest_records import DigestRecords
from pytest_trt.engine.entry import OpenEntry, open_entry
from pytest_trt.engine.facts import EngineFacts
from pytest_trt.engine.protocols import Plan
from pytest_trt.engine.sidecar import (
    SIDECAR_NAME,
    OtherFormatError,
    Sidecar,
    SidecarError,
    read_entry,
    read_sidecar,
)
from pytest_trt.files import PRIVATE, FileStamp, locked, sweep
from pytest_trt.private import (
    NotPrivateError,
    PrivateFolder,
    home_folder,
    open_private,
    trusted_places,
    user_folder,
)
from pytest_trt.units import size

if TYPE_CHECKING:
    from pytest_trt.engine.cache_index import CacheIndex

#: Name of the folder that holds everything. Another layout gets another name, so that two releases
#: can share one root.
LAYOUT = "v1"

#: Default cap on the size of the cache; least recently used entries are evicted first.
DEFAULT_MAX_BYTES = 20 * 10**9

#: Characters that are replaced in names of entries.
_UNUSUAL = re.compile(r"[^A-Za-z0-9_.-]+")

#: Models below this size are hashed and parsed in every run: that takes as long as to read a record
#: of them, and to write one takes three times as long.
_LEAST_RECORDED_BYTES = 4096

#: Files, and the share of the cap, up to which new ones are not indexed: a transaction takes as
#: long for one as for ten.
_MOST_UNINDEXED, _UNINDEXED_SHARE = 40, 0.01

#: How file systems without locks refuse one.
_NO_LOCKS = {errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP}

#: How much of a key is in the name of its entry.
_KEY_CHARACTERS = 20


@dataclass(frozen=True, slots=True)
class Entry:
    """One complete engine in the cache."""

    folder: Path
    sidecar: Sidecar
    facts: EngineFacts

    @property
    def plan(self) -> Path:
        """The plan's file."""
        return self.folder / self.sidecar.plan_name


@dataclass(frozen=True, slots=True)
class CorruptEntry:
    """An entry that is damaged, and why; or one that another version wrote."""

    folder: Path
    reason: str
    other_format: bool = False


class EngineCache:
    """Engines on disk by key, shared by all processes of one user.

    Args:
        root: The cache's folder; it is created when it is missing.
        max_bytes: Cap on the size of engines, reference outputs and digests.

    Attributes:
        notes: What was damaged, until it is reported.

    Raises:
        CacheError: The cap is not positive and finite; or the folder cannot be used: it belongs to
            another user, others may write to it, or something else is in its place.
    """

    def __init__(self, root: Path, *, max_bytes: int = DEFAULT_MAX_BYTES) -> None:
        if not 0 < max_bytes < math.inf:
            raise CacheError(
                f"the engine cache cannot be limited to {max_bytes} bytes",
                code="TRT804",
                facts={"max_bytes": str(max_bytes)},
                fix="Set --trt-cache-size to a positive size, such as 20GB.",
            )
        self.root = root
        self.folder = root / LAYOUT
        self.max_bytes = max_bytes
        # As they are now: a test may change the current folder.
        self._trusted = trusted_places()
        self.writable = prepare(self.folder, self._trusted)
        # Where entries of a read-only cache are assembled: removed with this object.
        self._scratch: tempfile.TemporaryDirectory[str] | None = None
        # Entries that this process has verified, with the stamps of their files at that time.
        self._verified: dict[str, tuple[FileStamp, ...]] = {}
        # Ends of the names of entries that this process does not evict.
        self._pinned: set[str] = set()
        # Engines and other files that are not in the index yet, their models, and their size.
        self._unindexed: dict[Path, Sidecar | None] = {}
        self._unindexed_models: set[str] = set()
        self._unindexed_bytes = 0
        self.notes: list[Diagnostic] = []
        if self.writable:
            self._sweep()

    @property
    def references(self) -> Path:
        """The folder of reference outputs."""
        return self.folder / "references"

    @property
    def timing(self) -> Path:
        """The folder of timing caches of builders."""
        return self.folder / "timing"

    @property
    def last_runs(self) -> Path:
        """The folder of what the last run of each project measured."""
        return self.folder / "last_runs"

    @cached_property
    def digests(self) -> DigestRecords:
        """The digests of models that were hashed before."""
        return DigestRecords(
            self.folder / "digests",
            stored=self.stored,
            damaged=self.damaged,
            least_bytes=_LEAST_RECORDED_BYTES,
        )

    def lookup(self, name: str, key_digest: str) -> Entry | CorruptEntry | None:
        """Return the entry of a key after checking every byte of it, and mark it as used."""
        folder = self.folder / "engines" / name
        try:
            with self._opened(folder) as opened, open_entry(opened, key_digest) as files:
                self._verify(files)
                entry = Entry(folder, files.sidecar, files.facts())
                with contextlib.suppress(OSError):
                    opened.touch()
        except FileNotFoundError:
            return None
        except SidecarError as error:
            return CorruptEntry(folder, str(error), isinstance(error, OtherFormatError))
        return entry

    def has(self, name: str) -> bool:
        """Whether an entry of this name is there, whole or not; see `lookup`."""
        return os.path.lexists(self.folder / "engines" / name)

    @contextlib.contextmanager
    def _opened(self, entry: Path) -> Iterator[PrivateFolder]:
        """Open an entry, every folder above it checked.

        Raises:
            FileNotFoundError: There is no such entry.
            SidecarError: Others can have written the entry.
            CacheError: They could have replaced the cache.
        """
        try:
            with open_private(entry.parent, trusted=self._trusted) as engines:
                try:
                    opened = engines.folder(entry.name)
                except NotPrivateError as error:
                    raise SidecarError(error.strerror) from error
        except NotPrivateError as error:
            raise refused(self.folder, error) from error
        except FileNotFoundError:
            raise
        except OSError as error:
            raise SidecarError(f"it cannot be opened ({error.strerror})") from error
        with opened:
            yield opened

    def _verify(self, entry: OpenEntry) -> None:
        """Check an entry's files, once per process for as long as they stay untouched."""
        name, stamps = entry.folder.path.name, entry.stamps()
        if stamps is None or self._verified.get(name) != stamps:
            entry.verify()
            if stamps is not None:
                self._verified[name] = stamps

    @contextlib.contextmanager
    def plan(self, path: Path, key_digest: str) -> Iterator[Plan]:
        """Open a plan to load it: the file that is verified, or has been and is untouched since.

        Raises:
            EngineLoadError: It is missing or damaged.
            CacheError: Others could have replaced the cache.
        """
        with contextlib.ExitStack() as opened:
            try:
                folder = opened.enter_context(self._opened(path.parent))
                entry = opened.enter_context(open_entry(folder, key_digest))
                self._verify(entry)
            except (SidecarError, FileNotFoundError) as error:
                raise missing_or_damaged(path.parent, error) from error
            yield entry.plan()

    def pin(self, key_digests: Collection[str]) -> None:
        """Exempt engines from eviction by this process, and mark them as used for others.

        For engines that will be needed together with those that are still to be built.
        """
        self._pinned.update(key[:_KEY_CHARACTERS] for key in key_digests)
        for folder in self._with_keys(key_digests):
            with contextlib.suppress(OSError):
                os.utime(folder)

    def _with_keys(self, key_digests: Collection[str]) -> list[Path]:
        ends = {key[:_KEY_CHARACTERS] for key in key_digests}
        folders = (self.folder / "engines").iterdir() if ends else ()
        return [folder for folder in folders if folder.name[-_KEY_CHARACTERS:] in ends]

    def related(self, model: Path, key_fields: Mapping[str, str]) -> list[Sidecar]:
        """Return what engines of a model for the same use were built from, last used first."""
        if not self._unindexed_models.isdisjoint((str(model), key_fields.get("model digest", ""))):
            self.index_new()
        found = []
        for folder in self._index.related(model, key_fields):
            with (
                contextlib.suppress(FileNotFoundError, SidecarError),
                self._opened(folder) as entry,
            ):
                found.append(read_sidecar(entry))
        return found

    def stored(self, file: Path) -> None:
        """Count a new file, of reference outputs or a digest, among what may be evicted."""
        with contextlib.suppress(OSError):  # evicted by another process meanwhile
            self._unindexed_bytes += file.stat().st_size
            self._unindexed[file] = None

    def damaged(self, file: Path, reason: str) -> None:
        """Note that a file of reference outputs or a digest is damaged, and is replaced."""
        self.notes.append(
            Diagnostic(
                "TRT812",
                f"a file of the cache was damaged, so its content was computed again: {reason}",
                facts={"file": f"{file.parent.name}/{file.name}", "damage": reason},
                severity="warning",
            )
        )

    @cached_property
    def _index(self) -> CacheIndex:
        """The index.

        Raises:
            CacheError: This Python lacks the standard library's module for SQLite.
        """
        # Imported late: a run that finds its engines in the cache needs no index.
        try:
            from pytest_trt.engine.cache_index import CacheIndex
        except ModuleNotFoundError as error:
            raise CacheError(
                f"this Python has no {error.name} module, which the engine cache needs",
                code="TRT800",
                fix="Install a Python that was built with SQLite.",
            ) from error
        return CacheIndex(self.folder, writable=self.writable)

    @contextlib.contextmanager
    def lock(self, key_digest: str, waiting: Callable[[float, str], None]) -> Iterator[None]:
        """Hold the right to build one key. The kernel releases it when the process dies.

        Args:
            key_digest: The key to build.
            waiting: Called about once a second with the seconds waited so far, and who holds it.

        Raises:
            CacheError: Other users can hold the lock.
        """
        if not self.writable:
            yield
            return
        with contextlib.ExitStack() as held:
            try:
                with out_of_space_explained(self.root):
                    held.enter_context(self._held(key_digest, waiting))
            except NotPrivateError as error:
                raise refused(self.folder, error) from error
            except OSError as error:
                # Then several processes may build one engine, and the last one's stays.
                if error.errno not in _NO_LOCKS:
                    raise
            yield

    def _held(
        self,
        key: str,
        waiting: Callable[[float, str], None] = lambda seconds, holder: None,
        timeout_s: float | None = None,
    ) -> AbstractContextManager[None]:
        file = self._building / f"{key[:_KEY_CHARACTERS]}.lock"
        return locked(file, waiting=waiting, timeout_s=timeout_s, remove=True)

    @contextlib.contextmanager
    def staging(self, key_digest: str) -> Iterator[Path]:
        """Yield a private, empty folder to assemble an entry in; `publish` it or it is deleted.

        To be used under the key's `lock`.

        Raises:
            CacheError: The disk is full, or the cache was removed.
        """
        if not self.writable:
            self._scratch = self._scratch or tempfile.TemporaryDirectory(prefix="pytest-trt-")
            yield Path(tempfile.mkdtemp(dir=self._scratch.name))
            return
        key = key_digest[:_KEY_CHARACTERS]
        with out_of_space_explained(self.root):
            # A process that this one waited for may have died.
            self._remove_leftovers(key)
            folder = Path(tempfile.mkdtemp(prefix=f"{key}.", dir=self._building))
            try:
                yield folder
            except (EngineBuildError, FileNotFoundError) as error:
                if folder.parent.exists():
                    raise
                raise CacheError(
                    f"the engine cache {self.root} was removed while an engine was being built",
                    code="TRT802",
                    facts={"folder": str(self.folder)},
                    fix=Remedy(
                        "Run again. This clears a cache that is in use:",
                        ("pytest-trt cache clear",),
                    ),
                ) from error
            finally:
                if folder.exists():  # not published
                    shutil.rmtree(folder, ignore_errors=True)

    def publish(self, staged: Path, name: str, sidecar: Sidecar, facts: EngineFacts) -> Entry:
        """Make a staged entry the entry of its key, in place of any existing one.

        In a read-only cache the entry stays where it was staged.

        Raises:
            CacheError: The disk is full.
        """
        with out_of_space_explained(self.root):
            (staged / SIDECAR_NAME).write_bytes(sidecar.to_bytes(facts))
        for file in staged.iterdir():
            if stat.S_IMODE(file.stat().st_mode) != PRIVATE:  # builders follow the umask
                file.chmod(PRIVATE)
        if not self.writable:
            return Entry(staged, sidecar, facts)
        final = self.folder / "engines" / name
        try:
            staged.rename(final)
        except OSError:
            final.parent.mkdir(parents=True, exist_ok=True, mode=0o700)  # removed meanwhile
            self.discard(final)
            staged.rename(final)
        self._unindexed[final] = sidecar
        self._unindexed_models |= {sidecar.model_path, sidecar.key_fields.get("model digest", "")}
        self._unindexed_bytes += sidecar.size_bytes
        if (
            len(self._unindexed) >= _MOST_UNINDEXED
            or self._unindexed_bytes > self.max_bytes * _UNINDEXED_SHARE
        ):
            self.index_new()
        return Entry(final, sidecar, facts)

    @property
    def _building(self) -> Path:
        return self.folder / "building"

    def _sweep(self) -> None:
        """Remove what killed processes left."""
        sweep(self._building, drafts=True)
        found = self._building.iterdir() if self._building.is_dir() else ()
        for key in {path.name.split(".")[0] for path in found if path.name[0] != "."}:
            with contextlib.suppress(OSError), self._held(key, timeout_s=0):
                self._remove_leftovers(key)

    def _remove_leftovers(self, key: str) -> None:
        """Remove what is staged for a key whose lock this process holds."""
        for leftover in list(os.scandir(self._building)):
            if not leftover.name.startswith(f"{key}.") or leftover.name.endswith(".lock"):
                continue
            if leftover.is_dir(follow_symlinks=False):
                shutil.rmtree(leftover, ignore_errors=True)
            else:
                Path(leftover).unlink()

    def discard(self, folder: Path) -> None:
        """Remove an entry at once for every other process: renamed first, then deleted."""
        trash = self._building / f"trash.{os.urandom(6).hex()}"
        with contextlib.suppress(OSError):
            folder.rename(trash)
            shutil.rmtree(trash) if trash.is_dir() else trash.unlink()

    def entries(self) -> list[Entry | CorruptEntry]:
        """Return every entry, the most recently used first. Plans are not verified: `lookup`."""
        found: list[Entry | CorruptEntry] = []
        for folder in self._folders():
            try:
                with self._opened(folder) as opened:
                    found.append(Entry(folder, *read_entry(opened)))
            except FileNotFoundError:
                continue
            except SidecarError as error:
                found.append(CorruptEntry(folder, str(error), isinstance(error, OtherFormatError)))
        return found

    def find(self, key_digest: str) -> Entry | None:
        """Return the entry of a key, every byte verified, or None."""
        for folder in self._with_keys([key_digest]):
            found = self.lookup(folder.name, key_digest)
            if isinstance(found, Entry):
                return found
        return None

    def clear(self) -> int:
        """Delete everything in the cache and return the number of engines deleted.

        Raises:
            CacheError: The cache cannot be written.
        """
        if not self.writable:
            raise CacheError(
                f"the engine cache {self.folder} is read-only",
                code="TRT802",
                facts={"folder": str(self.folder)},
                fix="Run the command as the user who owns it.",
            )
        engines = len(list(self._folders()))
        self._index.delete()
        for part in PARTS:
            if self.folder / part != self._building:
                shutil.rmtree(self.folder / part, ignore_errors=True)
        self._sweep()  # builds of other processes go on
        prepare(self.folder, self._trusted)
        return engines

    def _folders(self) -> list[Path]:
        def last_used(folder: Path) -> float:
            try:
                return folder.stat().st_mtime
            except OSError:  # evicted by another process meanwhile
                return 0.0

        return sorted((self.folder / "engines").glob("*"), key=last_used, reverse=True)

    def index_new(self) -> None:
        """Register what is new, and delete what was used least recently until the cap is met.

        This happens by itself for some engines at a time. What a process does not register, the
        next one does.
        """
        if not self._unindexed:
            return

        def stays(path: Path) -> bool:
            is_new_engine = self._unindexed.get(path) is not None
            return is_new_engine or path.name[-_KEY_CHARACTERS:] in self._pinned

        # What is being built counts, by whichever process.
        left_bytes = self.max_bytes - size_bytes(self._building)
        evicted = self._index.add(self._unindexed, max_bytes=left_bytes, stays=stays)
        for path in evicted:
            self.discard(path)
        if any(path.parent.name == "engines" for path in evicted):
            self.notes.append(
                Diagnostic(
                    "TRT814",
                    "engines were removed from the cache to keep its size below "
                    f"{size(self.max_bytes)}; a test that needs one builds it again",
                    {"folder": str(self.folder), "max_bytes": self.max_bytes},
                    remedy=Remedy("Raise --trt-cache-size."),
                    severity="note",
                )
            )
        self._unindexed.clear()
        self._unindexed_models.clear()
        self._unindexed_bytes = 0


def default_cache_dir() -> Path:
    """Return the default root: in the user's cache folder; of users without a home, in `/tmp`.

    Raises:
        OSError: They have no folder there either.
    """
    return home_folder("cache") or user_folder() / "cache"


def entry_name(model_name: str, precision: str, arch: str, key_digest: str) -> str:
    """Return an entry's folder name: a readable part, then enough of the key to be unique."""
    stem = _UNUSUAL.sub("_", Path(model_name).stem)[:60]
    return f"{stem}-{precision}-{arch}-{key_digest[:_KEY_CHARACTERS]}"


def missing_or_damaged(entry: Path, error: Exception) -> EngineLoadError:
    """Return the error for an entry that cannot be loaded any more."""
    reason = "it was removed" if isinstance(error, FileNotFoundError) else str(error)
    return EngineLoadError(
        f"the cached engine {entry} is missing or damaged: {reason}",
        code="TRT322",
        facts={"plan": str(entry)},
        fix="Run again: it is rebuilt.",
    )
