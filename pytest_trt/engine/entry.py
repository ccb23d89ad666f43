"""An entry of the cache, opened: what is verified is what is loaded."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from io import FileIO

from pytest_trt.engine.facts import EngineFacts
from pytest_trt.engine.protocols import Plan
from pytest_trt.engine.sidecar import FACTS_NAME, Sidecar, SidecarError, parse_facts, read_sidecar
from pytest_trt.hashing import digest_open
from pytest_trt.private import PrivateFolder


@dataclass(frozen=True, slots=True)
class OpenEntry:
    """An entry and all of its files, by descriptors; see `open_entry`.

    Attributes:
        folder: The entry's folder.
        sidecar: Its sidecar.
        files: The files that the sidecar lists, by name.
    """

    folder: PrivateFolder
    sidecar: Sidecar
    files: Mapping[str, FileIO]

    def stamps(self) -> tuple[object, ...]:
        """Return what changes with every write of a file, its change time included."""
        stats = [(name, os.fstat(file.fileno())) for name, file in self.files.items()]
        return tuple(
            (n, s.st_dev, s.st_ino, s.st_size, s.st_mtime_ns, s.st_ctime_ns) for n, s in stats
        )

    def verify(self) -> None:
        """Check every file against its digest.

        Raises:
            SidecarError: A file has another size, or other bytes.
        """
        for name, expected in self.sidecar.files.items():
            file = self.files[name]
            try:
                file.seek(0)
                actual = digest_open(file)
            except OSError as error:
                raise SidecarError(f"{name} cannot be read ({error.strerror})") from error
            if actual.size_bytes != expected.size_bytes:
                raise SidecarError(f"{name} has {actual.size_bytes} of {expected.size_bytes} bytes")
            if actual.digest != expected.digest:
                raise SidecarError(
                    f"{name} has digest {actual.digest[:12]}, not {expected.digest[:12]} as built"
                )

    def facts(self) -> EngineFacts:
        """Return the engine's facts.

        Raises:
            SidecarError: They are not what this version writes.
        """
        file = self.files[FACTS_NAME]
        file.seek(0)
        return parse_facts(file.read())

    def plan(self) -> Plan:
        """Return the plan; it can be loaded while the entry is open."""
        name = self.sidecar.plan_name
        return Plan(
            self.folder.path / name,
            stable_path=self.folder.stable_path / name,
            file=self.files[name],
        )


@contextlib.contextmanager
def open_entry(folder: PrivateFolder, key_digest: str) -> Iterator[OpenEntry]:
    """Open all files of an entry; nobody else can have written them.

    Args:
        folder: The entry's folder.
        key_digest: The key that it must have been built for.

    Raises:
        SidecarError: A file is missing, or others can have written it; or the key differs.
    """
    sidecar = read_sidecar(folder)
    if sidecar.key_digest != key_digest:
        raise SidecarError(f"it was built for key {sidecar.key_digest[:12]}, not {key_digest[:12]}")
    with contextlib.ExitStack() as opened:
        files = {}
        for name in sidecar.files:
            try:
                files[name] = opened.enter_context(folder.open(name))
            except OSError as error:
                raise SidecarError(f"{name} cannot be read ({error.strerror})") from error
        yield OpenEntry(folder, sidecar, files)
