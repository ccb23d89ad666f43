"""The manifest next to an exported plan: what was built from what, and which tests passed.

`NAME.json` next to the plan `NAME`. `pytest-trt export` writes it; `pytest-trt verify` and tests
with `plan=` read it.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeAlias

from pytest_trt.diagnostics import ConfigurationError, EngineLoadError, Remedy, as_typed
from pytest_trt.engine.spec import EngineSpec, OptionValue, Target, Toolchain
from pytest_trt.files import open_regular
from pytest_trt.records import RecordError, from_data, parse_json, schema_of, to_data
from pytest_trt.tensors.profiles import Profile, profile_from_json
from pytest_trt.version import __version__

#: Format of manifests. History: 1 first version.
MANIFEST_SCHEMA = 1

#: Appended to the plan's file name.
ENDING = ".json"

#: A larger file is not a manifest.
_MOST_BYTES = 10_000_000

_HEX = 64

_EXPECTED_PROFILES = "expected {input: [min, opt, max]}"

#: (min, opt, max) of an input; of one that holds a shape, under "values".
Range: TypeAlias = tuple[tuple[int, ...], ...]


@dataclass(frozen=True, slots=True)
class PassedTest:
    """A test that passed with the plan.

    Attributes:
        test: Its node id.
        verdicts: The verdict of each of its checks: {"consistency": "passed"}.
    """

    test: str
    verdicts: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class LibraryDigest:
    """An operator library that an engine was built with.

    Attributes:
        name: Its file name.
        digest: Hex BLAKE3 of its bytes.
    """

    name: str
    digest: str


@dataclass(frozen=True, slots=True)
class Manifest:
    """The origin of an exported plan, and the tests that passed with it.

    Attributes:
        plan: The plan's file name.
        digest: Hex BLAKE3 of its bytes.
        size_bytes: Its size.
        model: File name of the model that it was built from.
        model_digest: Digest of the model with its external data.
        backend: The backend that built it.
        precision: The requested precision.
        profiles: Its optimisation profiles, as users write them.
        options: Builder options by name.
        keep_fp32: What stayed in FP32.
        libraries: The operator libraries that it was built with.
        toolchain: What built it: product and versions.
        target: What it runs on: architecture and device.
        key: Digest of its key in the engine cache.
        tests: The tests that passed with it.
        tested: When their run ended, ISO 8601 in UTC.
        commit: The commit that was checked out then; None if unknown.
        report: The report of that run, relative to pytest's root folder; empty if none was written.
        schema: `MANIFEST_SCHEMA`.
        written_by: The package's name and version.
    """

    plan: str
    digest: str
    size_bytes: int
    model: str
    model_digest: str
    backend: str
    precision: str
    profiles: tuple[Mapping[str, Range | Mapping[str, Range]], ...]
    options: Mapping[str, OptionValue]
    toolchain: Toolchain
    target: Target
    key: str
    tests: tuple[PassedTest, ...]
    tested: str
    commit: str | None = None
    report: str = ""
    keep_fp32: tuple[str, ...] = ()
    libraries: tuple[LibraryDigest, ...] = ()
    schema: int = MANIFEST_SCHEMA
    written_by: str = field(default=f"pytest-trt {__version__}")

    def __post_init__(self) -> None:
        for name in ("digest", "model_digest"):
            value = getattr(self, name)
            if len(value) != _HEX or not set(value) <= set("0123456789abcdef"):
                raise RecordError(f"expected {_HEX} hex digits, found {value[:80]!r}", name)
        if not self.tests:
            raise RecordError("expected at least one test", "tests")
        if not self.toolchain.versions:
            raise RecordError("expected at least one version", "toolchain", "versions")
        if self.size_bytes < 1:
            raise RecordError(f"expected 1 or more, found {self.size_bytes}", "size_bytes")
        try:
            EngineSpec(self.precision, self.parsed_profiles, self.options, self.keep_fp32)
        except ConfigurationError as error:
            raise RecordError(error.message, "precision") from error

    @property
    def parsed_profiles(self) -> tuple[Profile, ...]:
        """The profiles as a spec has them."""
        try:
            found = tuple(map(profile_from_json, self.profiles))
        except (TypeError, KeyError) as error:
            raise RecordError(_EXPECTED_PROFILES, "profiles") from error
        for one in (bounds for profile in found for bounds in profile.values()):
            if not len(one.min) == len(one.opt) == len(one.max):
                raise RecordError(_EXPECTED_PROFILES, "profiles")
        return found

    def to_text(self) -> str:
        """Return the text of its file."""
        return json.dumps(to_data(self), indent=2) + "\n"

    def check_plan(self, path: Path, digest: str, size_bytes: int) -> None:
        """Refuse a plan that is not the one that was tested.

        Raises:
            EngineLoadError: Its name, size or digest differs.
        """
        if self.plan != path.name:
            raise invalid_manifest(path, f"it names the plan {self.plan!r}")
        if self.size_bytes != size_bytes:
            raise invalid_manifest(
                path, f"the plan has {size_bytes} bytes, but {self.size_bytes} when it passed"
            )
        if self.digest != digest:
            raise invalid_manifest(
                path,
                f"the plan has digest {digest[:12]}, but {self.digest[:12]} when it passed",
            )


def manifest_path(plan: Path) -> Path:
    """Return where the manifest of a plan is."""
    return plan.with_name(f"{plan.name}{ENDING}")


def read_manifest(plan: Path) -> Manifest | None:
    """Return the manifest next to a plan, or None if there is none.

    Raises:
        EngineLoadError: It cannot be read, or is not a valid manifest.
    """
    path = manifest_path(plan)
    try:
        with open_regular(path) as file:
            text = file.read(_MOST_BYTES + 1)
        if len(text) > _MOST_BYTES:
            raise RecordError(f"expected a manifest, found more than {_MOST_BYTES} bytes")
        data = parse_json(text)
        schema = schema_of(data)
        if schema != MANIFEST_SCHEMA:
            raise RecordError(f"expected {MANIFEST_SCHEMA}, found {schema}", "schema")
        return from_data(Manifest, data)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise invalid_manifest(plan, f"it cannot be read: {error.strerror}") from error
    except RecordError as error:
        raise invalid_manifest(plan, str(error)) from error


def invalid_manifest(plan: Path, problem: str) -> EngineLoadError:
    """Return the error for a manifest that is invalid, or belongs to another plan."""
    return EngineLoadError(
        f"the manifest {as_typed(manifest_path(plan))} does not match its plan: {problem}",
        fix=Remedy("test and export the plan again:", ("pytest-trt export TESTS -o DIR",)),
        code="TRT328",
        facts={"plan": str(plan), "problem": problem},
    )
