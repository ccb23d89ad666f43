"""An entry of the cache, opened: what is verified is what is loaded."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from io import FileIO
from pathlib import Path

from pytest_trt.engine.facts import EngineFacts
from pytest_trt.engine.protocols import Plan
from pytest_trt.engine.sidecar import Sidecar, SidecarError, parse_facts, read_texts
from pytest_trt.files import TICK_NS, FileStamp
from pytest_trt.hashing import digest_open
from pytest_trt.private import PrivateFolder


@dataclass(frozen=True, slots=True)
class OpenEntry:
    """An entry and all of its files, by descriptors; see `open_entry`.

    Attributes:
        folder: The entry's folder.
        sidecar: Its sidecar.
        facts_text: The engine's facts, as text.
        files: The files that the sidecar lists, by name.
    """

    folder: PrivateFolder
    sidecar: Sidecar
    facts_text: bytes
    files: Mapping[str, FileIO]

    def stamps(self) -> tuple[FileStamp, ...] | None:
        """Return what changes with every write of a file; None where one may go unnoticed."""
        now_ns = time.time_ns()
        stamps = [FileStamp.of(Path(name), file, name) for name, file in self.files.items()]
        settled = all(stamp.rested(now_ns, TICK_NS) for stamp in stamps)
        return tuple(stamps) if settled else None

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
        return parse_facts(self.facts_text)

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

    Raises:
        SidecarError: A file is missing, or others can have written it; or the key differs.
    """
    sidecar, facts = read_texts(folder, key_digest)
    with contextlib.ExitStack() as opened:
        files = {}
        for name in sidecar.files:
            try:
                files[name] = opened.enter_context(folder.open(name))
            except OSError as error:
                raise SidecarError(f"{name} cannot be read ({error.strerror})") from error
        yield OpenEntry(folder, sidecar, facts, files)
