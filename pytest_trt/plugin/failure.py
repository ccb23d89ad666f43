"""The one way in which the plugin fails a test: an exception that carries diagnostics."""

from __future__ import annotations

import os
from collections.abc import Sequence

import pytest

from pytest_trt.diagnostics import Diagnostic, PytestTrtError


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
        text = "\n\n".join(map(str, diagnostics))
        text += "".join(f"\nnote: {note.message}" for note in notes)
        # pytest declares its exceptions in a way that hides their parameters from type checkers.
        pytest.fail.Exception.__init__(self, text, pytrace)
        self.diagnostics = diagnostics


class CheckFailure(PluginFailure, AssertionError):
    """A check that does not pass: an AssertionError to whoever asks.

    Such as `xfail(raises=AssertionError)`.
    """

    __module__, __qualname__ = "builtins", "Failed"


def diagnostics_of(error: BaseException) -> tuple[Diagnostic, ...]:
    """Return what an exception reports as data; nothing for those that are not the plugin's."""
    if isinstance(error, PytestTrtError):
        return (error.diagnostic,)
    return error.diagnostics if isinstance(error, PluginFailure) else ()


def place_at_test(item: pytest.Item, report: pytest.TestReport) -> None:
    """Let a failure stand at its test, where editors and `--tb=line` send whoever reads it.

    By itself pytest names the line of the plugin that raised it, for all tests the same. And where
    it repeats all of a failure, as the short summary of CI does, the fact and what to do suffice:
    the figures are indented below.
    """
    crash = getattr(report.longrepr, "reprcrash", None)
    path, line, _ = item.reportinfo()
    if crash is not None:
        crash.path, crash.lineno = os.fspath(path), (line or 0) + 1
        told = crash.message.split("\n")
        crash.message = "\n".join(line for line in told if line and not line.startswith(" "))
    report.trt_told = True  # type: ignore[attr-defined]
