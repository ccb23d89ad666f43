"""What users read when ONNX Runtime fails, taken from its own failures."""

from __future__ import annotations

import re
from pathlib import Path

import builders_networks as networks
import builders_shapes as shapes
import numpy as np
import onnx
import onnxruntime
import pytest
from builders_model import remedy
from onnx import TensorProto, helper
from packaging.version import Version

from pytest_trt.backends.conversion.int8 import to_int8
from pytest_trt.backends.conversion.ort_messages import first_line, refusal, run_refusal
from pytest_trt.backends.onnxruntime.backend import OnnxRuntimeBackend
from pytest_trt.diagnostics import EngineBuildError, EngineRunError, ModelError, PytestTrtError
from pytest_trt.engine.protocols import BuildRequest
from pytest_trt.engine.spec import EngineSpec, Target
from pytest_trt.tensors.spec import Tensors

node = helper.make_node
value = networks.value
BACKEND = OnnxRuntimeBackend(threads=1)
TABLE = networks.constant("table", np.zeros((5, 2)))
IDS = value("ids", ["n"], TensorProto.INT64)


def embedding() -> onnx.ModelProto:
    return networks.model(
        [node("Gather", ["table", "ids"], ["y"])], [IDS], [value("y", None)], [TABLE]
    )


def calculated_index() -> onnx.ModelProto:
    """Return a table looked up at an index that is made from floats."""
    return networks.model(
        [
            node("Cast", ["x"], ["ids"], to=TensorProto.INT64),
            node("Gather", ["table", "ids"], ["y"]),
        ],
        [value("x", ["n"])],
        [value("y", None)],
        [TABLE],
    )


def product() -> onnx.ModelProto:
    return networks.model(
        [node("MatMul", ["a", "b"], ["y"])],
        [value("a", ["n", "k"]), value("b", ["l", "m"])],
        [value("y", None)],
    )


def failure(proto: onnx.ModelProto, inputs: Tensors, folder: Path) -> EngineRunError:
    model = networks.saved(proto, folder / "m.onnx")
    with pytest.raises(EngineRunError) as caught:
        BACKEND.reference(model).run(inputs)
    return caught.value


def test_two_values_of_one_name_point_to_the_names_of_the_export(tmp_path: Path) -> None:
    """PyTorch's exporter names an output as a value of its own: "embedding" is one."""
    nodes = [node("Relu", ["x"], ["y"]), node("Neg", ["y"], ["a"]), node("Relu", ["a"], ["y"])]
    proto = networks.model(nodes, [value("x", [2])], [value("y", [2])])
    model = networks.saved(proto, tmp_path / "m.onnx")
    with pytest.raises(PytestTrtError, match="two values named 'y'") as caught:
        BACKEND.reference(model).run({"x": np.zeros(2, np.float32)})
    assert caught.value.diagnostic.code == "TRT208"
    assert "output_names=" in remedy(caught.value)


def test_an_index_out_of_range_points_to_the_integer_inputs(tmp_path: Path) -> None:
    error = failure(embedding(), {"ids": np.array([1, 7])}, tmp_path)
    assert "'ids' (1 to 7)" in remedy(error)
    assert "input_ranges" in remedy(error)
    assert BACKEND.reference(networks.saved(embedding(), tmp_path / "m.onnx")).run(
        {"ids": np.array([1, 4])}
    )


def test_an_index_that_the_model_computes_needs_real_data(tmp_path: Path) -> None:
    error = failure(calculated_index(), {"x": np.array([7], np.float32)}, tmp_path)
    assert "real data" in remedy(error)
    assert "input_ranges" not in remedy(error)


@pytest.mark.parametrize("operator", ["GatherElements", "GatherND"])
def test_other_lookups_say_it_in_other_words(operator: str, tmp_path: Path) -> None:
    proto = networks.model(
        [node(operator, ["table", "ids"], ["y"])],
        [value("ids", ["n", 1], TensorProto.INT64)],
        [value("y", None)],
        [TABLE],
    )
    assert "'ids' (9)" in remedy(failure(proto, {"ids": np.array([[9]])}, tmp_path))


