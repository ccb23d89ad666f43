"""What a conversion to float16 must not round: counts, and values between float32 nodes."""

from __future__ import annotations

from pathlib import Path

import builders_networks as networks
import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper

from pytest_trt.backends.conversion.counting import count_in_integers
from pytest_trt.backends.conversion.int8 import to_int8
from pytest_trt.backends.conversion.narrow import to_narrow
from pytest_trt.backends.conversion.narrow_types import FLOAT16
from pytest_trt.backends.conversion.rounding import round_file
from pytest_trt.diagnostics import EngineBuildError
from pytest_trt.onnx.file import OnnxModel, load_model

node = helper.make_node
value = networks.value
constant = networks.constant


def run_all(path: Path, **inputs: np.ndarray) -> dict[str, np.ndarray]:
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    # The optimiser takes out casts of its own accord.
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = onnxruntime.InferenceSession(str(path), options)
    names = [one.name for one in session.get_outputs()]
    return dict(zip(names, session.run(None, inputs), strict=True))


def run(path: Path, **inputs: np.ndarray) -> np.ndarray:
    return next(iter(run_all(path, **inputs).values()))


def to_fp16(model: OnnxModel, *kept: str) -> Path:
    """Convert, and round where the CPU's float32 kernels would not."""
    output = model.path.with_name("h.onnx")
    done = to_narrow(model, output, FLOAT16, keep_fp32=kept)
    round_file(output, done.float32_outputs)
    return output


def positions(limit: str = "count", start: float = 0.0, delta: float = 1.0) -> onnx.ModelProto:
    """Return x + a float range as long as x: x [n] -> y [n]."""
    return networks.model(
        [
            node("Shape", ["x"], ["shape"]),
            node("Squeeze", ["shape"], ["n"]),
            node("Cast", ["n"], ["count"], to=TensorProto.FLOAT),
            node("Mul", ["count", "one"], ["product"]),
            node("Range", ["start", limit, "delta"], ["range"], name="range"),
            node("Add", ["x", "range"], ["y"]),
        ],
        [value("x", ["n"])],
        [value("y", ["n"])],
        [constant("start", start), constant("delta", delta), constant("one", 1.0)],
    )


@pytest.mark.parametrize("length", [1, 2047, 2049, 3001])
def test_fp16_counts_every_position_of_a_float_range(length: int, tmp_path: Path) -> None:
    model = networks.saved(positions(), tmp_path / "m.onnx")
    half = to_fp16(model)
    x = np.zeros(length, np.float32)
    expected = np.arange(length, dtype=np.float32)
    assert np.array_equal(run(tmp_path / "m.onnx", x=x), expected)
    np.testing.assert_array_equal(run(half, x=x), expected.astype(np.float16))


@pytest.mark.parametrize(("start", "delta"), [(-3.0, 2.0), (5.0, 1.0)])
def test_a_range_counted_in_integers_gives_the_same_values(
    start: float, delta: float, tmp_path: Path
) -> None:
    # One element is added to the whole range, whatever its length.
    proto = positions(start=start, delta=delta)
    proto.graph.node[-1].input[0] = "one"
    before = networks.saved(proto, tmp_path / "m.onnx")
    proto = onnx.shape_inference.infer_shapes(onnx.load(before.path))
    assert count_in_integers(proto) == 1
    onnx.checker.check_model(proto)
    onnx.save(proto, tmp_path / "i.onnx")
    x = np.zeros(11, np.float32)
    np.testing.assert_array_equal(run(before.path, x=x), run(tmp_path / "i.onnx", x=x))


@pytest.mark.parametrize("fields", [{"limit": "product"}, {"start": 0.5}, {"delta": 0.25}])
def test_a_range_that_need_not_be_whole_is_left_alone(fields: dict[str, object]) -> None:
    proto = onnx.shape_inference.infer_shapes(positions(**fields))  # type: ignore[arg-type]
    before = proto.SerializeToString(deterministic=True)
    assert count_in_integers(proto) == 0
    assert proto.SerializeToString(deterministic=True) == before


def sum_of_squares() -> onnx.ModelProto:
    """Return a mean of squares over 512 elements, whose sum float16 may not hold: x -> y."""
    return networks.model(
        [
            node("Mul", ["x", "x"], ["squares"], name="square"),
            node("ReduceSum", ["squares"], ["sum"], name="sum"),
            node("Div", ["sum", "size"], ["mean"], name="mean"),
            node("Relu", ["mean"], ["y"], name="relu"),
        ],
        [value("x", [512])],
        [value("y", [1])],
        [constant("size", [512.0])],
    )


LARGE = np.full(512, 20.0, np.float32)  # squares of 400, a sum of 204,800, a mean of 400


def test_values_between_blocked_nodes_do_not_pass_through_float16(tmp_path: Path) -> None:
    model = networks.saved(sum_of_squares(), tmp_path / "m.onnx")
    half = to_fp16(model, "sum", "mean")
    assert run(half, x=LARGE) == pytest.approx([400.0])


