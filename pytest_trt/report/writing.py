"""Reports as files: which writer a file's ending asks for, and how files come to be whole."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from pytest_trt.diagnostics import ReportError
from pytest_trt.files import atomic_write


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


#: What makes the text of a report, by the ending of its file.
WRITERS: Mapping[str, Callable[[Mapping[str, Any]], str]] = {
    ".json": json_text,
    ".html": _html,
    ".prom": _openmetrics,
}


def check_suffix(path: Path) -> None:
    """Refuse a file whose ending no writer has.

    Raises:
        ValueError: No writer has it; the text says which endings there are.
    """
    if path.suffix not in WRITERS:
        raise ValueError(f"a file that ends in {' or '.join(WRITERS)}")


def write_report(path: Path, document: Mapping[str, Any]) -> None:
    """Write a report as its ending asks for, whole or not at all.

    Raises:
        ReportError: It cannot be written; a file that was there is as it was.
    """
    text = WRITERS[path.suffix](document)
    try:
        atomic_write(path, text)
    except OSError as error:
        raise ReportError(
            f"the report {path} cannot be written: {error.strerror}.",
            fix="name a file in a folder that can be written, and see that there is space.",
        ) from error
