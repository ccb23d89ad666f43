"""What is stored next to a plan: what it was built from, and the digests that verify it."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass

from pytest_trt.engine.facts import EngineFacts
from pytest_trt.hashing import FileDigest
from pytest_trt.private import PrivateFolder
from pytest_trt.records import from_data, to_data
from pytest_trt.version import __version__

# History of the sidecar's format:
#   1  first version
#   2  facts.json among the files, with the seconds of the build
#   3  digests of files are made in pieces, on all cores
#   4  digests of files are BLAKE3
#   5  fields as `Sidecar` has them; the model's path
#: Format of the JSON next to plans. A sidecar of another version makes its entry a miss: the cache
#: is disposable, so nothing is migrated.
SIDECAR_SCHEMA = 5

#: A file's name in an entry: nothing that leads out of its folder.
_FILE_NAME = re.compile(r"[^/\\]+")

#: Name of the sidecar in an entry's folder.
SIDECAR_NAME = "engine.json"

#: Name of the file with the engine's facts, one of those that the sidecar lists: hundreds of layers
#: would hide what a person looks for in the sidecar.
FACTS_NAME = "facts.json"


class SidecarError(Exception):
    """An entry is damaged; the text says how. The engine is built again."""


class OtherFormatError(SidecarError):
    """An entry was written by another version of this package."""


@dataclass(frozen=True, slots=True)
class Sidecar:
    """Everything about a cached engine that its plan does not hold.

    Attributes:
        key_digest: Digest of the entry's engine key.
        key_fields: The key's fields, to explain later misses with.
        model_name: File name of the model that it was built from.
        model_path: The model's file, absolute.
        plan_name: Which of the files is the plan.
        files: Size and digest of every file of the entry, by name.
        built_at: When it was built, ISO 8601 in UTC.
        reason: Why it was built: how the closest cached engine differed; empty for the first.
        notes: Notes of the backend about the build.
        log_tail: The last lines of the builder's log.
        schema: `SIDECAR_SCHEMA`.
        written_by: The package's name and version.
    """

    key_digest: str
    key_fields: Mapping[str, str]
    model_name: str
    model_path: str
    plan_name: str
    files: Mapping[str, FileDigest]
    built_at: str
    reason: str
    notes: tuple[str, ...] = ()
    log_tail: tuple[str, ...] = ()
    schema: int = SIDECAR_SCHEMA
    written_by: str = f"pytest-trt {__version__}"

    @property
    def size_bytes(self) -> int:
        """Bytes of all files of the entry."""
        return sum(file.size_bytes for file in self.files.values())

    def to_json(self) -> str:
        """Return the sidecar as the text of its file."""
        return json.dumps(to_data(self), indent=2) + "\n"


def read_sidecar(entry: PrivateFolder) -> Sidecar:
    """Return an entry's sidecar.

    Raises:
        SidecarError: The sidecar is missing, damaged or of another format.
    """
    try:
        data = json.loads(entry.read(SIDECAR_NAME))
        if data["schema"] != SIDECAR_SCHEMA:
            raise OtherFormatError(
                f"its sidecar has format {data['schema']}, written by {data.get('written_by')}; "
                f"this version uses {SIDECAR_SCHEMA}"
            )
        sidecar = from_data(Sidecar, data)
    except FileNotFoundError:
        raise SidecarError("its sidecar is missing") from None
    except OSError as error:
        raise SidecarError(f"its sidecar cannot be read ({error.strerror})") from error
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise SidecarError(f"its sidecar is damaged ({type(error).__name__}: {error})") from error
    names = sidecar.files.keys()
    if not names >= {sidecar.plan_name, FACTS_NAME} or not all(map(_FILE_NAME.fullmatch, names)):
        raise SidecarError("its sidecar does not list its files")
    return sidecar


def read_facts(entry: PrivateFolder) -> EngineFacts:
    """Return the facts of an entry.

    Raises:
        SidecarError: They are missing, or not what this version writes.
    """
    try:
        return parse_facts(entry.read(FACTS_NAME))
    except OSError as error:
        raise SidecarError(f"its {FACTS_NAME} cannot be read ({error.strerror})") from error


def parse_facts(content: bytes) -> EngineFacts:
    """Return the facts that a file holds.

    Raises:
        SidecarError: They are not what this version writes.
    """
    try:
        return EngineFacts.from_json(content)
    except ValueError as error:
        raise SidecarError(
            f"its {FACTS_NAME} is damaged ({type(error).__name__}: {error})"
        ) from error
