"""No form of input may cost a temporary of its full size."""

from __future__ import annotations

import tracemalloc

import numpy as np
import pytest

from pytest_trt.accuracy.compare import compare_outputs
from pytest_trt.accuracy.tolerance import Tolerance

ROWS, COLUMNS = 2_000, 1_000

#: One float64 temporary of the arrays below is 16 MB, one flag per element 2 MB; what is left are
#: the fixed buffers (2 MB of chunks, and blocks of 2^18 elements where rows are ranked).
NO_TEMPORARY_MB = 10


def noisy(dtype):
    rng = np.random.default_rng(0)
    reference = rng.random((ROWS, COLUMNS), dtype=np.float32)
    return (reference + np.float32(1e-3)).astype(dtype), reference.astype(dtype)


def peak_mb(actual, reference, **fields):
    tolerance = Tolerance(rtol=1e-2, atol=1e-2, **fields)
    tracemalloc.start()
    try:
        compare_outputs({"y": actual}, {"y": reference}, {"y": tolerance})
        return tracemalloc.get_traced_memory()[1] / 1e6
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64", "int64", "complex64"])
def test_element_types_are_converted_a_chunk_at_a_time(dtype):
    assert peak_mb(*noisy(dtype)) < NO_TEMPORARY_MB


@pytest.mark.parametrize("view", [np.transpose, lambda a: a[:, ::-1], lambda a: a[::2]])
def test_views_are_read_in_place(view):
    actual, reference = noisy("float32")
    assert peak_mb(view(actual), view(reference)) < NO_TEMPORARY_MB


@pytest.mark.parametrize("fields", [{"cosine": 0.9}, {"top1": 0.1}, {"topk": (5, 0.1)}])
@pytest.mark.parametrize("shape", [(ROWS, COLUMNS), (ROWS * COLUMNS,)], ids=["rows", "one row"])
def test_whole_output_measures_work_in_blocks(fields, shape):
    actual, reference = (side.reshape(shape) for side in noisy("float32"))
    assert peak_mb(actual, reference, **fields) < 2 * NO_TEMPORARY_MB


def test_mismatches_and_nan_everywhere_take_no_more():
    actual, reference = noisy("float32")
    assert peak_mb(actual + 1, reference) < NO_TEMPORARY_MB
    assert peak_mb(np.full_like(actual, np.nan), reference) < NO_TEMPORARY_MB


def test_the_measure_itself_sees_a_full_temporary():
    actual, reference = noisy("float32")
    tracemalloc.start()
    np.isclose(actual, reference)
    peak = tracemalloc.get_traced_memory()[1] / 1e6
    tracemalloc.stop()
    assert peak > NO_TEMPORARY_MB
