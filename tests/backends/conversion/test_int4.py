"""Weights in INT4: what is stored, what computes with it, and what stays float32."""

from __future__ import annotations

from pathlib import Path

import builders_networks as networks
import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from pytest_trt.backends.conversion.convert import converted
from pytest_trt.backends.conversion.converting import unoptimised
from pytest_trt.backends.conversion.int4 import quantised_blocks
from pytest_trt.diagnostics import EngineBuildError
from pytest_trt.onnx.file import OnnxModel

node, value = helper.make_node, networks.value
X = np.random.default_rng(0).standard_normal((3, 64)).astype(np.float32)


@pytest.fixture
def model(tmp_path: Path) -> OnnxModel:
    """x [3, 64] -> MatMul [64, 32] -> Gemm, transposed, [10, 32]; the last one reads 10 rows."""
    proto = networks.model(
        [
            node("MatMul", ["x", "w1"], ["h"], name="first"),
            node("Gemm", ["h", "w2"], ["g"], name="second", transB=1),
            node("MatMul", ["g", "w3"], ["y"], name="third"),
        ],
        [value("x", [3, 64])],
        [value("y", [3, 5])],
        [
            networks.weights("w1", 64, 32),
            networks.weights("w2", 10, 32, seed=1),
            networks.weights("w3", 10, 5, seed=2),
        ],
    )
    return networks.saved(proto, tmp_path / "m.onnx")


def convert(model: OnnxModel, *kept: str, block: int = 16):
    output = model.path.with_name("i.onnx")
    done = converted(model, "int4", output, options={"block_size": block}, keep_fp32=kept)
    return done, output


def rounded(values: np.ndarray, block: int = 16) -> np.ndarray:
    codes, scales = quantised_blocks(values, block)
    return codes * np.repeat(scales, block, axis=0)


def test_products_compute_with_the_rounded_weights(model: OnnxModel) -> None:
    done, output = convert(model)
    assert done.notes == (
        "1 of 3 weights of matrix products stay float32: their inner size is no multiple of "
        "block_size=16",
    )
    w1, w2, w3 = (onnx.numpy_helper.to_array(w) for w in onnx.load(model.path).graph.initializer)
    (y,) = unoptimised(output).run(None, {"x": X})
    np.testing.assert_allclose(y, X @ rounded(w1) @ rounded(w2.T) @ w3, rtol=1e-5, atol=1e-5)
    assert np.abs(y - X @ w1 @ w2.T @ w3).max() > 1e-2
    types = [one.data_type for one in onnx.load(output).graph.initializer]
    assert (types.count(TensorProto.INT4), types.count(TensorProto.FLOAT)) == (2, 3)


def test_what_is_kept_is_exact(model: OnnxModel) -> None:
    _, output = convert(model, "second")
    w1, w2, w3 = (onnx.numpy_helper.to_array(w) for w in onnx.load(model.path).graph.initializer)
    (y,) = unoptimised(output).run(None, {"x": X})
    np.testing.assert_allclose(y, X @ rounded(w1) @ w2.T @ w3, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(
    ("kept", "block", "why"),
    [
        ((), 128, "no inner size of its 3 weights is a multiple of block_size=128"),
        (("MatMul", "Gemm"), 16, "no MatMul or Gemm with constant float32 weights"),
    ],
)
def test_a_model_without_such_weights_is_refused(model, kept, block: int, why: str) -> None:
    with pytest.raises(EngineBuildError, match=why) as caught:
        convert(model, *kept, block=block)
    assert caught.value.diagnostic.code == "TRT355"


def test_blocks_are_symmetric_and_keep_their_largest_value() -> None:
    values = np.float32([[0.0, 7.0], [0.0, -7.0], [0.1, 3.4], [-0.7, 0.49]])
    codes, scales = quantised_blocks(values, 2)
    np.testing.assert_array_equal(codes, [[0, 7], [0, -7], [1, 7], [-7, 1]])
    np.testing.assert_allclose(scales, [[1.0, 1.0], [0.1, 3.4 / 7]], rtol=1e-6)
