"""Reports as files: written by suffix, whole or not at all; read back with clear errors."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from glob import has_magic
from pathlib import Path
from typing import Any

from pytest_trt.diagnostics import Remedy, ReportError
from pytest_trt.files import write_output
from pytest_trt.records import RecordError, from_data, parse_json, schema_of, to_data
from pytest_trt.report.document import Document
from pytest_trt.report.entries import REPORT_SCHEMA, Report

_WRITE = Remedy("Name a .json report, written by:", ("pytest --trt-report=report.json",))


def json_text(document: Mapping[str, Any]) -> str:
    """Return a document as JSON, a line for each run, engine and test."""

    def line(value: object) -> str:
        return json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":"))

    def block(value: object) -> str:
        if isinstance(value, dict):
            lines = [f"  {line(name)}: {line(entry)}" for name, entry in value.items()]
            return "{\n" + ",\n".join(lines) + "\n }"
        if isinstance(value, list):
            return "[\n" + ",\n".join(f"  {line(entry)}" for entry in value) + "\n ]"
        return line(value)

    parts = [f" {line(name)}: {block(value)}" for name, value in document.items()]
    return "{\n" + ",\n".join(parts) + "\n}\n"


def _openmetrics(document: Mapping[str, Any]) -> str:
    from pytest_trt.report.openmetrics import openmetrics_text

    return openmetrics_text(document)


def _html(document: Mapping[str, Any]) -> str:
    from pytest_trt.report.html.page import html_page

    return html_page(document)


#: Functions that make the text of a report, by the suffix of its file.
WRITERS: Mapping[str, Callable[[Mapping[str, Any]], str]] = {
    ".json": json_text,
    ".html": _html,
    ".prom": _openmetrics,
}


def check_suffix(path: Path) -> None:
    """Refuse a file whose suffix no writer has.

    Raises:
        ValueError: No writer has it; the text names the suffixes that exist.
    """
    if path.suffix not in WRITERS:
        raise ValueError(f"a file name that ends in {', '.join(WRITERS)}")


def write_report(path: Path, document: Mapping[str, Any]) -> None:
    """Write a report in the format of its suffix, whole or not at all.

    Raises:
        ReportError: It cannot be written; an existing file is unchanged.
    """
    write_output(path, WRITERS[path.suffix](document))


def read_document(path: Path) -> Document:
    """Return the document in a `.json` report.

    Raises:
        ReportError: It cannot be read, is not a report, or has an unsupported format.
    """
    facts = {"file": str(path)}
    try:
        text = path.read_bytes()
    except (FileNotFoundError, IsADirectoryError) as error:
        is_empty = path.is_dir() and not any(path.glob("*.json"))
        # A shell passes on a pattern that matches nothing.
        if not (has_magic(str(path)) or is_empty):
            raise _unreadable(path, error) from error
        where = f"the folder {path} has none" if is_empty else f"no file matches {path}"
        raise ReportError(
            f"no report was found: {where}",
            fix="Check that a job wrote a report, also one whose tests failed, and that its files "
            "are in this folder.",
            facts=facts,
        ) from error
    except OSError as error:
        raise _unreadable(path, error) from error
    try:
        content = parse_json(text)
        written_by = str(content.get("written_by"))[:80] if isinstance(content, dict) else ""
        if "pytest-trt" not in written_by.split():
            raise ReportError(
                f"{path} is not a report of pytest-trt", fix=_WRITE, code="TRT902", facts=facts
            )
        schema = schema_of(content)
        if schema != REPORT_SCHEMA:
            raise ReportError(
                f"the report {path} has format {schema}, written by {written_by}; this "
                f"version of pytest-trt reads format {REPORT_SCHEMA}",
                fix="Use one version of pytest-trt for all reports: update the older one.",
                code="TRT903",
                facts={**facts, "format": schema, "supported": REPORT_SCHEMA},
            )
        # Fields of a newer version that are no part of this one's types end here.
        document: Document = to_data(from_data(Report, content, ignore_unknown=True))
        _correct_statuses(document)
    except RecordError as error:
        raise ReportError(
            f"{path} is not a valid report: {error}",
            fix=_WRITE,
            code="TRT902",
            facts={**facts, "problem": str(error)},
        ) from error
    return document


def _correct_statuses(document: Document) -> None:
    """Correct tests that older versions called not measured or inconclusive, and pytest failed."""
    for test in document["tests"]:
        was = test["status"]
        if test["outcome"] == "failed" and was in ("not measured", "inconclusive"):
            test.update(status="failed", judged=False)
            counts = document["runs"][test["run"]]["counts"]
            counts[was], counts["failed"] = counts.get(was, 1) - 1, counts.get("failed", 0) + 1


def _unreadable(path: Path, error: OSError) -> ReportError:
    return ReportError(
        f"the report {path} cannot be read: {error.strerror}", fix=_WRITE, facts={"file": str(path)}
    )