def test_without_the_block_the_sum_overflows(tmp_path: Path) -> None:
    model = networks.saved(sum_of_squares(), tmp_path / "m.onnx")
    half = to_fp16(model, "sum")
    assert np.isinf(run(half, x=LARGE)).all()


def sums_and_positions(path: Path) -> OnnxModel:
    """x [4] -> running sums, their halves; the largest of some positions [2], in float32."""
    proto = networks.model(
        [
            node("CumSum", ["x", "axis"], ["sums"], name="sums"),
            node("Mul", ["sums", "half"], ["halves"], name="halves"),
            node("Relu", ["x"], ["small"]),
            node("Cast", ["at"], ["positions"], to=TensorProto.FLOAT),
            node("Max", ["positions", "half"], ["last"], name="last"),
            node("Cast", ["last"], ["index"], to=TensorProto.INT64),
        ],
        [value("x", [4]), value("at", [2], TensorProto.INT64)],
        [value(name, [4]) for name in ("sums", "halves", "small")]
        + [value("last", [2]), value("index", [2], TensorProto.INT64)],
        [constant("axis", 0, "int64"), constant("half", 0.5)],
    )
    return networks.saved(proto, path)


SUMS = {"x": np.full(4, 50000, np.float32), "at": np.array([100000, 2049])}


@pytest.mark.parametrize(
    ("kept", "sums", "last"),
    [
        ((), [49984, np.inf, np.inf, np.inf], [np.inf, 2048]),
        (("CumSum", "Mul"), [50000, 100000, 150000, 200000], [np.inf, 2048]),
        (("Max",), [49984, np.inf, np.inf, np.inf], [100000, 2049]),
    ],
)
def test_outputs_of_what_stays_float32_overflow_unless_it_was_asked_to_stay(
    kept: tuple[str, ...], sums: list[float], last: list[float], tmp_path: Path
) -> None:
    half = to_fp16(sums_and_positions(tmp_path / "m.onnx"), *kept)
    found = run_all(half, **SUMS)
    np.testing.assert_array_equal(found["sums"], np.float32(sums))
    np.testing.assert_array_equal(found["last"], np.float32(last))
    # What reads them in float32 or as integers reads them exact.
    np.testing.assert_array_equal(found["index"], SUMS["at"])
    assert np.isinf(found["halves"][1]) == (not kept or kept == ("Max",))


def test_a_models_own_rounding_to_float16_is_retained(tmp_path: Path) -> None:
    proto = networks.model(
        [
            node("Cast", ["x"], ["half"], to=TensorProto.FLOAT16),
            node("Cast", ["half"], ["again"], to=TensorProto.FLOAT),
            node("Mul", ["again", "two"], ["y"], name="double"),
        ],
        [value("x", [1])],
        [value("y", [1])],
        [constant("two", [2.0])],
    )
    model = networks.saved(proto, tmp_path / "m.onnx")
    half = to_fp16(model, "double")
    third = np.array([1 / 3], np.float32)
    assert run(half, x=third) == 2 * third.astype(np.float16).astype(np.float32)


def quantised_dynamically(path: Path) -> OnnxModel:
    return networks.saved(
        networks.model(
            [
                node("DynamicQuantizeLinear", ["x"], ["q", "scale", "zero"]),
                node("MatMulInteger", ["q", "w", "zero"], ["sum"]),
                node("Cast", ["sum"], ["float"], to=TensorProto.FLOAT),
                node("Mul", ["float", "scale"], ["y"]),
            ],
            [value("x", [2, 4])],
            [value("y", [2, 3])],
            [constant("w", np.ones((4, 3)), "int8")],
        ),
        path,
    )


def test_a_dynamically_quantised_model_is_refused_with_the_way_out(tmp_path: Path) -> None:
    model = quantised_dynamically(tmp_path / "q.onnx")
    message = (
        r"(?s)q\.onnx is dynamically quantised \(1 DynamicQuantizeLinear, 1 MatMulInteger "
        r"nodes\).*Fix: Use the float32 model"
    )
    with pytest.raises(EngineBuildError, match=message):
        to_narrow(model, tmp_path / "h.onnx", FLOAT16)
    with pytest.raises(EngineBuildError, match=message):
        to_int8(model, [{"x": np.ones((2, 4), np.float32)}], tmp_path / "i.onnx")


def test_int8_takes_a_row_bias_that_a_matmul_and_an_add_are_fused_into(tmp_path: Path) -> None:
    proto = networks.model(
        [node("MatMul", ["x", "w"], ["product"]), node("Add", ["product", "bias"], ["y"])],
        [value("x", [2, 8])],
        [value("y", [2, 5])],
        [networks.weights("w", 8, 5), constant("bias", np.full((1, 5), 40.0))],
    )
    model = networks.saved(proto, tmp_path / "m.onnx")
    x = np.random.default_rng(0).standard_normal((2, 8)).astype(np.float32)
    to_int8(model, [{"x": x}], tmp_path / "q.onnx")
    assert load_model(tmp_path / "q.onnx").is_quantized
    np.testing.assert_allclose(
        run(tmp_path / "q.onnx", x=x), run(tmp_path / "m.onnx", x=x), atol=0.2
    )
