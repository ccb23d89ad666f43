"""Faults of the plugin itself: they end no run without a test of ours, and turn no other green."""

from __future__ import annotations

import sys
import traceback
import warnings
from collections.abc import Iterable

import pytest

from pytest_trt.diagnostics import PytestTrtWarning
from pytest_trt.escaping import block, terminal

_WARNED_KEY = pytest.StashKey[bool]()

#: What pytest raises to end a run on purpose.
ON_PURPOSE = (pytest.UsageError, pytest.exit.Exception)


def warn(config: pytest.Config) -> None:
    """Warn of the exception that is being handled; once in a run, whatever the warning filters."""
    if _WARNED_KEY in config.stash:
        return
    config.stash[_WARNED_KEY] = True
    kind, error, trace = sys.exc_info()
    place = traceback.extract_tb(trace)[-1]
    what = traceback.format_exception_only(kind, error)[-1].strip()
    text = terminal(
        f"pytest-trt failed ({what}, {place.filename}:{place.lineno}); "
        "no test of this run needs it. Please report this; `-p no:trt` switches it off."
    )
    try:
        warnings.warn(PytestTrtWarning(text), stacklevel=2)
    except PytestTrtWarning:  # for -W error
        sys.stderr.write(f"{text}\n")


def fail_collection(items: list[pytest.Item], ours: Iterable[pytest.Item]) -> None:
    """Fail the modules and classes of some tests with the exception that is being handled."""
    text, dropped = block(traceback.format_exc()), set(ours)
    items[:] = [item for item in items if item not in dropped]
    for collector in dict.fromkeys(item.parent for item in dropped):
        assert collector is not None
        report = pytest.CollectReport(collector.nodeid, "failed", text, [])
        collector.ihook.pytest_collectreport(report=report)


def fail_run(session: pytest.Session) -> str:
    """Fail a run with the exception that is being handled, and return its traceback."""
    if session.exitstatus == pytest.ExitCode.OK:
        session.exitstatus = pytest.ExitCode.TESTS_FAILED
    return block(traceback.format_exc())
