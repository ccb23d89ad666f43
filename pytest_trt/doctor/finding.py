"""What doctor reports: findings, and all of them as JSON."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum
from importlib.resources import files
from typing import Any

from pytest_trt.diagnostics import Fact, Remedy
from pytest_trt.doctor.abilities import Ability
from pytest_trt.records import to_data
from pytest_trt.version import __version__

# History of the format:
#   1  first version; code, facts and remedy of a finding were added later
#: Number of the format. Fields may be added to one; it changes if a reader would go wrong.
DOCTOR_SCHEMA = 1

NO_REMEDY = Remedy()


class Level(str, Enum):
    """The state of what was examined.

    `OK`: it works. `NOTE`: it is not there, and nothing requests it. `WARN`: it works less well
    than it could, or would not work if it were requested. `ERROR`: it does not work, and it is
    requested: by `--require`, by the project's options, or because every run uses it.
    """

    OK = "ok"
    NOTE = "note"
    WARN = "warn"
    ERROR = "error"


#: The sections of the report, in order.
SECTIONS = ("machine", "gpu", "backends", "plugin", "places", "required")


@dataclass(frozen=True, slots=True)
class Problem:
    """What is wrong, and what to do about it."""

    what: str
    remedy: Remedy = NO_REMEDY


@dataclass(frozen=True, slots=True)
class Finding:
    """The result of one examination.

    Attributes:
        section: One of `SECTIONS`.
        name: What was examined, such as "TensorRT".
        level: Its state.
        what: A description of the state.
        why: The cause, if it is known.
        remedy: What to do; empty if there is nothing to do.
        code: A key of `pytest_trt.codes.CODES`; empty for `OK` and `NOTE`.
        facts: The values involved, as data.
    """

    section: str
    name: str
    level: Level
    what: str
    why: str = ""
    remedy: Remedy = NO_REMEDY
    code: str = ""
    facts: Mapping[str, Fact] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Examination:
    """All findings, and what they mean for each architecture."""

    findings: Sequence[Finding]
    abilities: Sequence[Ability]

    @property
    def level(self) -> Level:
        """The worst level of all findings; notes count as ok."""
        levels = {finding.level for finding in self.findings}
        return next((one for one in (Level.ERROR, Level.WARN) if one in levels), Level.OK)

    @property
    def exit_status(self) -> int:
        """0, or 1 if something that is requested does not work."""
        return int(self.level is Level.ERROR)


def remedy_text(remedy: Remedy) -> str:
    """Return a remedy as text: sentences, commands and alternatives, one line each."""
    return "\n".join(filter(None, (remedy.text, *remedy.commands, *remedy.alternatives)))


def to_document(examination: Examination) -> dict[str, Any]:
    """Return an examination in the form that `schema_text` describes."""
    return {
        "schema": DOCTOR_SCHEMA,
        "written_by": f"pytest-trt {__version__}",
        "level": examination.level.value,
        "exit_status": examination.exit_status,
        "findings": [
            {**to_data(finding), "fix": remedy_text(finding.remedy)}
            for finding in examination.findings
        ],
        "abilities": [to_data(ability) for ability in examination.abilities],
    }


def schema_text() -> str:
    """Return the JSON schema of the document."""
    return files(__package__).joinpath("doctor.schema.json").read_text(encoding="utf-8")
