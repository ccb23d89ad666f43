"""Warnings of results that a filter of warnings hides."""

from __future__ import annotations

import warnings
from collections.abc import Iterable
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from pytest_trt.diagnostics import Diagnostic, PytestTrtWarning

if TYPE_CHECKING:
    from pytest_trt.report.record import TestRecord, TestResult


def with_hidden_warnings(
    results: Iterable[TestResult], reporter: pytest.TerminalReporter
) -> list[TestResult]:
    """Return results in which warnings that pytest did not show are notes.

    A filter such as `ignore::UserWarning` is there for other packages, and an inconclusive result
    would be shown nowhere with -q. One that names `PytestTrtWarning` or the message hides it.
    """
    config = reporter.config
    options, ini = config.option.pythonwarnings or (), config.getini("filterwarnings")
    shown = "\n".join(str(one.message) for one in reporter.stats.get("warnings", ()))

    def is_hidden(note: Diagnostic, record: TestRecord) -> bool:
        # TRT677 is in "what to do". With -W error, others are failures.
        if note.severity != "warning" or note.code == "TRT677" or note.headline in shown:
            return False
        if any(_names(one, note) for one in (*ini, *record.warning_filters)):
            return False
        if any(_names(one, note, literal=True) for one in options):
            return False
        return all(one.headline != note.headline for one in record.diagnostics)

    found = []
    for result in results:
        record = result.record
        notes = tuple(
            replace(one, severity="note") if is_hidden(one, record) else one for one in record.notes
        )
        found.append(replace(result, record=replace(record, notes=notes)))
    return found


def _names(warning_filter: str, note: Diagnostic, *, literal: bool = False) -> bool:
    """Whether a filter hides warnings of this plugin, or one with this message, by name.

    Args:
        warning_filter: As pytest takes it.
        note: The warning.
        literal: Whether its message is the beginning of one, as of -W, and no pattern.
    """
    action, message, category = (*warning_filter.split(":"), "", "")[:3]
    if action.strip() != "ignore":
        return False
    if "PytestTrtWarning" in category or not message:
        return "PytestTrtWarning" in category
    if literal:
        return note.headline.lower().startswith(message.lower())
    with warnings.catch_warnings(record=True) as shown:
        warnings.simplefilter("always")
        warnings.filterwarnings("ignore", message)
        warnings.warn_explicit(PytestTrtWarning(note.headline), None, "", 1)
    return not shown
