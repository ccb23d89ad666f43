from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from builders_report import check

from pytest_trt.accuracy.compare import compare_outputs
from pytest_trt.accuracy.one_value import passed_by_one_value
from pytest_trt.accuracy.result import AccuracyResult, MetricOutcome, merge_runs
from pytest_trt.accuracy.tolerance import Tolerance

LOOSE = Tolerance(0.1, 0.1)
METRIC = MetricOutcome("snr_db", "y", "dB", ">=", 40.0, 50.0)


def compared(
    *runs: list[float], tolerance: Tolerance = LOOSE, metrics: tuple[MetricOutcome, ...] = ()
) -> AccuracyResult:
    results = [compare_outputs(*[{"y": np.array(run)}] * 2, {"y": tolerance}) for run in runs]
    return replace(check(outputs=merge_runs(results).outputs), metrics=metrics)


@pytest.mark.parametrize(
    ("checks", "value"),
    [
        ([compared([0.0, 0.1])], 0.0),
        ([compared([-0.1, 0.1])], 0.0),
        ([compared([1.0, 1.2])], 1.09),
        ([compared([0.0], [0.05], [])], 0.0),
        ([compared([0.0, 0.1]), compared([0.05, 0.0])], 0.0),
        ([compared([2.0, 2.0], tolerance=Tolerance(0, 0, elementwise=False, cosine=0.9))], 2.0),
        ([compared([2.0, 2.0], metrics=(METRIC,))], 2.0),
        ([compared([-5.0, 5.0], tolerance=Tolerance(1.0, 0.0))], 0.0),
    ],
)
def test_one_value_in_all_elements_would_pass(checks: list[AccuracyResult], value: float) -> None:
    (found,) = passed_by_one_value(checks)
    assert found.value == pytest.approx(value)
    for one in checks:
        (output,) = one.outputs
        sides = np.full(2, found.value), np.array([found.least, found.largest])
        assert compare_outputs(*sides, replace(output.tolerance, elementwise=True))


PEAKS = [0.0] * 60 + [0.05] * 35 + [0.9] * 5


@pytest.mark.parametrize(
    ("run", "fields", "bounds"),
    [
        (PEAKS, {}, (0.0, 0.05, 0.0)),
        ([one + 5.0 for one in PEAKS], {"rtol": 0.0}, (5.0, 5.05, 5.025)),
        ([*PEAKS, 0.9], {}, None),
        (PEAKS, {"cosine": 0.9}, None),
        (PEAKS, {"elementwise": False, "cosine": 0.9}, None),
        ([*PEAKS[:-1], np.inf], {"nan": "match"}, None),
    ],
)
def test_elements_that_may_differ_do_not_hide_that_one_value_would_pass(
    run: list[float], fields: dict, bounds: tuple[float, ...] | None
) -> None:
    tolerance = replace(LOOSE, max_mismatch_pct=5.0, **fields)
    found = passed_by_one_value([compared(run, tolerance=tolerance)])
    assert [(one.least, one.largest, one.value) for one in found] == ([bounds] if bounds else [])
    zeros = {"y": np.full(len(run), bounds[2] if bounds else 0.0)}
    assert compare_outputs(zeros, {"y": np.array(run)}, {"y": tolerance}).passed == bool(bounds)
    assert passed_by_one_value([compared(run, tolerance=tolerance, metrics=(METRIC,))]) == []


@pytest.mark.parametrize(
    ("runs", "fields", "value"),
    [
        ([[4.0, 5.0, 6.0], [4.5, 5.5, 6.5]], {}, 5.25),
        ([[-4.0, -5.0, -6.0]], {}, -5.0),
        ([[4.0, 5.0, 6.0], [0.0, 0.0, 6.0]], {}, None),
        ([[-4.0, 5.0, 6.0]], {"cosine": 0.1}, None),
        ([[4.0, 5.0, 6.0], [-4.0, -5.0, -6.0]], {}, None),
        ([[4.0, 5.0, 6.0]], {"cosine": 0.999}, None),
        ([[4.0, 5.0, 6.0]], {"elementwise": True}, None),
        ([[4.0, 5.0, 6.0]], {"top1": 0.9}, None),
    ],
)
def test_one_value_may_have_the_direction_of_an_output(
    runs: list[list[float]], fields: dict, value: float | None
) -> None:
    tolerance = Tolerance(
        **{"rtol": 0.0, "atol": 0.0, "elementwise": False, "cosine": 0.95} | fields
    )
    of_rows = [[run] for run in runs]
    found = passed_by_one_value([compared(*of_rows, tolerance=tolerance)])
    assert [one.value for one in found] == ([] if value is None else [value])
    for run in of_rows if value else ():
        sides = [{"y": np.full((1, 3), value)}, {"y": np.array(run)}]
        assert compare_outputs(*sides, {"y": tolerance}).passed
    assert not passed_by_one_value([compared(*of_rows, tolerance=tolerance, metrics=(METRIC,))])


@pytest.mark.parametrize(
    "checks",
    [
        [compared([0.0, 0.5])],
        [compared([1.0, 2.0])],
        [compared([0.5])],
        [compared([0.5], [0.5])],
        [compared([])],
        [compared([0.0, 0.1]), compared([0.0, 0.5])],
        [compared([0.0, 0.0]), compared([1.0, 1.0])],
        [compared([0.0, 0.1], tolerance=Tolerance(0.1, 0.1, cosine=0.9))],
        [compared([0.0, 0.1], metrics=(METRIC,))],
        [compared([0.0, 0.1], metrics=(replace(METRIC, output=""),))],
        [compared([np.nan, 0.0], tolerance=Tolerance(0.1, 0.1, nan="match"))],
    ],
)
def test_no_value_in_all_elements_would_pass(checks: list[AccuracyResult]) -> None:
    assert passed_by_one_value(checks) == []


def test_an_output_of_which_a_sketch_is_stored_has_no_range() -> None:
    (output,) = compared([0.0, 0.1]).outputs
    unknown = replace(output, least=None, largest=None)
    assert passed_by_one_value([check(outputs=(output,)), check(outputs=(unknown,))]) == []