def test_shapes_that_do_not_fit_each_other_point_to_shapes(tmp_path: Path) -> None:
    inputs = {"a": np.zeros((2, 3), np.float32), "b": np.zeros((4, 2), np.float32)}
    error = failure(product(), inputs, tmp_path)
    assert remedy(error).startswith("Check the shapes")
    assert "a [2, 3], b [4, 2]" in error.message
    assert "profiles" not in remedy(error)


@pytest.mark.parametrize("length", [2, 9])
def test_values_that_may_be_a_shape_point_to_their_range(length: int, tmp_path: Path) -> None:
    inputs = {"table": np.zeros((1, 8), np.float32), "size": np.full(length, 3)}
    fix = remedy(failure(shapes.reshaper("rank"), inputs, tmp_path))
    # No tensor has nine dimensions in TensorRT.
    assert ('"size": {"values": ((8, 8), (16, 16), (32, 32))}' in fix) == (length == 2)


def test_a_branch_that_does_not_fit_points_to_the_values_that_chose_it(tmp_path: Path) -> None:
    result = [value("h", None)]
    proto = networks.model(
        [
            node("Equal", ["rate", "known"], ["is_known"]),
            node(
                "If",
                ["is_known"],
                ["y"],
                then_branch=networks.subgraph([node("Relu", ["a"], ["h"])], [], result),
                else_branch=networks.subgraph([node("MatMul", ["a", "a"], ["h"])], [], result),
            ),
        ],
        [value("a", ["n", "k"]), value("rate", [], TensorProto.INT64)],
        [value("y", None)],
        [networks.constant("known", 16000, "int64")],
    )
    wrong = {"a": np.zeros((2, 3), np.float32), "rate": np.array(1)}
    error = failure(proto, wrong, tmp_path)
    assert remedy(error).startswith("The inputs selected an If branch")
    assert "'rate' (1)" in remedy(error)


@pytest.mark.parametrize("inputs", [{}, {"idz": np.array([1])}], ids=["none", "another"])
def test_missing_inputs_are_answered_with_names(inputs: Tensors, tmp_path: Path) -> None:
    assert remedy(failure(embedding(), inputs, tmp_path)) == "Feed exactly the inputs 'ids'."


def test_another_type_is_answered_with_types(tmp_path: Path) -> None:
    error = failure(embedding(), {"ids": np.array([1], np.int32)}, tmp_path)
    assert "astype" in remedy(error)


@pytest.mark.parametrize("inputs", [1, 2])
def test_an_axis_that_the_export_fixed_is_suspected_where_one_input_fits_nothing(
    inputs: int, tmp_path: Path
) -> None:
    x = value("x", ["batch", 4])
    proto = networks.model(
        [node("Reshape", ["x", "shape"], ["y"], name="heads")],
        [x, value("z", ["batch"])][:inputs],
        [value("y", None)],
        [networks.constant("shape", [2, 2, 2], "int64")],
    )
    given = {"x": np.zeros((3, 4), np.float32), "z": np.zeros(3, np.float32)}
    error = failure(proto, dict(list(given.items())[:inputs]), tmp_path)
    assert error.diagnostic.code == "TRT229"
    fixed = "The export may have fixed the size of an axis"
    assert remedy(error).startswith(fixed) == (inputs == 1)
    assert "/onnxruntime_src" not in str(error)


def test_what_is_not_recognised_gets_advice_that_is_never_wrong() -> None:
    code, found = run_refusal("Non-zero status code: no such thing", {}, ["x"])
    assert code == "TRT340"
    assert found.text.startswith("Run trt_reference on the same inputs")


def test_an_error_without_text_is_named_by_its_type() -> None:
    assert first_line(ValueError()) == "ValueError"


