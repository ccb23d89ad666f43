"""What the tests of a run have recorded, in the one process that has it all."""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from pytest_trt.plugin.what_to_do import FailureSummary
    from pytest_trt.report.record import TestResult


class ResultCollector:
    """Keeps the records that reports bring, from this process or from xdist workers.

    Args:
        config: The run's configuration.

    Attributes:
        results: What was recorded of the tests.
        failed: Phases that failed, by test.
        written: What was done to baseline files, for people.
        not_written: Why baseline files could not be written.
    """

    def __init__(self, config: pytest.Config) -> None:
        self._config = config
        self.results: list[TestResult] = []
        self.failed: defaultdict[str, set[str]] = defaultdict(set)
        self.written: list[str] = []
        self.not_written = ""
        self._told: dict[str, FailureSummary] = {}

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Keep a report's record."""
        if report.failed:
            self.failed[report.nodeid].add(report.when or "")
        self._fit(report)
        data = getattr(report, "trt", None)
        record = None
        if data is not None:
            from pytest_trt.report.record import TestRecord

            record = TestRecord.from_dict(data)
        if report.failed and hasattr(report, "trt_told"):
            from pytest_trt.plugin.what_to_do import FailureSummary

            self._told[report.nodeid] = FailureSummary(report.longreprtext, record)
        # A plugin repeats the test: what counts is its last attempt, which names those before it.
        if record is not None and _outcome(report) != "rerun":
            from pytest_trt.report.record import TestResult

            # A check that never asked for an engine leaves nothing to sum up.
            if not (record.engines or record.unbuilt or record.speeds or record.skipped):
                return
            self.results.append(TestResult(report.nodeid, _outcome(report), record))

    @pytest.hookimpl(trylast=True)
    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        """Say at the end, below the tables of other plugins, what to do."""
        if self._told and terminalreporter.config.get_verbosity() >= -1:
            from pytest_trt.plugin.what_to_do import write_what_to_do

            write_what_to_do(terminalreporter, self._told)

    def pytest_collectreport(self, report: pytest.CollectReport) -> None:
        """Have what is wrong with markers fit into the terminal."""
        self._fit(report)

    def _fit(self, report: pytest.TestReport | pytest.CollectReport) -> None:
        if hasattr(report, "trt_told"):
            from pytest_trt.plugin.wrapping import wrap_on_terminal

            wrap_on_terminal(report, self._config)


def _outcome(report: pytest.TestReport) -> str:
    """What became of a test, with the words that pytest's own last line has for it."""
    if hasattr(report, "wasxfail"):
        return "xfailed" if report.skipped else "xpassed"
    if report.failed and report.when == "setup":
        return "error"
    return report.outcome
