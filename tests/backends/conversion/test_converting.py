"""What is checked after a conversion, and what a user reads where a converter fails."""

from __future__ import annotations

from pathlib import Path

import builders_networks as networks
import numpy as np
import onnx
import pytest
from builders_model import remedy
from onnx import TensorProto, helper, numpy_helper

from pytest_trt.backends.conversion.convert import converted
from pytest_trt.backends.conversion.converting import unoptimised, verify
from pytest_trt.backends.conversion.rounding import round_file
from pytest_trt.backends.onnxruntime.backend import OnnxRuntimeBackend
from pytest_trt.diagnostics import EngineBuildError, ModelError
from pytest_trt.engine.protocols import BuildRequest, Plan
from pytest_trt.engine.spec import EngineSpec, Target
from pytest_trt.onnx.file import OnnxModel

node = helper.make_node
value = networks.value
IMAGES = {"image": np.random.default_rng(0).standard_normal((2, 3, 16, 16)).astype(np.float32)}
CPU = Target("cpu")


@pytest.fixture
def half(tmp_path: Path) -> tuple[OnnxModel, Path, onnx.ModelProto]:
    """Return a model, the path of its conversion, and that conversion."""
    model = networks.saved(networks.conv_net(), tmp_path / "m.onnx")
    converted(model, "fp16", tmp_path / "half.onnx")
    return model, tmp_path / "half.onnx", onnx.load(tmp_path / "half.onnx")


@pytest.mark.parametrize(
    ("changed", "found"),
    [
        ({"name": "other"}, "logits (none instead of float32, rank 2), other (float32, rank 2 "),
        ({"dtype": TensorProto.FLOAT16}, "logits (float16, rank 2 instead of float32, rank 2)"),
        ({"shape": ["batch", 10, 1]}, "logits (float32, rank 3 instead of float32, rank 2)"),
        ({"shape": None}, ""),
        ({"shape": [1, 10]}, ""),
    ],
    ids=["name", "type", "rank", "no rank", "other sizes"],
)
def test_inputs_and_outputs_stay_those_of_the_model(
    changed: dict, found: str, half: tuple[OnnxModel, Path, onnx.ModelProto]
) -> None:
    model, path, proto = half
    output = {"name": "logits", "shape": ["batch", 10], "dtype": TensorProto.FLOAT, **changed}
    for one in proto.graph.node:
        one.output[:] = [output["name"] if name == "logits" else name for name in one.output]
    proto.graph.output[0].CopyFrom(value(**output))
    onnx.save(proto, path)
    if not found:
        verify(model, path, "fp16", [IMAGES], loads=False)
        return
    with pytest.raises(EngineBuildError, match="to fp16 changed inputs or outputs of m") as got:
        verify(model, path, "fp16", loads=False)
    assert found in got.value.message
    assert got.value.diagnostic.code == "TRT354"


def test_a_conversion_that_changes_the_inputs_is_to_blame_and_not_the_backend(
    tmp_path: Path,
) -> None:
    """Until opset 8, a Scan has a batch, which onnx removes for bfloat16: that needs opset 13."""
    names = [value(name, [2]) for name in ("state", "part", "sum", "each")]
    nodes = [node("Add", ["state", "part"], ["sum"]), node("Identity", ["sum"], ["each"])]
    proto = networks.model(
        [
            node(
                "Scan",
                ["", "start", "x"],
                ["last", "y"],
                num_scan_inputs=1,
                body=networks.subgraph(nodes, names[:2], names[2:]),
            )
        ],
        [value("start", [1, 2]), value("x", [1, 3, 2])],
        [value("last", [1, 2]), value("y", [1, 3, 2])],
        opset=8,
    )
    model = networks.saved(proto, tmp_path / "m.onnx")
    for precision in ("fp16", "bf16"):
        request = BuildRequest(model, EngineSpec(precision), CPU, tmp_path / precision, ())
        request.directory.mkdir()
        if precision == "fp16":
            OnnxRuntimeBackend(threads=1).build(request)
            continue
        with pytest.raises(EngineBuildError, match="the conversion to bf16 changed inputs") as got:
            OnnxRuntimeBackend(threads=1).build(request)
        assert "x (float32, rank 2 instead of float32, rank 3)" in got.value.message


