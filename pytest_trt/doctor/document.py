"""Findings as JSON: what `pytest-trt doctor --json` prints."""

from __future__ import annotations

from dataclasses import asdict
from importlib.resources import files
from typing import Any

from pytest_trt.doctor.finding import Examination
from pytest_trt.version import __version__

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
