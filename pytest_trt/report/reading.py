"""Reports read back: the file is whole, a report, and of a format that is understood."""

from __future__ import annotations

import json
from importlib import resources
from pathlib import Path
from typing import Any

from pytest_trt.diagnostics import ReportError
from pytest_trt.report.document import REPORT_SCHEMA, Document

#: What every report has.
_PARTS = {"schema", "written_by", "runs", "engines", "tests", "coverage"}


def schema_text() -> str:
    """Return the JSON schema of reports, which documents every field."""
    return (resources.files("pytest_trt.report") / "report.schema.json").read_text("utf-8")


def read_document(path: Path) -> Document:
    """Return the document in a `.json` report.

    Raises:
        ReportError: It cannot be read, is no report, or of a format that is not understood.
    """
    try:
        content: Any = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ReportError(
            f"the report {path} cannot be read: {error.strerror}.",
            fix="name a file that `pytest --trt-report=report.json` wrote.",
        ) from error
    except ValueError as error:
        raise ReportError(
            f"{path} is no JSON: {error}.",
            fix="name a .json report that is whole; `pytest --trt-report=report.json` writes one.",
        ) from error
    if not isinstance(content, dict) or not str(content.get("written_by")).startswith("pytest-trt"):
        raise ReportError(
            f"{path} is JSON, but no report of pytest-trt.",
            fix="name a file that `pytest --trt-report=report.json` wrote.",
        )
    schema = content.get("schema")
    if schema != REPORT_SCHEMA:
        raise ReportError(
            f"the report {path} has format {schema}, written by {content['written_by']}; this "
            f"version of pytest-trt reads format {REPORT_SCHEMA}.",
            fix="use one version of pytest-trt for all reports: update the older one.",
        )
    absent = sorted(_PARTS - content.keys())
    if absent:
        raise ReportError(
            f"the report {path} is without its {', '.join(absent)}.",
            fix="it was changed after it was written: take the file that pytest wrote.",
        )
    return content