@pytest.mark.parametrize("size", [8, 7])
def test_a_conversion_has_to_run_on_the_calibration_data(size: int, tmp_path: Path) -> None:
    def reshaped(to: int) -> onnx.ModelProto:
        return networks.model(
            [node("Reshape", ["x", "shape"], ["y"], name="heads")],
            [value("x", ["n"])],
            [value("y", None)],
            [networks.constant("shape", [to, -1], "int64")],
        )

    model = networks.saved(reshaped(8), tmp_path / "m.onnx")
    onnx.save(reshaped(size), tmp_path / "int8.onnx")
    samples = [{"x": np.ones(16, np.float32)}]
    if size == 8:
        verify(model, tmp_path / "int8.onnx", "int8", samples)
        return
    with pytest.raises(EngineBuildError, match="is invalid after conversion to int8"):
        verify(model, tmp_path / "int8.onnx", "int8", samples)


@pytest.mark.parametrize(
    ("name", "entry"), [("sample", "node sample"), ("", "operator GridSample")]
)
def test_a_conversion_that_is_invalid_names_what_keep_fp32_accepts(
    name: str, entry: str, tmp_path: Path
) -> None:
    # ONNX Runtime declares a type of its own for the result, and makes it that of the first input.
    proto = networks.model(
        [node("GridSample", ["x", "grid"], ["y"], name=name, domain="com.microsoft")],
        [value("x", [1, 1, 4, 8]), value("grid", [1, 1, 1, 2])],
        [value("y", None)],
    )
    proto.opset_import.append(helper.make_opsetid("com.microsoft", 1))
    model = networks.saved(proto, tmp_path / "m.onnx")
    with pytest.raises(EngineBuildError, match="is invalid after conversion to fp16") as got:
        converted(model, "fp16", tmp_path / "half.onnx")
    keep = entry.split()[1]
    assert remedy(got.value) == f'Keeping {entry} in FP32 may help: keep_fp32=["{keep}"]'
    converted(model, "fp16", tmp_path / "half.onnx", keep_fp32=[keep])


@pytest.mark.parametrize("precision", ["fp32", "fp16", "bf16", "int8", "fp8", "int4", "mixed"])
def test_an_output_without_a_type_has_the_one_that_onnx_runtime_infers(
    precision: str, tmp_path: Path
) -> None:
    proto = networks.model(
        [node("MatMul", ["x", "w"], ["y"])],
        [value("x", ["n", 128])],
        [value("y", None)],
        [networks.weights("w", 128, 8, scale=0.02)],
    )
    proto.graph.output[0].ClearField("type")
    model = networks.saved(proto, tmp_path / "m.onnx")
    inputs = {"x": np.ones((2, 128), np.float32)}
    backend, spec = OnnxRuntimeBackend(threads=1), EngineSpec(precision)
    (tmp_path / "engine").mkdir()
    done = backend.build(BuildRequest(model, spec, CPU, tmp_path / "engine", (inputs,)))
    plan = Plan(tmp_path / "engine" / done.plan_name)
    found = backend.open(plan, model, spec, CPU).run(inputs)["y"]
    expected = backend.reference(model).run(inputs)["y"]
    np.testing.assert_allclose(found, expected, atol=0.2)


def test_what_onnx_cannot_convert_names_product_model_and_precision(tmp_path: Path) -> None:
    weights = networks.weights("w", 128, 8)
    indices = networks.constant("places", np.arange(128 * 8), "int64")
    weights.dims[:] = [128 * 8]
    proto = networks.model(
        [node("MatMul", ["x", "w"], ["y"])], [value("x", [1, 128])], [value("y", None)]
    )
    proto.graph.sparse_initializer.append(helper.make_sparse_tensor(weights, indices, [128, 8]))
    model = networks.saved(proto, tmp_path / "m.onnx")
    with pytest.raises(
        EngineBuildError, match=r"^pytest-trt \S+ cannot convert m.onnx to int4"
    ) as got:
        converted(model, "int4", tmp_path / "int4.onnx")
    assert got.value.diagnostic.code == "TRT354"
    assert "Use another precision" in remedy(got.value)
    converted(model, "fp16", tmp_path / "half.onnx")


