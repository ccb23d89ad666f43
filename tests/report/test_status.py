from __future__ import annotations

import pytest
from builders_report import check, engine, reported, skipped, speed

from pytest_trt.report.record import TestRecord
from pytest_trt.report.status import Phase, PhaseOutcomes, Status, is_judged, status_of


def of(found: PhaseOutcomes | None, *, selected: bool = True) -> str:
    return status_of(found, selected=selected).value


def test_passed_failed_skipped_and_error_are_pytest_s_own() -> None:
    assert of(reported()) == "passed"
    assert of(reported("failed")) == "failed"
    assert of(skipped("no GPU")) == "skipped"
    assert of(PhaseOutcomes({"setup": Phase("failed")})) == "error"
    assert of(PhaseOutcomes({"setup": Phase("passed"), "crash": Phase("failed")})) == "error"


def test_failing_to_tear_down_what_passed_is_an_error() -> None:
    found = reported()
    found.phases["teardown"] = Phase("failed")
    assert of(found) == "error"


def test_test_without_a_report_was_deselected_or_not_reached() -> None:
    assert of(None, selected=False) == "deselected"
    assert of(None) == "not run"
    assert of(PhaseOutcomes({"setup": Phase("passed")})) == "not run"


@pytest.mark.parametrize(
    ("verdict", "judged"),
    [
        ("regressed", True),
        ("inconclusive", False),
        ("not comparable", False),
        ("not measured", False),
    ],
)
def test_what_pytest_counts_as_failed_is_failed_and_shows_whether_that_is_a_verdict(
    verdict: str, judged: bool
) -> None:
    found = reported("failed", speeds=(speed(verdict=verdict),), failed_by_checks=True)
    assert of(found) == "failed"
    assert is_judged(found, Status.FAILED) is judged


def test_test_that_fails_by_itself_has_failed_whatever_its_checks_say() -> None:
    assert of(reported("failed", speeds=(speed(verdict="inconclusive"),))) == "failed"


def test_test_that_never_made_its_check_failed_without_a_verdict() -> None:
    made_none = reported("failed", engines=(), failed_by_checks=True)
    made_one = reported("failed", checks=(check(),), failed_by_checks=True)
    for found in (made_none, made_one):
        assert (of(found), is_judged(found, Status.FAILED)) == ("failed", False)


def test_passing_for_pytest_is_not_enough() -> None:
    assert (
        of(reported(speeds=(speed(verdict="inconclusive"),), checks=(check(),))) == "inconclusive"
    )
    assert of(reported(speeds=(speed(verdict="not measured"),))) == "not measured"


def test_expected_failure_is_a_verdict_unless_it_was_not_run() -> None:
    xfailed = PhaseOutcomes({"setup": Phase("passed"), "call": Phase("skipped", xfail="known")})
    assert of(xfailed) == "xfailed"
    assert of(PhaseOutcomes({"setup": Phase("skipped", xfail="[NOTRUN] known")})) == "skipped"


def test_every_status_has_another_word() -> None:
    assert len({one.value for one in Status}) == len(Status)
    assert TestRecord(engines=(engine(),)).failed_by_checks is False
