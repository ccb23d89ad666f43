"""Bfloat16 is narrowed and rounded as float16 is: what differs is its range and its step."""

from __future__ import annotations

from pathlib import Path

import builders_networks as networks
import ml_dtypes
import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from pytest_trt.backends.conversion.converting import unoptimised
from pytest_trt.backends.conversion.narrow import to_narrow
from pytest_trt.backends.conversion.narrow_types import BFLOAT16
from pytest_trt.backends.conversion.rounding import round_file
from pytest_trt.diagnostics import EngineBuildError
from pytest_trt.onnx.file import OnnxModel

node, value, constant = helper.make_node, networks.value, networks.constant
X = np.float32([1.0, 1.003, 70000.0, 1e-30, 1.9e38, -0.1])


def bf16(values: object) -> np.ndarray:
    with np.errstate(over="ignore"):
        return np.asarray(values, np.float32).astype(ml_dtypes.bfloat16).astype(np.float32)


def chain(path: Path, opset: int = 17) -> OnnxModel:
    """x [6] -> 1.7 x + 0.3, and its double."""
    proto = networks.model(
        [
            node("Mul", ["x", "a"], ["h"], name="mul"),
            node("Add", ["h", "b"], ["s"], name="add"),
            node("Add", ["s", "s"], ["y"], name="double"),
        ],
        [value("x", [6])],
        [value("s", [6]), value("y", [6])],
        [constant("a", 1.7), constant("b", 0.3)],
        opset=opset,
    )
    return networks.saved(proto, path)


def converted(model: OnnxModel, *kept: str) -> Path:
    output = model.path.with_name("b.onnx")
    done = to_narrow(model, output, BFLOAT16, keep_fp32=kept)
    round_file(output, done.float32_outputs, BFLOAT16)
    return output


@pytest.mark.parametrize("opset", [11, 17])
def test_every_operator_is_rounded_to_bfloat16(opset: int, tmp_path: Path) -> None:
    session = unoptimised(converted(chain(tmp_path / "m.onnx", opset)))
    s, y = session.run(None, {"x": X})
    expected = bf16(bf16(bf16(X) * bf16(1.7)) + bf16(0.3))
    np.testing.assert_array_equal(s, expected)
    with np.errstate(over="ignore"):
        np.testing.assert_array_equal(y, bf16(expected + expected))
    assert np.isfinite(s[2])  # float16 would be infinite
    assert np.isinf(y[4])


def test_what_is_kept_is_not_rounded(tmp_path: Path) -> None:
    session = unoptimised(converted(chain(tmp_path / "m.onnx"), "*"))
    s, _ = session.run(None, {"x": X})
    np.testing.assert_array_equal(s, X * np.float32(1.7) + np.float32(0.3))


def test_a_model_for_gpus_is_bfloat16_inside_and_float32_outside(tmp_path: Path) -> None:
    model = networks.saved(networks.conv_net(), tmp_path / "m.onnx")
    to_narrow(model, tmp_path / "b.onnx", BFLOAT16)
    proto = onnx.load(tmp_path / "b.onnx")
    assert {one.data_type for one in proto.graph.initializer} == {TensorProto.BFLOAT16}
    for one in (*proto.graph.input, *proto.graph.output):
        assert one.type.tensor_type.elem_type == TensorProto.FLOAT


def test_a_constant_beyond_bfloat16_stays_finite_and_is_noted(tmp_path: Path) -> None:
    proto = networks.model(
        [node("Min", ["x", "most"], ["y"])],
        [value("x", [2])],
        [value("y", [2])],
        [constant("most", np.finfo(np.float32).max)],
    )
    model = networks.saved(proto, tmp_path / "m.onnx")
    done = to_narrow(model, tmp_path / "b.onnx", BFLOAT16)
    assert done.notes == ("constant 'most': 3.40282e+38 became 3.38953e+38 in bfloat16",)


def test_a_model_without_anything_to_convert_is_refused(tmp_path: Path) -> None:
    proto = networks.model(
        [node("Not", ["x"], ["y"])],
        [value("x", [2], TensorProto.BOOL)],
        [value("y", [2], TensorProto.BOOL)],
    )
    model = networks.saved(proto, tmp_path / "m.onnx")
    with pytest.raises(EngineBuildError, match="no float32 values to convert to bf16"):
        to_narrow(model, tmp_path / "b.onnx", BFLOAT16)
