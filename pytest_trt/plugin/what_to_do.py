"""The last section below the tests: why tests failed, each reason once, and what to do."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import pytest

from pytest_trt.plugin.wrapping import write_prose
from pytest_trt.report.causes import cause_lines, causes_of
from pytest_trt.report.record import TestRecord
from pytest_trt.report.result import results_of
from pytest_trt.report.status import Status


class FailureSummary(NamedTuple):
    """A failure that says what to do.

    Attributes:
        text: All of it.
        record: What was recorded of the test, if anything was.
    """

    text: str
    record: TestRecord | None


def write_what_to_do(
    reporter: pytest.TerminalReporter, failures: Mapping[str, FailureSummary]
) -> None:
    """Write the section, where failures above need it: several, or tables below them.

    Args:
        reporter: Where to.
        failures: By test.
    """
    timed = any(
        speed.calls
        for one in failures.values()
        for speed in (one.record.speeds if one.record else ())
    )
    if len(failures) < 2 and not timed:
        return
    tests = [
        {
            "id": nodeid,
            "failure": one.text,
            "results": results_of(one.record, Status.FAILED) if one.record else [],
            "model": "",
        }
        for nodeid, one in failures.items()
    ]
    causes = causes_of(tests)
    if not causes:
        return
    reporter.write_sep("=", "trt: what to do", red=True)
    for line in cause_lines(causes, tests):
        write_prose(reporter, line)
