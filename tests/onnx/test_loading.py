from __future__ import annotations

import os
from pathlib import Path

import builders_networks as networks
import numpy as np
import onnx
import onnx.parser
import pytest
from builders_harmful import function_bomb
from builders_networks import value
from onnx import ModelProto, TensorProto, helper, numpy_helper

from pytest_trt.backends.conversion.converting import unoptimised
from pytest_trt.backends.onnxruntime.layers import onnx_layers
from pytest_trt.diagnostics import ModelError
from pytest_trt.onnx.loading import all_tensors, load

node = helper.make_node
HEADER = '<ir_version: 8, opset_import: ["" : 17]>'


def linear() -> ModelProto:
    return networks.model(
        [node("MatMul", ["x", "w"], ["y"], name="product")],
        [value("x", [1, 8])],
        [value("y", [1, 8])],
        [networks.weights("w", 8, 8)],
    )


def weights(model: ModelProto) -> np.ndarray:
    (tensor,) = model.graph.initializer
    return numpy_helper.to_array(tensor)


@pytest.mark.parametrize("link", [os.symlink, os.link])
def test_data_files_may_be_links(link, tmp_path: Path) -> None:
    # Caches of model hubs store every file as a link into one folder.
    (tmp_path / "hub").mkdir()
    original = tmp_path / "hub" / "blob.onnx"
    onnx.save(linear(), original, save_as_external_data=True, location="w.data", size_threshold=0)
    (tmp_path / "hub" / "w.data").rename(tmp_path / "hub" / "blob2")
    folder = tmp_path / "hub" / "snapshot"
    folder.mkdir()
    link(original, folder / "m.onnx")
    link(tmp_path / "hub" / "blob2", folder / "w.data")
    np.testing.assert_array_equal(
        weights(load(folder / "m.onnx")), numpy_helper.to_array(linear().graph.initializer[0])
    )


def test_tensors_may_share_a_region_of_a_data_file(tmp_path: Path) -> None:
    proto = linear()
    proto.graph.initializer.append(networks.weights("v", 8, 8))
    proto.graph.node.append(node("MatMul", ["y", "v"], ["z"]))
    data = b"".join(tensor.raw_data for tensor in proto.graph.initializer[:1])
    (tmp_path / "w.data").write_bytes(b"\0" * 16 + data)
    for tensor in proto.graph.initializer:
        tensor.ClearField("raw_data")
        tensor.data_location = TensorProto.EXTERNAL
        for key, entry in {"location": "w.data", "offset": "16", "length": "256"}.items():
            tensor.external_data.add(key=key, value=entry)
    (tmp_path / "m.onnx").write_bytes(proto.SerializeToString())
    loaded = load(tmp_path / "m.onnx")
    assert [tensor.raw_data for tensor in loaded.graph.initializer] == [data, data]
    assert not any(tensor.external_data for tensor in all_tensors(loaded.graph))


def test_what_onnx_requires_and_the_runtime_does_not_is_added(tmp_path: Path) -> None:
    text = """
        <ir_version: 8, opset_import: ["ai.onnx.ml" : 3]>
        g (float[2, 2] x) => (float[2, 2] y)
        { y = ai.onnx.ml.Scaler <offset = [0.5], scale = [2.0]> (x) }"""
    proto = onnx.parser.parse_model(text)
    proto.graph.name = ""
    onnx.save(proto, tmp_path / "m.onnx")
    unoptimised(tmp_path / "m.onnx")
    onnx.checker.check_model(load(tmp_path / "m.onnx"))


def test_shapes_that_onnx_cannot_infer_do_not_stop_it(tmp_path: Path) -> None:
    text = (
        HEADER
        + """
        g (float[2] x) => (float[2] y)
        { y = Add (x, x)  unused = Mine (x) }"""
    )
    onnx.save(onnx.parser.parse_model(text), tmp_path / "m.onnx")
    assert len(load(tmp_path / "m.onnx").graph.node) == 2


def damaged(proto: ModelProto, old: bytes, new: bytes, path: Path) -> Path:
    data = proto.SerializeToString()
    assert old in data
    path.write_bytes(data.replace(old, new))
    return path


def test_a_node_name_that_is_not_utf8_is_escaped(tmp_path: Path) -> None:
    path = damaged(linear(), b"product", b"prod\xe9\xe8t", tmp_path / "m.onnx")
    unoptimised(path)
    assert load(path).graph.node[0].name == r"prod\xe9\xe8t"
    (layer,) = onnx_layers(path, frozenset({r"prod\xe9\xe8t"}))
    assert layer.origins == (r"prod\xe9\xe8t",)


@pytest.mark.parametrize("name", [b"MatMul", b"\x01x", b"\x01w"])
def test_another_name_that_is_not_utf8_is_an_error_of_the_model(
    name: bytes, tmp_path: Path
) -> None:
    path = damaged(linear(), name, name[:-1] + b"\xe9", tmp_path / "m.onnx")
    with pytest.raises(ModelError, match="is not UTF-8"):
        load(path)


def test_a_domain_that_is_not_imported_is_an_error_of_the_model(tmp_path: Path) -> None:
    proto = linear()
    proto.graph.node[0].domain = "ai.onnx.contrib"
    onnx.save(proto, tmp_path / "m.onnx")
    with pytest.raises(ModelError, match=r"'product' \(MatMul\).*'ai.onnx.contrib'.*not import"):
        load(tmp_path / "m.onnx")


@pytest.mark.parametrize("size", [0, 8, 4 * 64 + 4])
def test_data_that_do_not_fit_the_shape_are_an_error_of_the_model(
    size: int, tmp_path: Path
) -> None:
    proto = linear()
    proto.graph.initializer[0].raw_data = b"\0" * size
    (tmp_path / "m.onnx").write_bytes(proto.SerializeToString())
    with pytest.raises(ModelError, match=r"tensor 'w' do not fit its shape \[8, 8\]") as got:
        load(tmp_path / "m.onnx")
    assert got.value.diagnostic.code == "TRT208"


@pytest.mark.parametrize(
    ("number", "values"),
    [
        (TensorProto.FLOAT, [1.0, 2.0, 3.0]),
        (TensorProto.FLOAT16, [1.0, 2.0, 3.0]),
        (TensorProto.BFLOAT16, [1.0, 2.0, 3.0]),
        (TensorProto.INT64, [1, 2, 3]),
        (TensorProto.UINT64, [1, 2, 3]),
        (TensorProto.BOOL, [True, False, True]),
        (TensorProto.INT4, [1, 2, 3]),
        (TensorProto.DOUBLE, [1.0, 2.0, 3.0]),
        (TensorProto.COMPLEX64, [1 + 2j, 2, 3]),
        (TensorProto.STRING, ["a", "b", "c"]),
    ],
)
def test_data_outside_raw_data_are_complete(number: int, values: list, tmp_path: Path) -> None:
    proto = linear()
    proto.graph.initializer.append(helper.make_tensor("other", number, [3], values))
    onnx.save(proto, tmp_path / "m.onnx")
    assert load(tmp_path / "m.onnx").graph.initializer[1].data_type == number


def test_a_name_in_a_function_that_is_not_utf_8_is_refused(tmp_path: Path) -> None:
    path = function_bomb(tmp_path / "m.onnx", levels=1, calls=1)
    path.write_bytes(path.read_bytes().replace(b"Neg", b"N\xe9g"))
    with pytest.raises(ModelError, match="is not UTF-8"):
        load(path)
