from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import builders_networks as networks
import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import AttributeProto, TensorProto, helper, numpy_helper

from pytest_trt.backends.conversion.converting import unoptimised
from pytest_trt.backends.conversion.int8 import to_int8
from pytest_trt.backends.conversion.int8_preparation import prepare, unshare_weights
from pytest_trt.backends.onnxruntime.backend import OnnxRuntimeBackend
from pytest_trt.diagnostics import EngineBuildError
from pytest_trt.engine.protocols import BuildRequest, Plan
from pytest_trt.engine.spec import EngineSpec
from pytest_trt.onnx import graph
from pytest_trt.onnx.file import load_model
from pytest_trt.onnx.loading import load


def images() -> dict[str, np.ndarray]:
    return {"image": np.random.default_rng(5).standard_normal((4, 3, 16, 16)).astype(np.float32)}


def test_batch_normalisation_is_folded_and_values_stay(tmp_path: Path) -> None:
    nodes = [
        helper.make_node("Conv", ["image", "w"], ["c"], pads=[1, 1, 1, 1]),
        helper.make_node("BatchNormalization", ["c", *"abmv"], ["y"]),
    ]
    statistics = [networks.constant(name, np.linspace(0.5, 2, 4)) for name in "abmv"]
    proto = networks.model(
        nodes,
        [networks.value("image", ["batch", 3, 16, 16])],
        [networks.value("y", ["batch", 4, 16, 16])],
        [networks.weights("w", 4, 3, 3, 3), *statistics],
    )
    model = networks.saved(proto, tmp_path / "m.onnx")
    prepared = prepare(load(model.path), model.opset, tmp_path)
    assert load_model(prepared).op_types == {"Conv": 1}
    expected, actual = (
        onnxruntime.InferenceSession(path).run(None, images())[0] for path in (model.path, prepared)
    )
    np.testing.assert_allclose(actual, expected, rtol=1e-4, atol=1e-4)


def test_weights_beyond_one_file_stay_next_to_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = networks.saved(networks.conv_net(), tmp_path / "m.onnx")
    to_int8(model, [images()], tmp_path / "one.onnx")
    monkeypatch.setattr(graph, "INLINE_LIMIT_BYTES", 1000)
    to_int8(model, [images()], tmp_path / "two.onnx")
    assert (tmp_path / "two.onnx.data").exists()
    assert not (tmp_path / "one.onnx.data").exists()
    one, two = (onnx.load(tmp_path / name) for name in ("one.onnx", "two.onnx"))
    assert [node.op_type for node in one.graph.node] == [node.op_type for node in two.graph.node]
    first, second = (
        onnxruntime.InferenceSession(tmp_path / name).run(None, images())[0]
        for name in ("one.onnx", "two.onnx")
    )
    np.testing.assert_array_equal(first, second)


