"""Rows that only changed places are named, and no others."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest

from pytest_trt.accuracy.moved_rows import moved_rows
from pytest_trt.accuracy.subject import MovedRows
from pytest_trt.accuracy.tolerance import Tolerance

TOLERANCE = Tolerance(0.01, 0.01)
ROWS = np.random.default_rng(0).uniform(0.0, 600.0, (20, 4)).astype(np.float32)


def swapped(rows: npt.NDArray[np.float32], *places: tuple[int, int]) -> npt.NDArray[np.float32]:
    order = list(range(len(rows)))
    for one, other in places:
        order[one], order[other] = order[other], order[one]
    return rows[order]


@pytest.mark.parametrize(
    ("actual", "reference", "found"),
    [
        (swapped(ROWS, (3, 4), (7, 9)), ROWS, MovedRows(0, 4, 4)),
        (ROWS[::-1], ROWS, MovedRows(0, 20, 20)),
        # As rounded as FP16 is, and with a corner at 0.
        (swapped(ROWS, (3, 4)).astype(np.float16), ROWS.astype(np.float16), MovedRows(0, 2, 2)),
        (
            np.stack([ROWS, swapped(ROWS, (0, 1))]),
            np.stack([ROWS, ROWS]),
            MovedRows(1, 2, 2),
        ),
        (ROWS.astype(np.int64)[::-1], ROWS.astype(np.int64), MovedRows(0, 20, 20)),
        # Wrong values, a row twice, another dtype, single numbers and other shapes.
        (ROWS, ROWS, None),
        (ROWS + 50.0, ROWS, None),
        (np.concatenate([ROWS[:1], ROWS[:1], ROWS[2:]]), ROWS, None),
        (np.full_like(ROWS, np.nan), ROWS, None),
        (ROWS[::-1, :1], ROWS[:, :1], None),
        (ROWS[:, 0][::-1], ROWS[:, 0], None),
        (ROWS[:5], ROWS, None),
        (ROWS.astype(str)[::-1], ROWS.astype(str), None),
        (np.zeros((0, 4)), np.zeros((0, 4)), None),
        # Two probabilities, and wrong ones of a classifier: each is one of another sample.
        (ROWS[:, :2][::-1], ROWS[:, :2], None),
        (swapped(np.eye(4)[[0, 0, 1, 1, 2, 3]], (0, 2)), np.eye(4)[[0, 0, 1, 1, 2, 3]], None),
    ],
)
def test_rows_that_only_changed_places_are_counted(actual, reference, found) -> None:
    assert moved_rows(actual, reference, TOLERANCE) == found


def test_rows_beside_wrong_ones_count_if_they_are_most() -> None:
    moved = swapped(ROWS, (3, 4), (7, 9))
    moved[[15, 16]] += 50.0
    assert moved_rows(moved, ROWS, TOLERANCE) == MovedRows(0, 4, 6)
    moved[[0, 1, 2]] += 50.0
    assert moved_rows(moved, ROWS, TOLERANCE) is None


def test_no_row_is_looked_for_among_too_many() -> None:
    many = np.arange(80_000.0).reshape(-1, 2) * 1e3
    assert moved_rows(many[::-1], many, TOLERANCE) is None


def test_wrong_rows_that_resemble_others_have_not_moved() -> None:
    """As the outputs of a model for random inputs, which hardly differ from sample to sample."""
    noise = np.random.default_rng(1).normal(size=(2, 32, 10)) * [[[0.005]], [[0.02]]]
    reference = np.linspace(0.0, 1.0, 10) + noise[0]
    assert moved_rows(reference + noise[1], reference, TOLERANCE) is None


def test_rows_of_which_another_value_is_wrong_differ() -> None:
    """Two boxes that changed places do not explain that all scores are wrong."""
    rows = np.concatenate([ROWS, np.full((20, 1), 0.9)], axis=1)
    moved = swapped(rows, (3, 4))
    assert moved_rows(moved, rows, TOLERANCE) == MovedRows(0, 2, 2)
    moved[:, -1] = 0.1
    assert moved_rows(moved, rows, TOLERANCE) is None
