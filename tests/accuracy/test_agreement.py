"""Cosine and ranking against naive definitions."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from pytest_trt.accuracy.agreement import least_cosine, topk_agreement

FEW_VALUES = st.sampled_from([0.0, 1.0, 2.0, 3.0, -1.0, 2.5])


def naive_agreement(actual, reference, k):
    shares = []
    for a, r in zip(*(s.reshape(-1, s.shape[-1]) for s in (actual, reference)), strict=True):
        picks = np.argsort(-a, kind="stable")[:k]
        last = np.sort(r)[-k]
        above, tied = (r[picks] > last).sum(), (r[picks] == last).sum()
        shares.append((above + min(tied, k - (r > last).sum())) / k)
    return np.mean(shares)


def naive_cosine(actual, reference):
    rows = actual.shape[0] if actual.ndim > 1 else 1
    cosines = []
    for a, r in zip(actual.reshape(rows, -1), reference.reshape(rows, -1), strict=True):
        lengths = np.linalg.norm(a) * np.linalg.norm(r)
        cosines.append(a @ r / lengths if lengths else float(not (a.any() or r.any())))
    return min(cosines)


@st.composite
def ranked_pairs(draw):
    shape = draw(hnp.array_shapes(min_dims=1, max_dims=3, max_side=6))
    sides = (draw(hnp.arrays(np.float32, shape, elements=FEW_VALUES)) for _ in range(2))
    return (*sides, draw(st.integers(1, shape[-1])))


@pytest.mark.exhaustive
@given(ranked_pairs(), st.sampled_from([1, 2, 3, 5, 1 << 18]), st.booleans())
def test_topk_agrees_with_a_naive_one_in_blocks_and_in_pieces(case, block, strided):
    actual, reference, k = case
    if strided:
        actual = np.asfortranarray(actual)
    found = topk_agreement(actual, reference, k, "forbid", block)
    if (reference == reference[..., :1]).all():  # nothing could disagree
        assert found is None
    else:
        assert found == pytest.approx(naive_agreement(actual, reference, k))


@given(
    hnp.array_shapes(min_dims=1, max_dims=3, max_side=6).flatmap(
        lambda s: st.tuples(*[hnp.arrays(np.float32, s, elements=FEW_VALUES)] * 2)
    ),
    st.sampled_from([1, 2, 5, 1 << 16]),
)
def test_cosine_agrees_with_a_naive_one_in_blocks_and_in_pieces(pair, chunk):
    expected = naive_cosine(*(side.astype(np.float64) for side in pair))
    assert least_cosine(*pair, chunk) == pytest.approx(expected)


def test_the_first_index_wins_ties_of_the_actual_row():
    reference = np.array([[1.0, 2.0, 3.0]])
    assert topk_agreement(np.array([[0.0, 5.0, 5.0]]), reference, 1, "forbid") == 0.0
    assert topk_agreement(np.array([[0.0, 4.0, 5.0]]), reference, 1, "forbid") == 1.0


def test_top1_accepts_any_of_the_tied_largest():
    reference = np.array([[3.0, 1.0, 3.0]])
    for right in ([9.0, 0.0, 0.0], [0.0, 0.0, 9.0]):
        assert topk_agreement(np.array([right]), reference, 1, "forbid") == 1.0
    assert topk_agreement(np.array([[0.0, 9.0, 0.0]]), reference, 1, "forbid") == 0.0


@pytest.mark.parametrize("block", [2, 1 << 18])
@pytest.mark.parametrize(
    ("nan", "actual", "reference", "expected"),
    [
        ("forbid", [np.nan, 1.0, 2.0], [0.0, 1.0, 2.0], 0.0),
        ("match", [np.nan, 1.0, 2.0], [np.nan, 1.0, 2.0], 1.0),
        ("match", [np.inf, 1.0, 2.0], [np.inf, 3.0, 2.0], 1.0),
        ("match", [-np.inf, 1.0, 2.0], [-np.inf, 1.0, 2.0], 1.0),
        ("ignore", [np.nan, 1.0, 2.0], [9.0, 1.0, 2.0], 1.0),
        ("ignore", [np.inf, 1.0, 2.0], [0.0, 1.0, 2.0], 1.0),
        ("ignore", [np.nan, np.nan, np.nan], [0.0, 1.0, 2.0], None),
    ],
)
def test_nonfinite_values_in_rankings(nan, actual, reference, expected, block):
    sides = np.array([actual]), np.array([reference])
    assert topk_agreement(*sides, 1, nan, block) == expected


@pytest.mark.parametrize("chunk", [1, 1 << 16])
@pytest.mark.parametrize(
    ("actual", "reference", "expected"),
    [
        ([1.0, 2.0], [1.0, 2.0], 1.0),
        ([1.0, 2.0], [-1.0, -2.0], -1.0),
        ([1.0, 0.0], [0.0, 1.0], 0.0),
        ([0.0, 0.0], [0.0, 0.0], 1.0),
        ([0.0, 0.0], [0.0, 1.0], 0.0),
        ([1e200, 2e200], [1e200, 2e200], 1.0),
        ([1e-200, 2e-200], [2e-200, 4e-200], 1.0),
        ([np.nan, 1.0, 2.0], [5.0, 1.0, 2.0], 1.0),
        ([1.0, 1.0, 2.0], [np.inf, 1.0, 2.0], 1.0),
    ],
)
def test_cosine_of_known_vectors(actual, reference, expected, chunk):
    assert least_cosine(np.array(actual), np.array(reference), chunk) == pytest.approx(expected)


def test_cosine_of_equal_arrays_is_exactly_one():
    array = np.random.default_rng(0).random((50, 37), dtype=np.float32)
    assert least_cosine(array, array.copy()) == 1.0


def test_cosine_is_that_of_the_worst_row():
    reference = np.array([[1.0, 0.0], [1.0, 0.0], [1.0, 0.0]])
    actual = np.array([[1.0, 0.0], [0.0, 1.0], [1.0, 0.0]])
    assert least_cosine(actual, reference) == 0.0
