"""Sums and extremes of the blocks of an output, of which a part may not be finite."""

from __future__ import annotations

import math

import numpy as np

from pytest_trt.accuracy.sketch import block_statistics, sketch_of
from pytest_trt.accuracy.stored import compare_stored
from pytest_trt.accuracy.tolerance import Tolerance


def test_a_block_without_finite_elements_has_no_extremes() -> None:
    values = np.array([1, 2, np.nan, np.inf, -np.inf, 3], np.float32)
    sums, magnitudes, least, largest, nonfinite = block_statistics(values, 3)
    assert sums.tolist() == [3, 0, 3]
    assert magnitudes.tolist() == [3, 0, 3]
    assert least.tolist() == [1, math.inf, 3]
    assert largest.tolist() == [2, -math.inf, 3]
    assert nonfinite.tolist() == [[0, 0, 0], [1, 1, 0], [0, 0, 1]]


def test_an_output_with_a_block_of_nan_agrees_with_its_sketch_alone() -> None:
    values = np.random.default_rng(0).normal(size=(400, 1000)).astype(np.float32)
    values[:40] = np.nan
    stored, same = {"y": sketch_of(values, 20_000)}, {"y": Tolerance(0.0, 1e-3, nan="match")}
    assert compare_stored({"y": values}, stored, same).passed
    assert not compare_stored({"y": np.nan_to_num(values)}, stored, same).passed
