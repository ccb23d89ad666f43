from __future__ import annotations

import math

import numpy as np
import pytest

from pytest_trt.precision.error import output_errors, worst_of
from pytest_trt.tensors.spec import TensorSpec

SPECS = [TensorSpec("y", "float32", ("n",)), TensorSpec("label", "int64", ("n",))]


def errors(actual, reference):
    labels = np.arange(2)
    (found,) = output_errors(
        {"y": np.array(actual, np.float32), "label": labels + 1},
        {"y": np.array(reference, np.float32), "label": labels},
        SPECS,
    )
    return found


def test_error_is_relative_to_the_size_of_the_output() -> None:
    found = errors([3.0, 4.5], [3.0, 4.0])
    assert found.max_abs == 0.5
    assert found.relative_l2 == pytest.approx(0.1)
    assert found.cosine == pytest.approx(0.9975, abs=1e-3)


def test_equal_outputs_have_no_error() -> None:
    found = errors([0.0, 0.0], [0.0, 0.0])
    assert (found.max_abs, found.relative_l2, found.cosine) == (0.0, 0.0, 1.0)


def test_what_is_finite_in_fp32_alone_is_infinitely_far() -> None:
    assert errors([np.inf, 1.0], [70000.0, 1.0]).relative_l2 == math.inf
    assert errors([1.0], [1.0, 2.0]).max_abs == math.inf


def test_outputs_without_finite_values_have_no_error_of_0() -> None:
    for actual, reference in (
        ([np.nan], [np.nan]),
        ([1.0, 2.0], [np.nan, 2.0]),
        ([np.inf, 1.0], [-np.inf, 1.0]),
    ):
        found = errors(actual, reference)
        assert (found.relative_l2, found.max_abs, found.cosine) == (math.inf, math.inf, 0.0)


def test_what_is_infinite_in_both_is_left_out() -> None:
    assert errors([np.inf, 1.0], [np.inf, 1.0]).relative_l2 == 0.0


def test_worst_of_several_runs_is_taken_figure_by_figure() -> None:
    one, other = errors([1.0, 2.0], [1.0, 1.0]), errors([10.0, 10.5], [10.0, 10.0])
    (worst,) = worst_of([[one], [other]])
    assert (worst.max_abs, worst.cosine) == (1.0, one.cosine)
