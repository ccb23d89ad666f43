"""A plugin of its own for `pytest-trt baseline prune`: tells which tests there are.

It is told of every test before any is deselected, so `-k`, `-m` and what a conftest leaves out do
not make a test look gone. It needs nothing of pytest-trt's plugin and runs no test.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

from pytest_trt.baseline.orphans import ANSWER_VARIABLE


class _Collected:
    """Keeps what was collected, and what could not be."""

    def __init__(self) -> None:
        self.tests: list[str] = []
        self.errors: list[str] = []

    def pytest_itemcollected(self, item: pytest.Item) -> None:
        """Keep a test."""
        self.tests.append(item.nodeid)

    def pytest_collectreport(self, report: pytest.CollectReport) -> None:
        """Keep a file that could not be collected, or was skipped as a whole."""
        if not report.passed:
            self.errors.append(report.nodeid)

    def pytest_collection_finish(self, session: pytest.Session) -> None:
        """Write what is known."""
        content: dict[str, Any] = {
            "root": str(session.config.rootpath),
            "tests": self.tests,
            "errors": self.errors,
        }
        Path(os.environ[ANSWER_VARIABLE]).write_text(json.dumps(content), encoding="utf-8")


def pytest_configure(config: pytest.Config) -> None:
    """Listen."""
    config.pluginmanager.register(_Collected(), "trt-collected")
