from __future__ import annotations

import ml_dtypes
import numpy as np
import pytest

from pytest_trt.backends.tensorrt.binding import numpy_dtype
from pytest_trt.diagnostics import EngineLoadError


@pytest.mark.parametrize(
    ("member", "dtype"),
    [
        ("HALF", np.float16),
        ("BF16", ml_dtypes.bfloat16),
        ("FP8", ml_dtypes.float8_e4m3fn),
        ("E8M0", ml_dtypes.float8_e8m0fnu),
    ],
)
def test_each_type_of_whole_bytes_has_a_dtype(member: str, dtype: type) -> None:
    assert numpy_dtype(member, tensor="y", model="m.onnx") == dtype


@pytest.mark.parametrize("member", ["INT4", "FP4"])
def test_a_packed_type_is_refused_with_tensor_and_type(member: str) -> None:
    with pytest.raises(EngineLoadError, match=f"tensor 'y' of m.onnx is {member}"):
        numpy_dtype(member, tensor="y", model="m.onnx")
