"""Sentences fitted into the terminal; files and pipes are given them as they are."""

from __future__ import annotations

import shutil
import sys
from typing import Any

import pytest

from pytest_trt.diagnostics import PytestTrtError
from pytest_trt.report.wrap import wrapped


class _CollectionError(str):
    """A text that can be shown in another way, which what pytest keeps of such an error cannot."""

    def toterminal(self, out: Any) -> None:
        out.line(self)


def wrap_on_terminal(
    report: pytest.TestReport | pytest.CollectReport, config: pytest.Config
) -> None:
    """Have a failure's text broken between words when the terminal shows it."""
    reporter = config.pluginmanager.get_plugin("terminalreporter")
    shown: Any = report.longrepr
    if reporter is None or not reporter.isatty:
        return
    if isinstance(shown, str):
        report.longrepr = shown = _CollectionError(shown)
    if not hasattr(shown, "toterminal"):
        return
    # The text of the report itself begins with the worker's line, which pytest writes anyhow.
    text, as_it_was, writer = str(shown), shown.toterminal, config.get_terminal_writer()

    def toterminal(out: Any) -> None:
        # Whoever makes a string of it, junit for one, brings a writer of its own.
        if out is writer:
            out.line(wrapped(text, out.fullwidth))
        else:
            as_it_was(out)

    shown.toterminal = toterminal


def write_prose(reporter: pytest.TerminalReporter, text: str) -> None:
    """Write sentences below the tests, broken between words on a terminal.

    Args:
        reporter: Where to.
        text: Any number of lines, none of them a row of a table.
    """
    if reporter.isatty:
        text = wrapped(text, reporter.config.get_terminal_writer().fullwidth)
    reporter.write_line(text)


def usage_error(what: PytestTrtError | str) -> pytest.UsageError:
    """Return the error with which pytest ends before any test, to stand on standard error."""
    text = str(what)
    if sys.stderr is not None and sys.stderr.isatty():
        before = "ERROR: "  # pytest's own word
        text = wrapped(before + text, shutil.get_terminal_size().columns).removeprefix(before)
    return pytest.UsageError(text)
