"""A separate plugin for `pytest-trt baseline prune`, which writes the tests that exist to a file.

It sees every test before any is deselected, so `-k`, `-m` and hooks of a conftest do not make a
test look missing. It does not depend on pytest-trt's own plugin, and runs no test.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

from pytest_trt.baseline.orphans import ANSWER_VARIABLE


class _Collected:
    """The tests that were collected, and what could not be."""

    def __init__(self) -> None:
        self.tests: list[str] = []
        self.errors: list[str] = []

    def pytest_itemcollected(self, item: pytest.Item) -> None:
        """Add a test."""
        self.tests.append(item.nodeid)

    def pytest_collectreport(self, report: pytest.CollectReport) -> None:
        """Add a file that could not be collected, or was skipped as a whole."""
        if not report.passed:
            self.errors.append(report.nodeid)

    def pytest_collection_finish(self, session: pytest.Session) -> None:
        """Write the answer."""
        content: dict[str, Any] = {
            "root": str(session.config.rootpath),
            "tests": self.tests,
            "errors": self.errors,
        }
        Path(os.environ[ANSWER_VARIABLE]).write_text(json.dumps(content), encoding="utf-8")


def pytest_configure(config: pytest.Config) -> None:
    """Listen."""
    config.pluginmanager.register(_Collected(), "trt-collected")
