"""Metrics of rows: distributions, rankings and tokens, by hand."""

from __future__ import annotations

import math

import ml_dtypes
import numpy as np
import pytest

from pytest_trt import metrics
from pytest_trt.diagnostics import ConfigurationError

INF, NAN = math.inf, math.nan
LN2 = math.log(2)


@pytest.mark.parametrize(
    ("outputs", "reference", "expected"),
    [
        ([0.5, 0.5], [0.5, 0.5], 0.0),
        # 0.75 ln(0.75/0.5) + 0.25 ln(0.25/0.5), and the other direction differs.
        ([0.5, 0.5], [0.75, 0.25], 0.75 * math.log(1.5) - 0.25 * LN2),
        ([0.75, 0.25], [0.5, 0.5], 0.5 * math.log(2 / 3) + 0.5 * LN2),
        ([[0.5, 0.5], [0.5, 0.5]], [[1.0, 0.0], [0.5, 0.5]], LN2 / 2),  # the mean of two rows
        ([1.0, 0.0], [0.5, 0.5], 11.5 * LN2),  # 0 counts as 2^-25
        ([1.0, 0.0], [1.0, 1e-9], 0.0),  # what float16 rounds to 0
        ([1, 0], [1, 0], 0.0),
        ([NAN, 1.0], [0.5, 0.5], NAN),
    ],
)
def test_kl_divergence_of_probabilities(outputs, reference, expected):
    found = metrics.kl_divergence(outputs, reference)
    assert found == pytest.approx(expected, nan_ok=True)


def test_rounded_probabilities_are_probabilities():
    reference = np.random.default_rng(0).dirichlet(np.ones(1000), size=4)
    outputs = reference.astype(ml_dtypes.bfloat16)
    assert 0.0 <= metrics.kl_divergence(outputs, reference) < 1e-4


@pytest.mark.parametrize(
    ("outputs", "what"),
    [([2.0, 3.0], "sums to 5"), ([1.5, -0.5], "negative"), ([INF, 0.0], "sums to inf")],
)
def test_logits_are_no_probabilities(outputs, what):
    with pytest.raises(ConfigurationError, match=what) as caught:
        metrics.kl_divergence(outputs, [0.5, 0.5])
    assert "kl_divergence_logits" in caught.value.fix


@pytest.mark.parametrize(
    ("outputs", "reference", "expected"),
    [
        ([0.0, 0.0], [math.log(3), 0.0], 0.75 * math.log(1.5) - 0.25 * LN2),
        ([100.0, 100.0], [math.log(3), 0.0], 0.75 * math.log(1.5) - 0.25 * LN2),
        ([0.0, -INF], [0.0, -INF], 0.0),  # a mask
        ([0.0, -INF], [0.0, 0.0], INF),
        ([0.0, 0.0], [0.0, -INF], LN2),
        ([-INF, -INF], [0.0, 0.0], NAN),
        ([INF, 0.0], [0.0, 0.0], NAN),
        ([NAN, 0.0], [0.0, 0.0], NAN),
        ([7, 7], [7, 7], 0.0),
        # e^60000 overflows whatever it is computed in.
        (np.float16([60000, 0]), np.float16([60000, 60000]), INF),
    ],
)
def test_kl_divergence_of_logits(outputs, reference, expected):
    found = metrics.kl_divergence_logits(outputs, reference)
    if expected == INF and isinstance(outputs, np.ndarray):
        assert found == pytest.approx(30000 - LN2)  # 0.5 (60000) - ln 2
    else:
        assert found == pytest.approx(expected, nan_ok=True)


def test_softmax_and_probabilities_agree():
    outputs, reference = np.random.default_rng(0).normal(size=(2, 5, 7))
    exps = [np.exp(side) for side in (outputs, reference)]
    one, other = (side / side.sum(-1, keepdims=True) for side in exps)
    assert metrics.kl_divergence_logits(outputs, reference) == pytest.approx(
        metrics.kl_divergence(one, other)
    )
    assert metrics.kl_divergence(one, other) == pytest.approx(
        sum(r * math.log(r / o) for r, o in zip(other.flat, one.flat, strict=True)) / 5
    )


@pytest.mark.parametrize(
    ("k", "expected"),
    [(1, 0.5), (2, (0.5 + 1.0) / 2), (3, 1.0)],
)
def test_topk_by_hand(k, expected):
    outputs = [[0.9, 0.5, 0.1, 0.0], [0.1, 0.2, 0.8, 0.0]]
    reference = [[0.1, 0.5, 0.9, 0.0], [0.1, 0.2, 0.9, 0.0]]
    assert metrics.topk(outputs, reference, k) == pytest.approx(expected)


def test_topk_edges():
    assert math.isnan(metrics.topk([[NAN, 1.0]], [[0.0, 1.0]]))
    assert math.isnan(metrics.topk([[0.0, 1.0]], [[NAN, 1.0]]))
    assert metrics.topk([[3, 4]], [[1, 2]]) == 1.0
    with pytest.raises(ConfigurationError, match="constant"):
        metrics.topk([[1.0, 2.0]], [[1.0, 1.0]])
    for k in (0, 2):
        with pytest.raises(ConfigurationError, match="classes"):
            metrics.topk([[1.0, 2.0]], [[1.0, 2.0]], k)


@pytest.mark.parametrize("function", [metrics.kl_divergence, metrics.kl_divergence_logits])
@pytest.mark.parametrize(
    ("outputs", "reference"), [([], []), ([1.0], [1.0]), (1.0, 1.0), ([1.0, 0.0], [[1.0, 0.0]])]
)
def test_rows_that_cannot_differ_are_refused(function, outputs, reference):
    with pytest.raises(ConfigurationError):
        function(outputs, reference)


@pytest.mark.parametrize(
    ("outputs", "reference", "agreement", "first"),
    [
        ([[1, 2, 3]], [[1, 2, 3]], 1.0, 3),
        ([[1, 2, 3]], [[1, 9, 3]], 2 / 3, 1),
        ([[1, 2, 3], [4, 5, 6]], [[1, 2, 9], [4, 5, 6]], 5 / 6, 2),
        ([[9, 2, 3], [4, 5, 6]], [[1, 2, 3], [4, 5, 9]], 4 / 6, 0),
        ([1, 2, 3], [1, 2, 3], 1.0, 3),
        ([1, 2], [1, 2, 3, 4], 0.5, 2),  # one ended early
        ([1, 2, 3, 4], [1, 2], 0.5, 2),
        ([[]], [[1, 2]], 0.0, 0),
    ],
)
def test_tokens_by_hand(outputs, reference, agreement, first):
    sides = [np.array(side, np.int64) for side in (outputs, reference)]
    assert metrics.token_agreement(*sides) == pytest.approx(agreement)
    assert metrics.first_divergence(*sides) == first


@pytest.mark.parametrize("function", [metrics.token_agreement, metrics.first_divergence])
@pytest.mark.parametrize(
    ("outputs", "reference"),
    [
        ([[1.0, 2.0]], [[1.0, 2.0]]),
        (np.zeros((1, 0), int), np.zeros((1, 0), int)),
        (np.zeros((0, 3), int), np.zeros((0, 3), int)),
        ([[1], [2]], [[1]]),
        ([[[1]]], [[[1]]]),
        (1, 1),
    ],
)
def test_no_tokens_are_refused(function, outputs, reference):
    with pytest.raises(ConfigurationError):
        function(outputs, reference)
