"""The one way in which the plugin fails a test: an exception that carries diagnostics."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from pytest_trt.diagnostics import Diagnostic, PytestTrtError, failure_lines
from pytest_trt.plugin.state import state_of


class PluginFailure(pytest.fail.Exception):  # type: ignore[misc, name-defined]
    """A failure that is shown by its text alone, as pytest.fail shows one.

    Args:
        diagnostics: Why the test fails, the worst first.
        notes: What else its reader has to know.
        pytrace: Whether pytest also shows the traceback.
    """

    # As pytest calls its own: a longer name would cost the short summary the fact behind it.
    __module__, __qualname__ = "builtins", "Failed"

    def __init__(
        self,
        *diagnostics: Diagnostic,
        notes: Sequence[Diagnostic] = (),
        pytrace: bool = False,
    ) -> None:
        text = "\n".join(failure_lines(diagnostics, notes))
        # pytest declares its exceptions in a way that hides their parameters from type checkers.
        pytest.fail.Exception.__init__(self, text, pytrace)
        self.diagnostics = diagnostics


class CheckFailure(PluginFailure, AssertionError):
    """A check that fails; also an AssertionError, for `xfail(raises=AssertionError)`."""

    __module__, __qualname__ = "builtins", "Failed"


def skips() -> tuple[type[BaseException], ...]:
    """Return the exceptions that skip a test: pytest's own, and unittest's where it is loaded."""
    unittest = sys.modules.get("unittest")
    return (pytest.skip.Exception, *([unittest.SkipTest] if unittest is not None else ()))


def diagnostics_of(error: BaseException) -> tuple[Diagnostic, ...]:
    """Return what an exception reports as data; nothing for those that are not the plugin's."""
    if isinstance(error, PytestTrtError):
        return (error.diagnostic,)
    return error.diagnostics if isinstance(error, PluginFailure) else ()


def _line(item: pytest.Item, path: str, diagnostics: Sequence[Diagnostic]) -> int:
    """Return the line of the test's file that ran or timed what failed; 0 where it is unknown."""
    facts = diagnostics[0].facts if diagnostics else {}
    line = facts.get("line")
    if isinstance(line, int) and facts.get("file") == Path(path).name:
        return line
    timed = state_of(item).timed_at
    return timed.line if timed is not None and timed.file == path else 0


def _add_location(config: pytest.Config, shown: Any, path: Path, line: int) -> None:
    """End a failure with "test_it.py:12: Failed", as pytest ends others; editors make it a link."""
    from _pytest._code.code import ReprFileLocation  # pytest exports no other way

    entries = getattr(getattr(shown, "reprtraceback", None), "reprentries", ())
    if entries:
        relative = os.path.relpath(path, config.invocation_params.dir)
        entries[-1].reprfileloc = ReprFileLocation(relative, line, PluginFailure.__qualname__)


def place_at_test(
    item: pytest.Item, report: pytest.TestReport, diagnostics: Sequence[Diagnostic]
) -> None:
    """Place a failure at the line of its test that failed, where editors and `--tb=line` lead.

    pytest itself names the line of the plugin that raised it, the same for all tests. Where it
    repeats the failure, as in the short summary on CI, the first line suffices.
    """
    crash = getattr(report.longrepr, "reprcrash", None)
    path, first, _ = item.reportinfo()
    line = _line(item, os.fspath(path), diagnostics) or (first or 0) + 1
    if crash is not None:
        crash.path, crash.lineno = os.fspath(path), line
        _add_location(item.config, report.longrepr, Path(path), line)
        crash.message = next(failure_lines(diagnostics))
    report.trt_text_only = True  # type: ignore[attr-defined]
