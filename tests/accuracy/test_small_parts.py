"""Scores beside coordinates: what one tolerance for both does not test."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from builders_report import check

from pytest_trt.accuracy.compare import compare_outputs, compare_values
from pytest_trt.accuracy.metric_checks import parse_metrics
from pytest_trt.accuracy.one_value import passed_by_zeros
from pytest_trt.accuracy.result import merge_runs
from pytest_trt.accuracy.small_parts import small_parts, with_zeros
from pytest_trt.accuracy.tolerance import Tolerance

PIXELS = Tolerance(0.01, 1.0)
COSINE = Tolerance(0.0, 0.0, elementwise=False, cosine=0.999)


def head(seed: int = 0, *, boxes: float = 300.0, scores: float = 0.9, axis: int = 1) -> np.ndarray:
    """Return an output of a detector, [2, 4 + 8, 50]: coordinates of boxes, and scores."""
    random = np.random.default_rng(seed).uniform(0.5, 1.0, (2, 12, 50))
    random[:, :4] *= boxes
    random[:, 4:] *= scores
    return np.moveaxis(random, 1, axis).astype(np.float32)


def unseen(*runs: np.ndarray, tolerance: Tolerance = PIXELS) -> list[tuple[int, tuple[int, ...]]]:
    results = [compare_outputs(*[{"y": run}] * 2, {"y": tolerance}) for run in runs]
    outputs = merge_runs(results).outputs
    found = passed_by_zeros([check(outputs=outputs)])
    return [(parts.axis, parts.indices) for _, parts in found]


@pytest.mark.parametrize("tolerance", [PIXELS, COSINE, replace(PIXELS, cosine=0.9)])
@pytest.mark.parametrize("axis", [1, 2])
def test_scores_that_pass_as_zeros_are_found(tolerance: Tolerance, axis: int) -> None:
    reference = head(axis=axis)
    assert unseen(reference, head(1, axis=axis), tolerance=tolerance) == [(axis, (*range(4, 12),))]
    (parts,) = small_parts(reference)
    dead = with_zeros(reference, parts)
    assert not dead.take(parts.indices, axis).any()
    assert compare_outputs({"y": dead}, {"y": reference}, {"y": tolerance}).passed


@pytest.mark.parametrize(
    ("run", "tolerance"),
    [
        (head(), Tolerance(0.01, 0.1)),  # zeros fail
        (head(), replace(PIXELS, top1=1.0)),
        (head(boxes=5.0), PIXELS),  # of one scale
        (head(boxes=1.0, scores=0.005), PIXELS),  # probabilities of classes that no input is of
        (head().repeat(9, axis=1), PIXELS),  # axis 1 is positions: silent frames
        (head()[0], PIXELS),  # a classifier
        (head()[:, :, :7], PIXELS),  # too few of each
        (head(scores=0.0), PIXELS),  # padding
        (head().astype(np.int32), PIXELS),
        (np.where(head() > 1, np.nan, head()), replace(PIXELS, nan="match")),
        (head()[:, :, :0], PIXELS),
    ],
)
def test_other_outputs_have_none(run: np.ndarray, tolerance: Tolerance) -> None:
    assert unseen(run, tolerance=tolerance) == []


def test_one_run_or_check_that_fails_for_zeros_is_enough() -> None:
    assert unseen(head(), head(scores=3.0)) == []
    some = head()
    some[:, 6] = 3.0  # beyond the tolerance, and of a class that only this run has
    assert unseen(head(), some) == []
    strict = compare_outputs(*[{"y": head()}] * 2, {"y": Tolerance(0.01, 0.01)}).outputs
    loose = compare_outputs(*[{"y": head()}] * 2, {"y": PIXELS}).outputs
    assert passed_by_zeros([check(outputs=loose)])
    assert not passed_by_zeros([check(outputs=loose), check(outputs=strict)])


@pytest.mark.parametrize(
    ("given", "found"),
    [
        ({"snr_db": ">= 40"}, True),
        ({"snr_db": ">= 60"}, False),
        ({"own": (lambda actual, reference: 0.0, "<= 1")}, False),  # functions are not tried
    ],
)
def test_metrics_are_tried_too(given: dict, found: bool) -> None:
    (parsed,) = parse_metrics(given, "marker").values()
    metric = replace(parsed, output="y")
    sides = [{"y": head()}] * 2
    outputs = compare_values(*sides, {"y": Tolerance(0.0, 0.0, elementwise=False)}).outputs
    outcome = metric.measure(*sides, {}, trial=True)
    assert outcome.unseen is found
    checks = [check(outputs=outputs, metrics=(outcome,))]
    assert bool(passed_by_zeros(checks)) is found
