"""The one way in which the plugin fails a test: by a text for whoever has to act on it."""

from __future__ import annotations

import os

import pytest


class PluginFailure(pytest.fail.Exception):  # type: ignore[misc, name-defined]
    """A failure that is shown by its text alone, as pytest.fail shows one.

    Args:
        text: What happened, and what to do.
        pytrace: Whether pytest is to show how the test came to it as well.
    """

    # As pytest calls its own: a longer name would cost the short summary the fact behind it.
    __module__, __qualname__ = "builtins", "Failed"

    def __init__(self, text: str, *, pytrace: bool = False) -> None:
        # pytest declares its exceptions in a way that hides their parameters from type checkers.
        pytest.fail.Exception.__init__(self, text, pytrace)


class CheckFailure(PluginFailure, AssertionError):
    """A check that does not pass: an AssertionError to whoever asks.

    Such as `xfail(raises=AssertionError)`.
    """

    __module__, __qualname__ = "builtins", "Failed"


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