def test_a_graph_that_cannot_run_is_an_error_of_the_model_with_its_name(tmp_path: Path) -> None:
    proto = networks.model(
        [node("Add", ["x", "b"], ["a"], name="first"), node("Relu", ["a"], ["b"])],
        [value("x", [1])],
        [value("b", [1])],
    )
    model = networks.saved(proto, tmp_path / "m.onnx")
    with pytest.raises(
        ModelError, match=r"^m\.onnx: graph 'network' has a cycle through Add"
    ) as got:
        converted(model, "fp16", tmp_path / "half.onnx")
    assert got.value.diagnostic.facts["model"] == str(model.path)


@pytest.mark.parametrize("precision", ["fp16", "int8", "mixed"])
@pytest.mark.parametrize("place", ["initialiser", "constant"])
def test_sparse_weights_become_what_dense_ones_become(
    precision: str, place: str, tmp_path: Path
) -> None:
    weights = np.arange(64, dtype=np.float32).reshape(8, 8) % 5 / 7
    at = np.flatnonzero(weights)
    stored = numpy_helper.from_array(weights.reshape(-1)[at], "w")
    sparse = helper.make_sparse_tensor(stored, networks.constant("at", at, "int64"), [8, 8])
    product = node("MatMul", ["x", "w"], ["y"])
    ends = [value("x", [2, 8])], [value("y", None)]
    dense = networks.model([product], *ends, [numpy_helper.from_array(weights, "w")])
    if place == "constant":
        proto = networks.model([node("Constant", [], ["w"], sparse_value=sparse), product], *ends)
    else:
        proto = networks.model([product], *ends)
        proto.graph.sparse_initializer.append(sparse)
    inputs = {"x": np.random.default_rng(0).standard_normal((2, 8)).astype(np.float32)}
    found = []
    for name, one in (("dense", dense), ("sparse", proto)):
        output = tmp_path / f"{name}.{precision}.onnx"
        model = networks.saved(one, tmp_path / f"{name}.onnx")
        converted(model, precision, output, calibration=[inputs])
        found.append(unoptimised(output).run(None, inputs)[0])
    np.testing.assert_array_equal(*found)
    assert found[0].any()


@pytest.mark.parametrize("precision", ["int8", "fp8", "mixed"])
def test_a_model_that_only_passes_its_inputs_on_is_quantised(
    precision: str, tmp_path: Path
) -> None:
    product = node("MatMul", ["x", "w"], ["unused"])
    x = value("x", [2, 8])
    proto = networks.model([product], [x], [x], [networks.weights("w", 8, 8)])
    model = networks.saved(proto, tmp_path / "m.onnx")
    inputs = {"x": np.ones((2, 8), np.float32)}
    converted(model, precision, tmp_path / "o.onnx", calibration=[inputs])
    assert unoptimised(tmp_path / "o.onnx").run(None, inputs)[0].all()


@pytest.mark.parametrize("place", ["initialiser", "constant"])
def test_sparse_weights_of_a_float16_model_are_rounded_as_dense_ones(
    place: str, tmp_path: Path
) -> None:
    half = TensorProto.FLOAT16
    stored = networks.constant("w", [1.5, 2.25], "float16")
    sparse = helper.make_sparse_tensor(stored, networks.constant("at", [1, 2], "int64"), [2, 2])
    product = node("MatMul", ["x", "w"], ["y"])
    ends = [value("x", [1, 2], half)], [value("y", None, half)]
    if place == "constant":
        proto = networks.model([node("Constant", [], ["w"], sparse_value=sparse), product], *ends)
    else:
        proto = networks.model([product], *ends)
        proto.graph.sparse_initializer.append(sparse)
    networks.saved(proto, tmp_path / "m.onnx")
    round_file(tmp_path / "m.onnx")
    (y,) = unoptimised(tmp_path / "m.onnx").run(None, {"x": np.array([[2, 4]], np.float16)})
    assert y.tolist() == [[9.0, 3.0]]
