"""What is kept beside a plan: where it came from, and the digests that prove it whole."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pytest_trt.engine.facts import EngineFacts
from pytest_trt.engine.file_digest import FileDigest, digest_file
from pytest_trt.version import __version__

# History of the sidecar's format:
#   1  first version
#   2  facts.json among the files, with the seconds of the build
#   3  digests of files are made in pieces, on all cores
#   4  digests of files are BLAKE3
#: Format of the JSON written beside plans. A sidecar of another version makes its entry a miss:
#: the cache is disposable, so nothing is migrated.
SIDECAR_SCHEMA = 4

#: What an entry's file may be called: nothing that leads out of its folder.
_FILE_NAME = re.compile(r"[^/\\]+")

#: Name of the sidecar in an entry's folder.
SIDECAR_NAME = "engine.json"

#: Name of the file with the engine's facts, one of those that the sidecar lists: hundreds of layers
#: would bury what a person looks for in the sidecar.
FACTS_NAME = "facts.json"


class SidecarError(Exception):
    """An entry is not whole. The text says what is wrong with it; the entry is built anew."""


class OtherFormatError(SidecarError):
    """An entry was written by another version of this package."""


@dataclass(frozen=True, slots=True)
class Sidecar:
    """Everything about a cached engine that its plan does not say.

    Attributes:
        key_digest: Digest of the engine key that the entry answers to.
        key_fields: The key's fields, to explain later misses with.
        model_name: File name of the model it was built from.
        plan_name: Which of the files is the plan.
        files: Every file of the entry, by name.
        built_at: When it was built, ISO 8601 in UTC.
        reason: Why it was built: what had changed against the nearest cached engine.
        notes: What the backend had to say of the build.
        log_tail: The last lines of the builder's log.
    """

    key_digest: str
    key_fields: Mapping[str, str]
    model_name: str
    plan_name: str
    files: Mapping[str, FileDigest]
    built_at: str
    reason: str
    notes: tuple[str, ...] = ()
    log_tail: tuple[str, ...] = ()

    @property
    def size_bytes(self) -> int:
        """Bytes of all files of the entry."""
        return sum(file.size_bytes for file in self.files.values())

    def to_json(self) -> str:
        """Return the sidecar as the text of its file."""
        content = {
            "schema": SIDECAR_SCHEMA,
            "written_by": f"pytest-trt {__version__}",
            "key": {"digest": self.key_digest, "fields": dict(self.key_fields)},
            "model": self.model_name,
            "plan": self.plan_name,
            "files": {
                name: {"digest": file.digest, "bytes": file.size_bytes}
                for name, file in self.files.items()
            },
            "built_at": self.built_at,
            "reason": self.reason,
            "notes": list(self.notes),
            "log_tail": list(self.log_tail),
        }
        return json.dumps(content, indent=2) + "\n"


def read_sidecar(entry: Path) -> Sidecar:
    """Return an entry's sidecar.

    Raises:
        FileNotFoundError: There is no such entry.
        SidecarError: The sidecar is damaged or of another format.
    """
    try:
        text = _read(entry / SIDECAR_NAME)
    except (FileNotFoundError, NotADirectoryError):
        if entry.exists():
            raise SidecarError("its sidecar is missing") from None
        raise FileNotFoundError(entry) from None
    except OSError as error:
        raise SidecarError(f"its sidecar cannot be read ({error.strerror})") from error
    try:
        return _parse(json.loads(text))
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise SidecarError(f"its sidecar is damaged ({type(error).__name__}: {error})") from error


def _parse(content: dict[str, Any]) -> Sidecar:
    schema = content["schema"]
    if schema != SIDECAR_SCHEMA:
        raise OtherFormatError(
            f"its sidecar has format {schema}, written by {content.get('written_by')}; this "
            f"version uses {SIDECAR_SCHEMA}"
        )
    files = {
        name: FileDigest(digest=str(file["digest"]), size_bytes=int(file["bytes"]))
        for name, file in content["files"].items()
    }
    plan_name = str(content["plan"])
    if not files.keys() >= {plan_name, FACTS_NAME} or not all(map(_FILE_NAME.fullmatch, files)):
        raise SidecarError("its sidecar does not list its files")
    return Sidecar(
        key_digest=str(content["key"]["digest"]),
        key_fields={str(k): str(v) for k, v in content["key"]["fields"].items()},
        model_name=str(content["model"]),
        plan_name=plan_name,
        files=files,
        built_at=str(content["built_at"]),
        reason=str(content["reason"]),
        notes=tuple(map(str, content["notes"])),
        log_tail=tuple(map(str, content["log_tail"])),
    )


def read_facts(entry: Path) -> EngineFacts:
    """Return the facts of an entry whose files have been verified.

    Raises:
        SidecarError: They were written by something else.
    """
    try:
        return EngineFacts.from_json(_read(entry / FACTS_NAME))
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise SidecarError(
            f"its {FACTS_NAME} is damaged ({type(error).__name__}: {error})"
        ) from error


def _read(file: Path) -> bytes:
    # Without a buffer: a hit reads small files, and its milliseconds are counted.
    with file.open("rb", buffering=0) as opened:
        return opened.read()


def verify_files(entry: Path, sidecar: Sidecar) -> None:
    """Check every file of an entry against its digest.

    Raises:
        SidecarError: A file is missing, has another size, or has other bytes.
    """
    for name, expected in sidecar.files.items():
        try:
            actual = digest_file(entry / name)
        except OSError as error:
            raise SidecarError(f"{name} cannot be read ({error.strerror})") from error
        if actual.size_bytes != expected.size_bytes:
            raise SidecarError(f"{name} has {actual.size_bytes} of {expected.size_bytes} bytes")
        if actual.digest != expected.digest:
            raise SidecarError(
                f"{name} has digest {actual.digest[:12]}, not {expected.digest[:12]} as built"
            )
