from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_trt.accuracy.elementwise import HISTOGRAM_EDGES, error_histogram


def bins(actual: object, reference: object, *, rtol=0.0, atol=1.0, **options) -> dict[str, int]:
    """The counts that are not 0: "0" for no error, the bin's upper end, or "more"."""
    counts = error_histogram(
        np.asarray(actual), np.asarray(reference), rtol=rtol, atol=atol, **options
    )
    names = ["0", *(f"{edge:g}" for edge in HISTOGRAM_EDGES), "more"]
    return {name: count for name, count in zip(names, counts, strict=True) if count}


def test_error_is_counted_by_its_share_of_the_tolerance() -> None:
    assert bins([0.0, 0.3, 0.6, 3.0, 9999.0], [0.0] * 5) == {
        "0": 1, "0.5": 1, "1": 1, "4": 1, "more": 1,
    }  # fmt: skip


def test_exactly_at_the_limit_is_on_the_side_that_passes() -> None:
    assert bins([1.0], [0.0]) == {"1": 1}
    assert bins([np.nextafter(1.0, 2.0)], [0.0]) == {"2": 1}


def test_tolerance_grows_with_the_reference() -> None:
    assert bins([110.0], [100.0], rtol=0.1, atol=0.0) == {"1": 1}


def test_what_is_not_finite_is_left_out() -> None:
    assert bins([np.nan, 1.0, np.inf], [1.0, np.nan, np.inf]) == {}


def test_nothing_allowed_and_nothing_wrong_is_not_an_error() -> None:
    assert bins([0.0, 1.0], [0.0, 0.0], atol=0.0) == {"0": 1, "more": 1}


@pytest.mark.parametrize("dtype", [np.float16, np.int8, np.uint64, np.bool_, np.complex64])
def test_every_type_of_number_is_counted(dtype) -> None:
    assert bins(np.array([0, 1], dtype), np.array([0, 0], dtype)) == {"0": 1, "1": 1}


@given(st.lists(st.floats(-10, 10), max_size=40), st.integers(1, 7))
def test_chunks_change_nothing_and_every_element_is_counted(errors, chunk) -> None:
    actual, reference = np.array(errors), np.zeros(len(errors))
    whole = bins(actual, reference)
    assert bins(actual, reference, chunk=chunk) == whole
    assert sum(whole.values()) == len(errors)
