"""What is stored next to a plan: what it was built from, its digests, and the engine's facts."""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache

from pytest_trt.engine.facts import EngineFacts
from pytest_trt.hashing import FileDigest
from pytest_trt.private import PrivateFolder
from pytest_trt.records import from_data, to_data
from pytest_trt.sealed import SealError, sealed, unseal
from pytest_trt.version import __version__

# History of the sidecar's format:
#   1  first version
#   2  facts.json among the files, with the seconds of the build
#   3  digests of files are made in pieces, on all cores
#   4  digests of files are BLAKE3
#   5  fields as `Sidecar` has them; the model's path
#   6  sealed, with the facts in it
#   7  what it was calibrated on among the facts
#: Format of the sidecar. One of another version makes its entry a miss: the cache is disposable,
#: so nothing is migrated.
SIDECAR_SCHEMA = 7

#: A file's name in an entry: nothing that leads out of its folder.
_FILE_NAME = re.compile(r"(?!\.\.?$)[^/\\\0]+")

#: Name of the sidecar in an entry's folder.
SIDECAR_NAME = "engine.sealed"

_KIND = "engine"

#: Sidecars whose parsed texts are retained: those of the engines of a test.
_PARSED = 8


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

    def to_bytes(self, facts: EngineFacts) -> bytes:
        """Return the bytes of the file that holds the sidecar and an engine's facts."""
        lines = (f" {json.dumps(name)}: {json.dumps(it)}" for name, it in to_data(self).items())
        text = "{\n" + ",\n".join(lines) + "\n}\n"
        # The facts last: hundreds of layers would hide what a person looks for.
        parts = sealed(_KIND, self.key_digest, text.encode(), facts.to_json().encode())
        return b"".join(parts)


def read_sidecar(entry: PrivateFolder) -> Sidecar:
    """Return an entry's sidecar.

    Raises:
        SidecarError: As for `read_texts`.
    """
    return read_texts(entry)[0]


def read_entry(entry: PrivateFolder) -> tuple[Sidecar, EngineFacts]:
    """Return an entry's sidecar and the engine's facts.

    Raises:
        SidecarError: As for `read_texts`; or the facts are not what this version writes.
    """
    sidecar, facts = read_texts(entry)
    return sidecar, parse_facts(facts)


# An entry is read and checked again before it is loaded; what its bytes mean is known by then.
@lru_cache(maxsize=_PARSED)
def parse_facts(text: bytes) -> EngineFacts:
    """Return the facts in a text of `read_texts`.

    Raises:
        SidecarError: They are not what this version writes.
    """
    try:
        return EngineFacts.from_json(text)
    except ValueError as error:
        raise SidecarError(f"its facts are damaged ({type(error).__name__}: {error})") from error


def read_texts(entry: PrivateFolder, key_digest: str | None = None) -> tuple[Sidecar, bytes]:
    """Return an entry's sidecar, and the text of the engine's facts, which may be long.

    Raises:
        SidecarError: The sidecar is missing, damaged, of another key, or of another format.
    """
    try:
        with entry.open(SIDECAR_NAME) as file:
            content = bytes(unseal(file, _KIND, key_digest).content)
        # No value has a line of its own that ends an object.
        text, end, facts = content.partition(b"\n}\n")
        sidecar = _parsed(text + end)
    except FileNotFoundError:
        raise SidecarError("its sidecar is missing") from None
    except OSError as error:
        raise SidecarError(f"its sidecar cannot be read ({error.strerror})") from error
    except (SealError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise SidecarError(f"its sidecar is damaged ({type(error).__name__}: {error})") from error
    names = sidecar.files.keys()
    if sidecar.plan_name not in names or not all(map(_FILE_NAME.fullmatch, names)):
        raise SidecarError("its sidecar does not list its files")
    return sidecar, facts


@lru_cache(maxsize=_PARSED)
def _parsed(text: bytes) -> Sidecar:
    data = json.loads(text)
    if data["schema"] != SIDECAR_SCHEMA:
        raise OtherFormatError(
            f"its sidecar has format {data['schema']}, written by {data.get('written_by')}; "
            f"this version uses {SIDECAR_SCHEMA}"
        )
    return from_data(Sidecar, data)
