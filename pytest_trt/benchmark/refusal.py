"""Benchmarks with nothing to compare with: whether that is allowed, and what is said."""

from __future__ import annotations

from dataclasses import replace

import pytest

from pytest_trt.baseline.entry import Entry
from pytest_trt.baseline.location import BaselineLocation
from pytest_trt.benchmark.result import BenchmarkResult
from pytest_trt.plugin.option_values import missing_baseline
from pytest_trt.plugin.settings import Settings
from pytest_trt.plugin.state import state_of
from pytest_trt.report.speed_text import update_command
from pytest_trt.statistics.limits import Limits
from pytest_trt.terms import Verdict


def refusal(
    item: pytest.Item,
    settings: Settings,
    limits: Limits,
    record: BenchmarkResult,
    entry: Entry | None,
    different: str | None,
    location: BaselineLocation,
) -> BenchmarkResult | None:
    """Return the record of a test that has nothing to compare with, and is to have it; else None.

    Args:
        item: The test.
        settings: What the options say.
        limits: Its limits.
        record: What is known of it.
        entry: Its baseline, if there is one.
        different: Why figures cannot be compared with that one, if they cannot.
        location: Where its baseline is stored.

    Raises:
        pytest.skip.Exception: There is no baseline, and such tests are to be skipped.
    """
    if settings.update or not limits.needs_baseline:
        return None
    if different is not None:
        return replace(
            record,
            verdict=Verdict.NOT_COMPARABLE.value,
            why=f"speed cannot be compared with its baseline: {different}, {record.file}",
            fix=f"measure what was measured then, or accept this: {update_command([item.nodeid])}",
        )
    if entry is not None or settings.calibrate:
        return None
    if settings.missing_baseline == "fail":
        why, fix = _missing(item, settings, location)
        return replace(record, why=why, fix=fix)
    if settings.missing_baseline == "skip" and not limits.has_standalone_limits:
        reason = f"no baseline in {record.file} (--trt-missing-baseline=skip)"
        state_of(item).skipped = reason
        pytest.skip(reason)
    return None


def _missing(item: pytest.Item, settings: Settings, location: BaselineLocation) -> tuple[str, str]:
    """Return why a test without a baseline fails, and what to do."""
    device, there, file = location.device, location.devices(), location.shown
    if device in there:
        why, tests = f"there is no baseline of speed of this test in {file}", item.nodeid
    else:
        for_others = f", but one for {', '.join(there)}" if there else ""
        why = f"there is no baseline of speed for this machine ({device}): {file}{for_others}"
        tests = item.nodeid.partition("::")[0]
    fix = (
        "record it on such a machine and commit the file (where only CI runners are such, run this "
        f'in a job that keeps the file as an artifact): pytest "{tests}" --trt-update-new'
    )
    return f"{why}; {_who_asks(settings)}", fix


def _who_asks(settings: Settings) -> str:
    if settings.selftest:
        return "--trt-selftest asks for one that exists"
    if missing_baseline("") == "fail":
        return "as CI is set, none is recorded by itself"
    return "--trt-missing-baseline=fail asks for one"