def test_quantisation_is_imported_without_sympy() -> None:
    code = """
        import sys
        sys.modules["sympy"] = None
        from pytest_trt.backends.conversion.int8_preparation import import_quantization
        assert callable(import_quantization().quantize_static)
        assert import_quantization() is sys.modules["onnxruntime.quantization"]
    """
    done = subprocess.run(
        [sys.executable, "-c", "\n".join(line.strip() for line in code.splitlines())],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr


def test_another_missing_module_is_reported() -> None:
    code = (
        "import sys; sys.modules['onnxruntime.quantization.quantize'] = None\n"
        "from pytest_trt.backends.conversion.int8_preparation import import_quantization\n"
        "import_quantization()"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert "onnxruntime.quantization.quantize" in done.stderr.splitlines()[-1]


IMAGES = {"image": np.zeros((2, 3, 16, 16), np.float32)}


def kernel_shapes(path: Path) -> dict[str, list[int]]:
    return {
        node.name: list(attribute.ints)
        for node in onnx.load(path).graph.node
        for attribute in node.attribute
        if attribute.name == "kernel_shape" and attribute.type == AttributeProto.INTS
    }


@pytest.mark.parametrize("qdq_weights", [True, False])
def test_kernel_shapes_that_a_model_leaves_out_are_stated(
    qdq_weights: bool, tmp_path: Path
) -> None:
    model = networks.saved(networks.conv_net(), tmp_path / "model.onnx")
    assert kernel_shapes(model.path) == {}
    to_int8(model, [IMAGES], tmp_path / "q.onnx", qdq_weights=qdq_weights)
    assert kernel_shapes(tmp_path / "q.onnx") == {"conv1": [3, 3], "conv2": [3, 3]}


def test_kernel_shapes_that_a_model_states_stay(tmp_path: Path) -> None:
    proto = networks.conv_net()
    proto.graph.node[0].attribute.append(helper.make_attribute("kernel_shape", [3, 3]))
    to_int8(networks.saved(proto, tmp_path / "model.onnx"), [IMAGES], tmp_path / "q.onnx")
    assert kernel_shapes(tmp_path / "q.onnx")["conv1"] == [3, 3]


def test_a_model_that_is_quantised_already_gets_them_too(tmp_path: Path) -> None:
    model = networks.saved(networks.conv_net(), tmp_path / "model.onnx")
    to_int8(model, [IMAGES], tmp_path / "q.onnx")
    proto = onnx.load(tmp_path / "q.onnx")
    for node in proto.graph.node:
        for attribute in [a for a in node.attribute if a.name == "kernel_shape"]:
            node.attribute.remove(attribute)
    onnx.save(proto, tmp_path / "bare.onnx")
    to_int8(load_model(tmp_path / "bare.onnx"), [], tmp_path / "again.onnx")
    assert kernel_shapes(tmp_path / "again.onnx") == {"conv1": [3, 3], "conv2": [3, 3]}


SHAPE = [2, 4, 8, 8]


def shared(path: Path) -> Path:
    """Write a model in which three convolutions share one kernel, and save it."""
    rng = np.random.default_rng(0)
    kernel = numpy_helper.from_array(rng.normal(size=(4, 4, 3, 3)).astype(np.float32) / 6, "w")
    other = numpy_helper.from_array(np.ones((4, 4, 1, 1), np.float32), "w_2")
    nodes = [
        helper.make_node("Conv", [f"x{n}", "w"], [f"x{n + 1}"], f"conv{n}", pads=[1] * 4)
        for n in range(3)
    ]
    nodes.append(helper.make_node("Conv", ["x3", "w_2"], ["y"], "last"))
    values = [helper.make_tensor_value_info(n, TensorProto.FLOAT, SHAPE) for n in ("x0", "y")]
    graph = helper.make_graph(nodes, "shared", values[:1], values[1:], [kernel, other])
    proto = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.save(proto, path)
    return path


def test_every_operator_gets_its_own_weights(tmp_path: Path) -> None:
    graph = onnx.load(shared(tmp_path / "m.onnx")).graph
    unshare_weights(graph)
    assert [node.input[1] for node in graph.node] == ["w", "w_3", "w_4", "w_2"]
    values = {one.name: numpy_helper.to_array(one) for one in graph.initializer}
    assert np.array_equal(values["w"], values["w_3"])
    before = [list(node.input) for node in graph.node]
    unshare_weights(graph)
    assert [list(node.input) for node in graph.node] == before


def test_shared_weights_run_in_int8(tmp_path: Path) -> None:
    model = load_model(shared(tmp_path / "m.onnx"))
    inputs = {"x0": np.random.default_rng(1).random(SHAPE, np.float32)}
    backend = OnnxRuntimeBackend(threads=1)
    outputs = []
    for precision in ("int8", "fp32"):
        folder = tmp_path / precision
        folder.mkdir()
        spec, target = EngineSpec(precision), backend.target("cpu")
        request = BuildRequest(model, spec, target, folder, calibration=[inputs])
        plan = folder / backend.build(request).plan_name
        outputs.append(backend.open(Plan(plan), model, spec, target).run(inputs)["y"])
    found, expected = outputs
    assert 0 < np.abs(found - expected).max() < 0.05 * np.abs(expected).max()


@pytest.mark.parametrize("passed", ["x", "w"])
def test_int8_of_a_model_that_passes_on_an_input_or_a_constant(passed: str, tmp_path: Path) -> None:
    proto = networks.model(
        [helper.make_node("MatMul", ["x", "w"], ["y"])],
        [networks.value("x", [4, 4])],
        [networks.value(passed, [4, 4]), networks.value("y", [4, 4])],
        [networks.weights("w", 4, 4)],
    )
    model = networks.saved(proto, tmp_path / "m.onnx")
    x = np.random.default_rng(0).standard_normal((4, 4)).astype(np.float32)
    to_int8(model, [{"x": x}], tmp_path / "q.onnx")
    expected = unoptimised(model.path).run(None, {"x": x})
    found = unoptimised(tmp_path / "q.onnx").run(None, {"x": x})
    assert load_model(tmp_path / "q.onnx").outputs == model.outputs
    np.testing.assert_array_equal(found[0], expected[0])
    np.testing.assert_allclose(found[1], expected[1], atol=0.1)


def test_int8_of_a_model_without_operators_to_quantise_needs_no_calibration(
    tmp_path: Path,
) -> None:
    proto = networks.model(
        [helper.make_node("Relu", ["x"], ["y"])],
        [networks.value("x", [2])],
        [networks.value("y", [2])],
    )
    model = networks.saved(proto, tmp_path / "m.onnx")
    with pytest.raises(EngineBuildError, match="could be quantised") as got:
        to_int8(model, [{"x": np.float32([np.nan, 1])}], tmp_path / "q.onnx")
    assert got.value.diagnostic.code == "TRT355"


@pytest.mark.parametrize("ir_version", [3, 4])
def test_int8_of_old_models_with_weights_in_constants(ir_version: int, tmp_path: Path) -> None:
    weights = networks.weights("w", 4, 3, 3, 3)
    proto = networks.model(
        [
            helper.make_node("Constant", [], ["w"], value=weights),
            helper.make_node("Conv", ["x", "w"], ["c"]),
            helper.make_node("Clip", ["c"], ["y"], min=0.0, max=6.0),
        ],
        [networks.value("x", [1, 3, 8, 8])],
        [networks.value("y", [1, 4, 6, 6])],
        opset=9,
        ir_version=ir_version,
    )
    model = networks.saved(proto, tmp_path / "m.onnx")
    x = np.random.default_rng(0).standard_normal((1, 3, 8, 8)).astype(np.float32)
    to_int8(model, [{"x": x}], tmp_path / "q.onnx")
    (expected,) = unoptimised(model.path).run(None, {"x": x})
    (found,) = unoptimised(tmp_path / "q.onnx").run(None, {"x": x})
    np.testing.assert_allclose(found, expected, atol=0.1)


def test_int8_of_an_input_that_calibration_cannot_feed_names_it(tmp_path: Path) -> None:
    proto = networks.model(
        [
            helper.make_node("Cast", ["x"], ["f"], to=TensorProto.FLOAT),
            helper.make_node("MatMul", ["f", "w"], ["y"]),
        ],
        [networks.value("x", [4, 4], TensorProto.BFLOAT16)],
        [networks.value("y", [4, 4])],
        [networks.weights("w", 4, 4)],
    )
    model = networks.saved(proto, tmp_path / "m.onnx")
    with pytest.raises(EngineBuildError, match=r"does not support the types of .*x.*bfloat16"):
        to_int8(model, [], tmp_path / "q.onnx")
