"""The example classifier in INT8: right with representative calibration data, wrong without."""

from __future__ import annotations

import builders_calibrated as calibrated
import pytest


@pytest.mark.exhaustive
def test_representative_data_loses_less_than_half_a_point_and_one_class_fails(
    pytester, at_once, monkeypatch
) -> None:
    monkeypatch.chdir(pytester.path)
    options = ("--trt-arch=cpu", "--trt-cache-dir=cache", "--trt-localize=never")
    calibrated.lay_out(pytester.path, tuple(range(10)))
    pytester.runpytest_inprocess(*options).assert_outcomes(passed=2)
    calibrated.lay_out(pytester.path, (3,))
    result = pytester.runpytest_inprocess(*options)
    result.stdout.fnmatch_lines(["FAILED *::test_same_answers - logits: *over tolerance*"])
