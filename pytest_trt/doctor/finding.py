"""What doctor reports: findings, and all of them as JSON."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from enum import Enum
from importlib.resources import files
from typing import Any

from pytest_trt.doctor.abilities import Ability
from pytest_trt.version import __version__


class Level(str, Enum):
    """How a thing is.

    `OK`: it works. `NOTE`: it is not there, and nothing asks for it. `WARN`: it works less well
    than it could, or would not work if it were asked for. `ERROR`: it cannot work, and it is
    asked for: by `--require`, by the project's options, or because every run uses it.
    """

    OK = "ok"
    NOTE = "note"
    WARN = "warn"
    ERROR = "error"


#: What findings are about, in the order in which they are told.
SECTIONS = ("machine", "gpu", "backends", "plugin", "places", "required")


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was looked at.

    Attributes:
        section: One of `SECTIONS`.
        name: The thing, "TensorRT".
        level: How it is.
        what: What is there, or what is wrong.
        why: The cause, where it is known.
        fix: What to type or to change; empty where nothing needs to be done.
    """

    section: str
    name: str
    level: Level
    what: str
    why: str = ""
    fix: str = ""


@dataclass(frozen=True, slots=True)
class Examination:
    """All findings, and what they mean for each architecture."""

    findings: Sequence[Finding]
    abilities: Sequence[Ability]

    @property
    def level(self) -> Level:
        """The worst of all levels; a note is no worse than what works."""
        levels = {finding.level for finding in self.findings}
        return next((one for one in (Level.ERROR, Level.WARN) if one in levels), Level.OK)

    @property
    def exit_status(self) -> int:
        """0, or 1 where something that is asked for cannot work."""
        return int(self.level is Level.ERROR)


# History of the format:
#   1  first version
#: Number of the format. Fields may be added to one; it changes where a reader would go wrong.
DOCTOR_SCHEMA = 1


def to_document(examination: Examination) -> dict[str, Any]:
    """Return an examination in the form that `schema_text` describes."""
    return {
        "schema": DOCTOR_SCHEMA,
        "written_by": f"pytest-trt {__version__}",
        "level": examination.level.value,
        "exit_status": examination.exit_status,
        "findings": [
            {**asdict(finding), "level": finding.level.value} for finding in examination.findings
        ],
        "abilities": [asdict(ability) for ability in examination.abilities],
    }


def schema_text() -> str:
    """Return the JSON schema of the document."""
    return files(__package__).joinpath("doctor.schema.json").read_text(encoding="utf-8")
