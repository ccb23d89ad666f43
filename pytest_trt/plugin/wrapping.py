"""Failures of checks, fitted into the terminal; files and pipes are given them as they are."""

from __future__ import annotations

from typing import Any

import pytest

from pytest_trt.report.wrap import wrapped


def wrap_on_terminal(report: pytest.TestReport, config: pytest.Config) -> None:
    """Have a failure's text broken between words when the terminal shows it."""
    reporter = config.pluginmanager.get_plugin("terminalreporter")
    shown: Any = report.longrepr
    if reporter is None or not reporter.isatty or not hasattr(shown, "toterminal"):
        return
    text, as_it_was, writer = report.longreprtext, shown.toterminal, config.get_terminal_writer()

    def toterminal(out: Any) -> None:
        # Whoever makes a string of it, junit for one, brings a writer of its own.
        if out is writer:
            out.line(wrapped(text, out.fullwidth))
        else:
            as_it_was(out)

    shown.toterminal = toterminal
