"""Do inputs and outputs of every element type, rank and size arrive as they were given?"""

from __future__ import annotations

import numpy as np
import pytest

from pytest_trt.diagnostics import InputError

# Not FP16: models as small as these are as fast in FP32, so nothing in their engines would be half.
PRECISIONS = ("fp32", "tf32")
ROWS = ((1, 4), (4, 4), (8, 4))

pytestmark = pytest.mark.trt_consistency


def model(name: str, *inputs: str, rows: tuple = ROWS, precision: object = "fp32"):
    """Mark a test with a model whose inputs have the same profile."""
    profiles = dict.fromkeys(inputs, rows)
    return pytest.mark.trt_model(name, precision=precision, profiles=profiles)


def uniform(*shape: int) -> np.ndarray:
    return np.random.default_rng(0).uniform(-2, 2, shape).astype(np.float32)


# Beyond 2**24, where float32 would lose the last digit.
@model("int32.onnx", "numbers")
def test_int32(trt_session):
    numbers = np.arange(12, dtype=np.int32).reshape(3, 4) + 20_000_001
    outputs = trt_session.run({"numbers": numbers})
    assert outputs["doubled"].dtype == np.int32
    np.testing.assert_array_equal(outputs["doubled"], 2 * numbers)


@model("int64.onnx", "numbers")
def test_int64(trt_session):
    numbers = np.arange(12).reshape(3, 4) + 20_000_001
    outputs = trt_session.run({"numbers": numbers})
    assert outputs["first"].dtype == np.int64
    np.testing.assert_array_equal(outputs["first"], numbers[0])


@model("bytes.onnx", "pixels")
def test_bytes(trt_session):
    pixels = np.array([[0, 1, 2, 3], [127, 128, 254, 255]], np.uint8)
    np.testing.assert_array_equal(trt_session.run({"pixels": pixels})["dimmed"], pixels // 2)


@model("flags.onnx", "left", "right")
def test_bool(trt_session):
    left = np.array([[False, False, True, True]])
    outputs = trt_session.run({"left": left, "right": left[:, ::-1]})
    assert outputs["differ"].dtype == np.bool_


# TensorRT 8.6 takes halves only where they are allowed in the whole network.
@model("halves.onnx", "x", rows=((1, 16), (4, 16), (8, 16)), precision="fp16")
def test_float16(trt_session):
    outputs = trt_session.run({"x": uniform(3, 16).astype(np.float16)})
    assert outputs["y"].dtype == np.float16


@model("scalars.onnx", "x", precision=PRECISIONS)
def test_scalars(trt_session):
    outputs = trt_session.run({"x": uniform(5, 4), "factor": np.array(0.5, np.float32)})
    assert outputs["total"].shape == ()


@model("emptiable.onnx", "rows", rows=((0, 4), (4, 4), (8, 4)), precision=PRECISIONS)
@pytest.mark.parametrize("rows", [0, 1, 8])
def test_empty(trt_session, rows):
    outputs = trt_session.run({"rows": uniform(rows, 4)})
    assert outputs["product"].shape == (rows, 3)


@pytest.mark.trt_model(
    "scalars.onnx",
    precision=PRECISIONS,
    profiles=[{"x": ((1, 4), (2, 4), (4, 4))}, {"x": ((64, 4), (96, 4), (128, 4))}],
)
def test_profiles_apart(trt_session):
    factor = np.array(2.0, np.float32)
    for rows in (4, 128, 1, 64, 100, 2):
        outputs = trt_session.run({"x": uniform(rows, 4), "factor": factor})
        assert outputs["scaled"].shape == (rows, 4)
    with pytest.raises(InputError, match="32"):
        trt_session.run({"x": uniform(32, 4), "factor": factor})