def test_failures_leave_nothing_on_stderr(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    failure(embedding(), {"ids": np.array([7])}, tmp_path)
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("method", ["minmax", "entropy"])
def test_calibration_that_fails_leaves_nothing_on_stderr_and_logging_as_it_was(
    method: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    proto = networks.model(
        [node("Gather", ["table", "ids"], ["h"]), node("MatMul", ["h", "w"], ["y"])],
        [IDS],
        [value("y", None)],
        [TABLE, networks.weights("w", 2, 3)],
    )
    model = networks.saved(proto, tmp_path / "m.onnx")
    options = {"calibration_method": method}
    with pytest.raises(EngineBuildError, match="fails on its calibration inputs"):
        to_int8(model, [{"ids": np.array([7])}], tmp_path / "q.onnx", options=options)
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("domain", ["mine", ""])
@pytest.mark.parametrize("precision", ["fp32", "fp16", "int8"])
def test_an_unknown_operator_gets_the_same_advice_in_every_precision(
    precision: str, domain: str, tmp_path: Path
) -> None:
    proto = networks.model(
        [node("Swirl", ["x"], ["y"], domain=domain)], [value("x", [4])], [value("y", [4])]
    )
    if domain:
        proto.opset_import.append(helper.make_opsetid(domain, 1))
    model = networks.saved(proto, tmp_path / "swirl.onnx")
    folder = tmp_path / "a folder"
    folder.mkdir()
    samples = ({"x": np.ones(4, np.float32)},)
    request = BuildRequest(model, EngineSpec(precision), Target("cpu"), folder, samples)
    with pytest.raises(EngineBuildError, match="Swirl") as caught:
        BACKEND.build(request)
    assert ("trt_model(custom_ops=[" if domain else "no opset has ") in remedy(caught.value)
    name = f"{domain}:Swirl" if domain else "Swirl"
    fact = caught.value.message.partition("\n")[0]
    assert fact.startswith(f"operator {name} is unknown to ONNX Runtime ")
    assert "keep_fp32" not in remedy(caught.value)
    assert "(swirl.onnx" in caught.value.message
    assert caught.value.diagnostic.code == "TRT350"
    assert caught.value.diagnostic.facts["operator"] == name
    assert str(folder) not in str(caught.value)
    assert ("Q/DQ" in remedy(caught.value)) == (precision == "int8")


def test_operator_of_another_opset_is_reported_with_that_opset(tmp_path: Path) -> None:
    proto = networks.model([node("Gelu", ["x"], ["y"])], [value("x", [4])], [value("y", [4])])
    assert proto.opset_import[0].version < 20
    model = networks.saved(proto, tmp_path / "gelu.onnx")
    folder = tmp_path / "a folder"
    folder.mkdir()
    with pytest.raises(EngineBuildError, match="operator Gelu is unknown to ") as caught:
        BACKEND.build(BuildRequest(model, EngineSpec("fp32"), Target("cpu"), folder, ()))
    assert remedy(caught.value).startswith("ONNX has Gelu since opset 20: export the model with ")


@pytest.mark.parametrize(
    ("proto", "operator", "dtypes", "advice"),
    [
        (
            networks.model(
                [node("Max", ["a", "b"], ["y"], name="largest")],
                [value("a", [2], TensorProto.INT16), value("b", [2], TensorProto.INT16)],
                [value("y", [2], TensorProto.INT16)],
            ),
            "operator Max (opset 13) has no CPU kernel for int16 in ONNX Runtime ",
            ["int16"],
            "Export the model with float32 around this operator.",
        ),
        (
            networks.model(
                [node("Gemm", ["a", "b", "c"], ["y"], name="old")],
                [value("a", [2, 2]), value("b", [2, 2]), value("c", [2, 2])],
                [value("y", [2, 2])],
                opset=6,
            ),
            "operator Gemm (opset 6) has no CPU kernel for float32 in ONNX Runtime ",
            ["float32"],
            "Export the model with opset 13: it loads if onnx converts it.",
        ),
    ],
    ids=["type", "opset"],
)
def test_a_missing_kernel_is_distinguished_from_an_unknown_operator(
    proto: onnx.ModelProto, operator: str, dtypes: list[str], advice: str, tmp_path: Path
) -> None:
    model = networks.saved(proto, tmp_path / "m.onnx")
    with pytest.raises(ModelError) as caught:
        BACKEND.reference(model).load()
    found = caught.value.diagnostic
    assert (found.code, [*found.facts["dtypes"]]) == ("TRT351", dtypes)
    assert found.message.startswith(operator)
    assert f"(m.onnx, node '{proto.graph.node[0].name}')" in found.message
    assert advice in remedy(caught.value)
    # No TensorRT has int16.
    assert "tensorrt" not in remedy(caught.value).lower()


def test_a_node_without_a_name_is_named_by_its_output_and_types(tmp_path: Path) -> None:
    half = [value(name, [2, 2], TensorProto.BFLOAT16) for name in "ab"]
    proto = networks.model(
        [node("MatMul", ["a", "b"], ["y"])], half, [value("y", None, TensorProto.BFLOAT16)]
    )
    with pytest.raises(ModelError) as caught:
        BACKEND.reference(networks.saved(proto, tmp_path / "m.onnx")).load()
    assert "for bfloat16 in ONNX Runtime" in caught.value.message
    assert caught.value.message.partition("\n")[0].endswith("(m.onnx, the node of 'y')")
    assert caught.value.diagnostic.facts["tensors"] == dict.fromkeys("aby", "bfloat16")
    assert "TensorRT may have one: " in remedy(caught.value)


def test_one_of_several_nodes_without_a_name_is_not_guessed(tmp_path: Path) -> None:
    proto = networks.model(
        [node("Max", ["a", "a"], ["y"]), node("Max", ["b", "b"], ["z"])],
        [value("a", [2]), value("b", [2], TensorProto.INT16)],
        [value("y", [2]), value("z", [2], TensorProto.INT16)],
    )
    with pytest.raises(ModelError) as caught:
        BACKEND.reference(networks.saved(proto, tmp_path / "m.onnx")).load()
    assert [*caught.value.diagnostic.facts["dtypes"]] == []


def test_a_type_without_tensors_is_named_with_a_tensor(tmp_path: Path) -> None:
    names = [value(name, [2], TensorProto.COMPLEX64) for name in "xy"]
    proto = networks.model([node("Identity", ["x"], ["y"])], names[:1], names[1:])
    with pytest.raises(ModelError, match="does not support the element type complex64") as caught:
        BACKEND.reference(networks.saved(proto, tmp_path / "m.onnx")).load()
    assert "(m.onnx, tensor 'x')" in caught.value.message
    assert caught.value.diagnostic.code == "TRT351"


def test_an_operator_for_training_is_not_said_to_be_unknown_to_onnx(tmp_path: Path) -> None:
    domain = "ai.onnx.preview.training"
    names = [value(name, [2]) for name in "xgvh"]
    proto = networks.model(
        [node("Adam", ["r", "t", *"xgvh"], ["x2", "v2", "h2"], domain=domain)],
        [value("r", []), value("t", [], TensorProto.INT64), *names],
        [value(name, [2]) for name in ("x2", "v2", "h2")],
    )
    proto.opset_import.append(helper.make_opsetid(domain, 1))
    with pytest.raises(ModelError, match="Adam is unknown to ONNX Runtime") as caught:
        BACKEND.reference(networks.saved(proto, tmp_path / "m.onnx")).load()
    assert remedy(caught.value).startswith(f"ONNX has Adam in the domain {domain}, but this build")


def test_nodes_of_one_name_are_answered_with_names(tmp_path: Path) -> None:
    proto = networks.model(
        [node("Relu", ["x"], ["h"], name="layer"), node("Relu", ["h"], ["y"], name="layer")],
        [value("x", [2])],
        [value("y", [2])],
    )
    with pytest.raises(ModelError) as caught:
        BACKEND.reference(networks.saved(proto, tmp_path / "m.onnx")).load()
    assert remedy(caught.value).startswith("Give every node a unique name")


@pytest.mark.skipif(
    Version(onnxruntime.__version__) < Version("1.25"),
    reason="before ONNX Runtime 1.25 RoiAlign does not check its indices",
)
def test_a_failing_run_names_product_node_and_index(tmp_path: Path) -> None:
    proto = networks.model(
        [node("RoiAlign", ["x", "rois", "batch"], ["y"], name="align")],
        [value("x", [1, 1, 4, 4]), value("rois", [1, 4]), value("batch", [1], TensorProto.INT64)],
        [value("y", None)],
    )
    inputs = {
        "x": np.zeros((1, 1, 4, 4), np.float32),
        "rois": np.zeros((1, 4), np.float32),
        "batch": np.array([1]),
    }
    error = failure(proto, inputs, tmp_path)
    assert f"(ONNX Runtime {onnxruntime.__version__}, in RoiAlign node 'align')" in error.message
    assert error.diagnostic.code == "TRT229"
    assert "'batch' (1)" in remedy(error)


@pytest.mark.parametrize("precision", ["fp32", "int8"])
def test_an_opset_of_the_future_is_named_in_every_precision(precision: str, tmp_path: Path) -> None:
    proto = networks.model([node("Relu", ["x"], ["y"])], [value("x", [4])], [value("y", [4])])
    proto.opset_import[0].version = 99
    model = networks.saved(proto, tmp_path / "future.onnx")
    folder = tmp_path / "a folder"
    folder.mkdir()
    samples = ({"x": np.ones(4, np.float32)},)
    request = BuildRequest(model, EngineSpec(precision), Target("cpu"), folder, samples)
    with pytest.raises(EngineBuildError, match=r"future\.onnx") as caught:
        BACKEND.build(request)
    assert "/onnxruntime_src" not in str(caught.value)
    assert re.match(r"Export the model with opset \d\d or older\.", remedy(caught.value))


def test_a_file_format_of_the_future_is_not_taken_for_an_opset(tmp_path: Path) -> None:
    proto = networks.model(
        [node("Relu", ["x"], ["y"])], [value("x", [4])], [value("y", [4])], ir_version=99
    )
    with pytest.raises(ModelError) as caught:
        BACKEND.reference(networks.saved(proto, tmp_path / "m.onnx")).load()
    fix = remedy(caught.value)
    (newest,) = set(re.findall(r"IR version (\d+)|ir_version = (\d+)", fix)[0]) - {""}
    assert fix.startswith(f"Save the model with IR version {newest}: model.ir_version = {newest} ")
    proto.ir_version = int(newest)
    BACKEND.reference(networks.saved(proto, tmp_path / "m.onnx")).load()


def test_an_operator_that_the_conversion_added_is_not_sought_in_the_model(tmp_path: Path) -> None:
    text = "Could not find an implementation for DequantizeLinear(28) node with name 'w_DQ'"
    model = networks.saved(networks.conv_net(), tmp_path / "m.onnx").path
    found = {
        operator: refusal(
            text.replace("DequantizeLinear", operator), model, failed="", precision="int8"
        )
        for operator in ("DequantizeLinear", "Conv")
    }
    added = "the conversion to int8 added this operator"
    assert {name: added in one.remedy.text for name, one in found.items()} == {
        "DequantizeLinear": True,
        "Conv": False,
    }


@pytest.mark.skipif(not hasattr(TensorProto, "FLOAT4E2M1"), reason="knows no float4")
def test_the_types_of_a_missing_kernel_include_those_of_its_outputs(tmp_path: Path) -> None:
    proto = networks.model(
        [node("Cast", ["x"], ["y"], to=TensorProto.FLOAT4E2M1)],
        [value("x", [4])],
        [value("y", [4], TensorProto.FLOAT4E2M1)],
        opset=23,
        ir_version=11,
    )
    model = networks.saved(proto, tmp_path / "fp4.onnx")
    with pytest.raises(ModelError) as caught:
        BACKEND.reference(model).load()
    assert [*caught.value.diagnostic.facts["dtypes"]] == ["float32", "float4e2m1"]


def test_a_model_without_inputs_cannot_be_calibrated(tmp_path: Path) -> None:
    proto = networks.model(
        [node("MatMul", ["w", "v"], ["y"])],
        [],
        [value("y", None)],
        [networks.weights("w", 2, 3), networks.weights("v", 3, 2)],
    )
    model = networks.saved(proto, tmp_path / "none.onnx")
    with pytest.raises(EngineBuildError, match="has no inputs, so there is nothing"):
        to_int8(model, [{}], tmp_path / "q.onnx")


def test_an_allocation_that_failed_names_what_was_asked_for_and_what_there_is(
    tmp_path: Path,
) -> None:
    text = "bfc_arena.cc:376 Failed to allocate memory for requested buffer of size 4000000000000"
    refused = refusal(text, tmp_path / "m.onnx", failed="it failed")
    assert refused.code == "TRT359"
    code, remedy = run_refusal(text, {}, [])
    assert code == "TRT342"
    for one in (refused.remedy, remedy):
        assert re.match(
            r"It asked for 4,000,000,000,000 bytes, and this machine has [\d,]+ ", one.text
        )
