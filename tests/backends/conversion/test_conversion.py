from __future__ import annotations

import importlib.util
import logging
from collections.abc import Callable, Mapping
from pathlib import Path

import builders_networks as networks
import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper

from pytest_trt.backends.conversion import converter_versions
from pytest_trt.backends.conversion.int8 import to_int8
from pytest_trt.backends.conversion.narrow import to_narrow
from pytest_trt.backends.conversion.narrow_types import FLOAT16
from pytest_trt.diagnostics import EngineBuildError, InputError
from pytest_trt.onnx.file import load_model
from pytest_trt.tensors.spec import Tensors

node = helper.make_node
value = networks.value
constant = networks.constant
RANDOM = np.random.default_rng(7)


def outputs(path: Path, inputs: Tensors) -> list[np.ndarray]:
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    return onnxruntime.InferenceSession(str(path), options).run(None, dict(inputs))


def images(batch: int = 4) -> dict[str, np.ndarray]:
    return {"image": RANDOM.standard_normal((batch, 3, 16, 16)).astype(np.float32)}


def tokens(batch: int = 2, length: int = 12) -> dict[str, np.ndarray]:
    mask = np.ones((batch, length), np.int64)
    mask[0, length // 2 :] = 0
    return {"ids": RANDOM.integers(0, 100, (batch, length)), "mask": mask}


NETWORKS: Mapping[str, tuple[Callable[[], onnx.ModelProto], Callable[..., Tensors]]] = {
    "conv": (networks.conv_net, images),
    "encoder": (networks.encoder, tokens),
}


@pytest.mark.parametrize("name", NETWORKS)
def test_fp16_keeps_the_interface_and_nearly_the_values(name: str, tmp_path: Path) -> None:
    make, feed = NETWORKS[name]
    model = networks.saved(make(), tmp_path / "model.onnx")
    to_narrow(model, tmp_path / "half.onnx", FLOAT16)
    half = load_model(tmp_path / "half.onnx")
    assert (half.inputs, half.outputs) == (model.inputs, model.outputs)
    inputs = feed()
    (expected,), (actual,) = outputs(model.path, inputs), outputs(half.path, inputs)
    error = float(np.abs(actual - expected).max())
    assert 0 < error < 5e-3


def test_fp16_halves_the_weights(tmp_path: Path) -> None:
    model = networks.saved(networks.encoder(), tmp_path / "model.onnx")
    to_narrow(model, tmp_path / "half.onnx", FLOAT16)
    assert (tmp_path / "half.onnx").stat().st_size < 0.65 * model.size_bytes


def test_fp16_reports_each_constant_that_float16_cannot_hold(tmp_path: Path) -> None:
    proto = networks.model(
        [
            node("Add", ["x", "eps"], ["a"]),
            node("Add", ["a", "far"], ["b"]),
            node("Mul", ["b", "fine"], ["y"]),
        ],
        [value("x", [2])],
        [value("y", [2])],
        [constant("eps", 1e-12), constant("far", [-1e9, 0.0]), constant("fine", [1e-3, -np.inf])],
    )
    done = to_narrow(networks.saved(proto, tmp_path / "m.onnx"), tmp_path / "half.onnx", FLOAT16)
    assert done.notes == (
        "constant 'far': -1e+09 became -65504 in float16 "
        "(1 of 2 values out of range; this is the worst)",
        "constant 'eps': 1e-12 became 5.96046e-08 in float16",
    )


def test_fp16_counts_the_constants_that_it_does_not_list(tmp_path: Path) -> None:
    names = [f"c{number}" for number in range(30)]
    steps = ["x", *(f"h{number}" for number in range(29)), "y"]
    proto = networks.model(
        [node("Add", [steps[at], name], [steps[at + 1]]) for at, name in enumerate(names)],
        [value("x", [2])],
        [value("y", [2])],
        [constant(name, 1e9) for name in names],
    )
    done = to_narrow(networks.saved(proto, tmp_path / "m.onnx"), tmp_path / "half.onnx", FLOAT16)
    *listed, rest = done.notes
    assert rest == f"outside of float16: {30 - len(listed)} more constants"


def test_fp16_sums_up_weights_that_vanish(tmp_path: Path) -> None:
    proto = networks.conv_net()
    weights = onnx.numpy_helper.to_array(proto.graph.initializer[0]).copy()
    weights[0] = 1e-9
    proto.graph.initializer[0].CopyFrom(onnx.numpy_helper.from_array(weights, "w1"))
    done = to_narrow(networks.saved(proto, tmp_path / "m.onnx"), tmp_path / "half.onnx", FLOAT16)
    assert done.notes == (
        "27 weights of 1 tensor are too small for float16; they became 5.96e-08 of the same sign",
    )


def test_a_blocked_operator_stays_float32_and_its_constants_unreported(tmp_path: Path) -> None:
    model = networks.saved(networks.encoder(), tmp_path / "m.onnx")
    done = to_narrow(model, tmp_path / "h.onnx", FLOAT16, keep_fp32=("Mul", "Add"))
    assert done.notes == ()
    types = {t.name: t.data_type for t in onnx.load(tmp_path / "h.onnx").graph.initializer}
    assert types["far"] == TensorProto.FLOAT
    assert types["wq"] == TensorProto.FLOAT16


def test_a_float16_model_is_unchanged_and_this_is_reported(tmp_path: Path) -> None:
    model = networks.saved(networks.encoder(), tmp_path / "m.onnx")
    to_narrow(model, tmp_path / "once.onnx", FLOAT16)
    done = to_narrow(load_model(tmp_path / "once.onnx"), tmp_path / "twice.onnx", FLOAT16)
    assert len(done.notes) == 1
    assert "float16 already" in done.notes[0]
    inputs = tokens()
    once, twice = (outputs(tmp_path / f"{n}.onnx", inputs) for n in ("once", "twice"))
    np.testing.assert_array_equal(once[0], twice[0])


def test_a_model_without_float32_has_nothing_to_convert(tmp_path: Path) -> None:
    proto = networks.model(
        [node("Add", ["x", "x"], ["y"])],
        [value("x", [2], TensorProto.INT64)],
        [value("y", [2], TensorProto.INT64)],
    )
    model = networks.saved(proto, tmp_path / "m.onnx")
    with pytest.raises(EngineBuildError, match=r"no float32 values.*int64"):
        to_narrow(model, tmp_path / "h.onnx", FLOAT16)


def torture() -> onnx.ModelProto:
    """What converters are known to trip over, in one graph."""
    loop = networks.subgraph(
        [
            node("TopK", ["state", "one_k"], ["best", "at"]),
            node("Mul", ["state", "best"], ["scaled"]),
            node("Clip", ["scaled", "low", "high"], ["next"]),
            node("Identity", ["go_on"], ["still"]),
        ],
        [
            value("i", [], TensorProto.INT64),
            value("go_on", [], TensorProto.BOOL),
            value("state", ["n"]),
        ],
        [value("still", [], TensorProto.BOOL), value("next", ["n"])],
    )
    return networks.model(
        [
            node("Resize", ["x", "", "scales"], ["big"], mode="nearest"),
            node("Cast", ["flags"], ["f"], to=TensorProto.FLOAT),
            node("Add", ["big", "f"], ["sum"]),
            node("Mul", ["sum", "f"], ["product"]),
            node("CumSum", ["product", "axis"], ["cumulated"]),
            node("Range", ["zero", "four", "step"], ["ramp"]),
            node("Add", ["cumulated", "ramp"], ["shifted"]),
            node("Reshape", ["shifted", "flat"], ["vector"]),
            node("Loop", ["trips", "", "vector"], ["y"], body=loop),
        ],
        [value("x", [1, 1, 2, 2]), value("flags", [1, 1, 4, 4], TensorProto.BOOL)],
        [value("y", [16])],
        [
            constant("scales", [1, 1, 2, 2]),
            constant("axis", 3, "int64"),
            constant("zero", 0.0),
            constant("four", 4.0),
            constant("step", 1.0),
            constant("flat", [16], "int64"),
            constant("trips", 2, "int64"),
            constant("one_k", [1], "int64"),
            constant("low", -3.0),
            constant("high", 3.0),
        ],
        opset=15,
    )


def test_fp16_survives_control_flow_and_operators_without_float16(tmp_path: Path) -> None:
    model = networks.saved(torture(), tmp_path / "m.onnx")
    to_narrow(model, tmp_path / "h.onnx", FLOAT16)
    onnx.checker.check_model(str(tmp_path / "h.onnx"), full_check=True)
    inputs = {
        "x": RANDOM.standard_normal((1, 1, 2, 2)).astype(np.float32),
        "flags": RANDOM.random((1, 1, 4, 4)) > 0.5,
    }
    (expected,), (actual,) = outputs(model.path, inputs), outputs(tmp_path / "h.onnx", inputs)
    np.testing.assert_allclose(actual, expected, rtol=1e-2, atol=1e-2)


@pytest.mark.parametrize("opset", [9, 11])
def test_fp16_takes_old_models_that_list_weights_as_inputs(opset: int, tmp_path: Path) -> None:
    proto = networks.conv_net(opset=opset, ir_version=3)
    proto.graph.input.extend(value(t.name, t.dims) for t in proto.graph.initializer)
    model = networks.saved(proto, tmp_path / "m.onnx")
    to_narrow(model, tmp_path / "h.onnx", FLOAT16)
    types = {t.data_type for t in onnx.load(tmp_path / "h.onnx").graph.initializer}
    assert types == {TensorProto.FLOAT16}
    outputs(tmp_path / "h.onnx", images())


def test_fp16_reads_external_data(tmp_path: Path) -> None:
    onnx.save(
        networks.conv_net(),
        tmp_path / "m.onnx",
        save_as_external_data=True,
        location="weights.bin",
        size_threshold=0,
    )
    to_narrow(load_model(tmp_path / "m.onnx"), tmp_path / "h.onnx", FLOAT16)
    inputs = images()
    (expected,) = outputs(tmp_path / "m.onnx", inputs)
    np.testing.assert_allclose(outputs(tmp_path / "h.onnx", inputs)[0], expected, atol=5e-3)


def test_an_operator_without_float16_stays_float32(tmp_path: Path) -> None:
    # CDist of ONNX Runtime takes float32 and float64 only.
    distance = node("CDist", ["r", "r"], ["y"], domain="com.microsoft", metric="euclidean")
    proto = networks.model(
        [node("Relu", ["x"], ["r"]), distance], [value("x", [2, 2])], [value("y", [2, 2])]
    )
    proto.opset_import.append(helper.make_opsetid("com.microsoft", 1))
    model = networks.saved(proto, tmp_path / "m.onnx")
    to_narrow(model, tmp_path / "h.onnx", FLOAT16)
    inputs = {"x": RANDOM.standard_normal((2, 2)).astype(np.float32)}
    (expected,), (actual,) = outputs(model.path, inputs), outputs(tmp_path / "h.onnx", inputs)
    np.testing.assert_allclose(actual, expected, atol=5e-3)


def test_conversion_is_deterministic(tmp_path: Path) -> None:
    model = networks.saved(networks.encoder(), tmp_path / "m.onnx")
    data = [tokens()]
    for name in ("a", "b"):
        to_narrow(model, tmp_path / f"{name}.fp16", FLOAT16)
        to_int8(model, data, tmp_path / f"{name}.int8")
    for kind in ("fp16", "int8"):
        assert (tmp_path / f"a.{kind}").read_bytes() == (tmp_path / f"b.{kind}").read_bytes()


@pytest.mark.parametrize("method", ["minmax", "entropy", "percentile"])
@pytest.mark.parametrize("name", NETWORKS)
def test_int8_quantises_symmetrically_with_float_biases(
    name: str, method: str, tmp_path: Path
) -> None:
    make, feed = NETWORKS[name]
    model = networks.saved(make(), tmp_path / "m.onnx")
    data = [feed(1), feed(4), feed(2)]
    to_int8(model, data, tmp_path / "q.onnx", options={"calibration_method": method})
    proto = onnx.load(tmp_path / "q.onnx")
    points = [t for t in proto.graph.initializer if t.name.endswith("zero_point")]
    assert points
    assert all(t.data_type == TensorProto.INT8 for t in points)
    assert not any(onnx.numpy_helper.to_array(t).any() for t in points)
    inputs = data[1]
    (expected,), (actual,) = outputs(model.path, inputs), outputs(tmp_path / "q.onnx", inputs)
    error = float(np.abs(actual - expected).max() / np.abs(expected).max())
    assert 1e-4 < error < 0.15


@pytest.mark.parametrize("opset", [9, 11, 12])
def test_int8_raises_old_opsets(opset: int, tmp_path: Path) -> None:
    ir_version = 4 if opset < 11 else 8
    model = networks.saved(
        networks.conv_net(opset=opset, ir_version=ir_version), tmp_path / "m.onnx"
    )
    to_int8(model, [images()], tmp_path / "q.onnx")
    assert load_model(tmp_path / "q.onnx").opset >= 13


def test_int8_weights_are_stored_as_requested(tmp_path: Path) -> None:
    model = networks.saved(networks.conv_net(), tmp_path / "m.onnx")
    for qdq_weights in (True, False):
        to_int8(model, [images()], tmp_path / "q.onnx", qdq_weights=qdq_weights)
        proto = onnx.load(tmp_path / "q.onnx")
        stored = {t.data_type for t in proto.graph.initializer if len(t.dims) == 4}
        assert stored == {TensorProto.FLOAT if qdq_weights else TensorProto.INT8}


def test_int8_leaves_blocked_nodes_alone(tmp_path: Path) -> None:
    model = networks.saved(networks.conv_net(), tmp_path / "m.onnx")

    def pairs(*kept: str) -> int:
        to_int8(model, [images()], tmp_path / "q.onnx", keep_fp32=kept)
        return load_model(tmp_path / "q.onnx").op_types["QuantizeLinear"]

    assert pairs() > pairs("conv2") > pairs("Conv") == pairs("conv[12]")


def test_int8_keeps_a_quantised_model(tmp_path: Path) -> None:
    model = networks.saved(networks.conv_net(), tmp_path / "m.onnx")
    to_int8(model, [images()], tmp_path / "q.onnx")
    done = to_int8(load_model(tmp_path / "q.onnx"), [], tmp_path / "again.onnx")
    assert "brings its own Q/DQ nodes" in done.notes[0]
    inputs = images()
    np.testing.assert_array_equal(
        outputs(tmp_path / "q.onnx", inputs)[0], outputs(tmp_path / "again.onnx", inputs)[0]
    )


def test_fp16_of_a_quantised_model_keeps_its_scales_valid(tmp_path: Path) -> None:
    model = networks.saved(networks.conv_net(), tmp_path / "m.onnx")
    to_int8(model, [images()], tmp_path / "q.onnx")
    to_narrow(load_model(tmp_path / "q.onnx"), tmp_path / "h.onnx", FLOAT16)
    inputs = images()
    (expected,) = outputs(tmp_path / "q.onnx", inputs)
    np.testing.assert_allclose(outputs(tmp_path / "h.onnx", inputs)[0], expected, atol=0.1)


def test_int8_without_calibration_is_an_error(tmp_path: Path) -> None:
    model = networks.saved(networks.conv_net(), tmp_path / "m.onnx")
    with pytest.raises(InputError, match=r"(?s)needs calibration data.*trt_calibration"):
        to_int8(model, [], tmp_path / "q.onnx")


def test_int8_with_foreign_calibration_says_what_it_did(tmp_path: Path) -> None:
    model = networks.saved(networks.conv_net(), tmp_path / "m.onnx")
    with pytest.raises(InputError, match=r"(?s)calibration sample 0: .*picture.*'image'"):
        to_int8(model, [{"picture": images()["image"]}], tmp_path / "q.onnx")
    assert [path.name for path in tmp_path.iterdir()] == ["m.onnx"]


def test_int8_of_a_model_with_nothing_to_quantise_is_an_error(tmp_path: Path) -> None:
    proto = networks.model([node("Relu", ["x"], ["y"])], [value("x", [2])], [value("y", [2])])
    model = networks.saved(proto, tmp_path / "m.onnx")
    data = [{"x": np.ones(2, np.float32)}]
    with pytest.raises(EngineBuildError, match=r"nothing in m\.onnx could be quantised"):
        to_int8(model, data, tmp_path / "q.onnx")


def test_converters_leave_no_trace_in_logging_output_or_folders(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    handlers = logging.getLogger().handlers[:]
    model = networks.saved(networks.conv_net(), tmp_path / "m.onnx")
    done = to_int8(
        model, [images()], tmp_path / "q.onnx", options={"calibration_method": "entropy"}
    )
    to_narrow(model, tmp_path / "h.onnx", FLOAT16)
    assert done.notes == ()
    assert logging.getLogger().handlers == handlers
    assert capfd.readouterr() == ("", "")
    assert {path.name for path in tmp_path.iterdir()} == {"m.onnx", "q.onnx", "h.onnx"}


def test_versions_name_every_tool_that_decides_the_result() -> None:
    versions = converter_versions()
    assert versions["onnxruntime"] == onnxruntime.__version__
    assert versions["onnx"] == onnx.__version__
    assert versions["pytest-trt"].isdigit()


@pytest.mark.parametrize(
    "file", ["silero_vad.onnx", "silero_vad_16k_op15.onnx", "silero_vad_op18_ifless.onnx"]
)
def test_a_recurrent_model_with_control_flow(file: str, tmp_path: Path) -> None:
    spec = importlib.util.find_spec("silero_vad")
    if spec is None or spec.submodule_search_locations is None:
        pytest.skip("silero_vad is not installed")
    model = load_model(Path(spec.submodule_search_locations[0], "data", file))
    to_narrow(model, tmp_path / "h.onnx", FLOAT16)
    inputs = {
        "input": (RANDOM.standard_normal((1, 576)) * 0.3).astype(np.float32),
        "state": np.zeros((2, 1, 128), np.float32),
        "sr": np.array(16000),
    }
    for expected, actual in zip(
        outputs(model.path, inputs), outputs(tmp_path / "h.onnx", inputs), strict=True
    ):
        np.testing.assert_allclose(actual, expected, atol=1e-2)
