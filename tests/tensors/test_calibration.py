"""What is wrong with calibration data, and what runs feed beyond it."""

from __future__ import annotations

import json

import ml_dtypes
import numpy as np
import pytest

from pytest_trt.records import from_data, to_data
from pytest_trt.tensors.calibration import (
    FEWEST_INPUTS,
    CalibrationGatherer,
    CalibrationStatistics,
    RangeWatch,
    calibration_problems,
)
from pytest_trt.tensors.profiles import parse_profiles
from pytest_trt.tensors.seeded import inputs_digest
from pytest_trt.tensors.spec import TensorSpec

_SPECS = (
    TensorSpec("image", "float32", ("batch", 4)),
    TensorSpec("ids", "int64", ("batch", "length")),
)


def _images(rows: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).uniform(-1, 1, (rows, 4)).astype(np.float32)


def _statistics(samples, specs=_SPECS) -> CalibrationStatistics:
    gatherer = CalibrationGatherer(specs)
    for sample in samples:
        gatherer.add(sample, bytes.fromhex(inputs_digest(sample)))
    return gatherer.statistics()


def _sample(rows: int, seed: int = 0, length: int = 3) -> dict[str, np.ndarray]:
    return {"image": _images(rows, seed), "ids": np.ones((rows, length), np.int64)}


def _found(samples, profiles=(), specs=_SPECS):
    problems = calibration_problems(_statistics(samples, specs), profiles, "m.onnx int8")
    return {one.code: one for one in problems}


def test_representative_samples_have_no_problem() -> None:
    assert _found([_sample(10, seed) for seed in range(2)]) == {}


def test_statistics_are_those_of_all_samples() -> None:
    images = [np.array([[-2, 0, 0, 1]], np.float32), np.array([[3, 4, 0, -1]] * 2, np.float32)]
    samples = [{"image": one, "ids": np.zeros((len(one), 2), np.int64)} for one in images]
    found = _statistics(samples)
    assert (found.samples, found.rows, found.distinct) == (2, 3, 2)
    image = found.inputs["image"]
    assert (image.min, image.max, image.elements) == (-2, 4, 12)
    assert (image.zeros, image.negatives) == (4, 3)
    assert image.shapes == (((1, 4), 1), ((2, 4), 1))
    assert from_data(CalibrationStatistics, json.loads(json.dumps(to_data(found)))) == found


@pytest.mark.parametrize(
    ("dtype", "values", "ends"),
    [
        ("bfloat16", np.array([1, -2.5], ml_dtypes.bfloat16), (-2.5, 1)),
        ("bool", np.array([True, False]), (0, 1)),
        ("uint8", np.array([7, 255], np.uint8), (7, 255)),
        ("string", np.array(["a", "b"], object), (0, 0)),
        ("complex64", np.array([1j, 1], np.complex64), (0, 0)),
    ],
)
def test_every_type_has_statistics(dtype, values, ends) -> None:
    found = _statistics([{"x": values}], [TensorSpec("x", dtype, None)]).inputs["x"]
    assert (found.min, found.max) == ends
    assert found.is_quantised == (dtype == "bfloat16")


def test_a_constant_input_is_reported_where_it_has_a_range() -> None:
    constant = {**_sample(30), "image": np.full((30, 4), 0.5, np.float32)}
    problem = _found([constant])["TRT240"]
    assert "input 'image' is 0.5 in every element of 1 sample" in problem.message
    assert problem.severity == "warning"
    # One sample of another value is enough, and a constant index has no range.
    assert "TRT240" not in _found([constant, _sample(1)])


@pytest.mark.parametrize("rows", [1, FEWEST_INPUTS - 1, FEWEST_INPUTS])
def test_too_few_inputs_are_counted_by_row(rows: int) -> None:
    problem = _found([_sample(rows)]).get("TRT241")
    if rows >= FEWEST_INPUTS:
        assert problem is None
        return
    assert f"1 in {rows + 1}" in problem.message
    assert problem.facts["inputs"] == rows


def test_copies_are_not_more_inputs() -> None:
    copies = {name: np.repeat(one[:1], 40, axis=0) for name, one in _sample(1).items()}
    found = _found([copies])
    assert "39 of 40 calibration inputs repeat others" in found["TRT243"].message
    assert found["TRT241"].facts["inputs"] == 1


def test_a_few_copies_are_usual() -> None:
    samples = [_sample(1, seed) for seed in range(36)]
    assert "TRT243" not in _found([*samples, *samples[:4]])
    assert _found([*samples, *samples[:5]])["TRT243"].facts["repeated"] == 5


def test_inputs_without_a_common_batch_are_one_row() -> None:
    samples = [{**_sample(8), "ids": np.ones((3, 2), np.int64)}]
    assert _statistics(samples).rows == 1


def test_shapes_that_no_profile_allows_are_counted() -> None:
    ranges = {"image": ((1, 4), (2, 4), (4, 4)), "ids": ((1, 2), (2, 4), (4, 8))}
    profiles = parse_profiles(ranges, _SPECS, where="test")
    # A batch beyond the profile changes no range.
    samples = [_sample(10), _sample(10, 1, length=8), _sample(10, 2, length=9)]
    assert _found(samples[:2], profiles) == {}
    problem = _found(samples, profiles)["TRT245"]
    assert (problem.facts["excluded"], problem.facts["shape"]) == (1, [10, 9])
    assert "1 of 3 calibration samples" in problem.message


def _watched(*runs: np.ndarray, calibrated: np.ndarray | None = None):
    images = _images(30) if calibrated is None else calibrated
    watch = RangeWatch(_statistics([{"image": images, "ids": np.ones((30, 1), np.int64)}]))
    for images in runs:
        watch.add({"image": images, "ids": np.full((1, 1), 99)})
    return watch.outside()


def test_values_within_an_int8_step_are_inside() -> None:
    images = _images(30)
    assert _watched(images, images * (1 + 1 / 128)) == ()


def test_values_beyond_the_range_are_counted_by_run_and_element() -> None:
    inside, beyond = _images(30), _images(30)
    beyond[3, 2] = 1.7
    beyond[4, 0] = -1.5
    (found,) = _watched(inside, beyond)
    assert (found.runs, found.runs_outside, found.elements, found.outside) == (2, 1, 240, 2)
    assert found.fed == (-1.5, pytest.approx(1.7))
    problem = found.diagnostic("m.onnx int8")
    assert problem.code == "TRT244"
    assert "0.833% of its elements outside the calibrated range, in 1 of 2 runs" in problem.message


def test_one_element_of_many_is_what_calibration_clips_on_purpose() -> None:
    many = np.zeros((10_000, 4), np.float32)
    many[0, :3] = 2
    assert _watched(many) == ()
    many[1, :2] = 2
    assert len(_watched(many)) == 1


def test_a_range_below_half_of_what_is_fed_is_too_narrow() -> None:
    (found,) = _watched(_images(30), calibrated=np.abs(_images(30)) * 0.4)
    problem = found.diagnostic("m.onnx int8")
    assert problem.code == "TRT242"
    assert problem.facts["covered_pct"] == pytest.approx(100 * found.covered)
    assert found.covered < 0.25


def test_what_is_not_finite_leaves_figures_that_json_can_hold() -> None:
    (found,) = _watched(np.array([[np.inf, np.nan, 0, 0.5]], np.float32))
    assert found.outside == 1
    assert found.fed == (0, 0.5)
