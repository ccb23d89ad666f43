from __future__ import annotations

import os
import random
import shutil
import struct
import tempfile
import tracemalloc
import zipfile
from pathlib import Path

import numpy as np
import onnx
import pytest
from builders_model import external_model, external_tensor, model_proto, remedy, save, value
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import SparseTensorProto, TensorProto, helper

from pytest_trt.diagnostics import ModelError
from pytest_trt.onnx.file import OnnxModel, load_model, read_interface, read_node_names

_WEIGHTS = bytes(range(64))


def _refused(path, match):
    with pytest.raises(ModelError, match=match) as caught:
        load_model(path)
    assert remedy(caught.value)
    return str(caught.value)


def test_a_model_becomes_facts(tmp_path):
    path = save(model_proto(), tmp_path / "model.onnx")

    model = load_model(path)

    assert model.path == path
    assert [str(spec) for spec in model.inputs] == ["x: float32[batch, 4]"]
    assert [str(spec) for spec in model.outputs] == ["y: float32[batch, 4]"]
    assert (model.opset, model.ir_version) == (17, 8)
    assert model.size_bytes == path.stat().st_size
    assert model.external_files == ()
    assert model.op_types == {"MatMul": 1}
    assert model.elements == {"float32": 16}
    assert not model.is_quantized


def test_names_of_nodes_are_read_wherever_they_are(tmp_path):
    body = helper.make_graph([helper.make_node("Identity", ["x"], ["i"], name="in")], "b", [], [])
    nodes = [
        helper.make_node("If", ["flag"], ["y"], name="outside", then_branch=body, else_branch=body),
        helper.make_node("Identity", ["x"], ["z"]),
    ]

    path = save(model_proto(nodes), tmp_path / "model.onnx")

    assert read_node_names(path) == {"outside", "in"}


def test_the_path_may_be_relative_and_text(tmp_path, monkeypatch):
    save(model_proto(), tmp_path / "model.onnx")
    monkeypatch.chdir(tmp_path)

    assert load_model("model.onnx").path == tmp_path / "model.onnx"


def test_initialisers_that_are_listed_as_inputs_are_not_inputs(tmp_path):
    proto = model_proto(inputs=[value("w", (4, 4)), value("x")], ir_version=3)

    assert [spec.name for spec in load_model(save(proto, tmp_path / "m.onnx")).inputs] == ["x"]


def test_unnamed_dimensions_are_question_marks(tmp_path):
    proto = model_proto(inputs=[value("x", (None, 4))], outputs=[value("y", None)])

    model = load_model(save(proto, tmp_path / "m.onnx"))

    assert model.inputs[0].shape == ("?", 4)
    assert model.outputs[0].shape is None


def test_a_sequence_input_says_so_and_has_no_shape(tmp_path):
    sequence = helper.make_tensor_sequence_value_info("s", TensorProto.FLOAT, ["n"])
    proto = model_proto(inputs=[sequence])

    spec = load_model(save(proto, tmp_path / "m.onnx")).inputs[0]

    assert (spec.dtype, spec.shape) == ("sequence(float32)", None)


@pytest.mark.parametrize("domain", ["", "com.microsoft"])
def test_a_quantised_graph_is_known_by_its_operators(tmp_path, domain):
    node = helper.make_node("QuantizeLinear", ["x", "s"], ["y"], domain=domain)

    model = load_model(save(model_proto([node]), tmp_path / "m.onnx"))

    assert model.is_quantized
    assert model.op_types == {f"{domain}::QuantizeLinear" if domain else "QuantizeLinear": 1}


# Digest: equal where nothing that matters differs, another wherever a weight lives.


def test_a_copy_in_another_folder_has_the_same_digest(tmp_path):
    original = external_model(tmp_path / "a")
    shutil.copytree(tmp_path / "a", tmp_path / "b" / "c")

    assert load_model(original).digest == load_model(tmp_path / "b" / "c" / "model.onnx").digest


def test_one_changed_inline_weight_byte_changes_the_digest(tmp_path):
    path = save(model_proto(), tmp_path / "m.onnx")
    before = load_model(path).digest
    weights = np.arange(16, dtype=np.float32).tobytes()
    data = path.read_bytes()
    changed = bytearray(weights)
    changed[-1] ^= 1
    path.write_bytes(data.replace(weights, bytes(changed)))

    assert load_model(path).digest != before


def _sparse(location):
    sparse = SparseTensorProto(dims=[4, 4])
    sparse.values.CopyFrom(external_tensor("w", location, dims=(16,)))
    sparse.indices.CopyFrom(helper.make_tensor("i", TensorProto.INT64, [16], list(range(16))))
    return sparse


def _graph_with(tensor):
    node = helper.make_node("Constant", [], ["k"], value=tensor)
    return helper.make_graph([node], "inner", [], [value("k", (4, 4))])


def _constant(tensor):
    return helper.make_node("Constant", [], ["k"], value=tensor)


def _with_sparse_initialiser(tensor):
    proto = model_proto(initializers=[])
    proto.graph.sparse_initializer.append(_sparse("w.bin"))
    return proto


def _with_function(tensor):
    function = helper.make_function(
        "d", "F", [], ["k"], [_constant(tensor)], [helper.make_opsetid("", 17)]
    )
    return model_proto(functions=[function])


def _with_training(tensor):
    proto = model_proto()
    proto.training_info.add().initialization.initializer.append(tensor)
    return proto


_PLACES = {
    "initialiser": lambda tensor: model_proto(initializers=[tensor]),
    "sparse initialiser": _with_sparse_initialiser,
    "attribute tensor": lambda tensor: model_proto([_constant(tensor)]),
    "attribute sparse tensor": lambda tensor: model_proto(
        [helper.make_node("Constant", [], ["y"], sparse_value=_sparse("w.bin"))]
    ),
    "subgraph": lambda tensor: model_proto(
        [helper.make_node("If", ["x"], ["y"], then_branch=_graph_with(tensor))]
    ),
    "function": _with_function,
    "training info": _with_training,
}


@pytest.mark.parametrize("place", _PLACES)
def test_one_changed_external_byte_changes_the_digest_wherever_the_tensor_is(tmp_path, place):
    path = save(_PLACES[place](external_tensor("w", "w.bin")), tmp_path / "m.onnx")
    data = tmp_path / "w.bin"
    data.write_bytes(_WEIGHTS)
    before = load_model(path)
    data.write_bytes(_WEIGHTS[:-1] + b"\xff")

    after = load_model(path)

    assert after.digest != before.digest
    assert before.external_files == (data,)
    assert before.size_bytes == path.stat().st_size + len(_WEIGHTS)


def test_bytes_outside_every_region_do_not_matter(tmp_path):
    path = external_model(tmp_path, weights=_WEIGHTS + b"a", offset=0, length=64)
    before = load_model(path).digest
    (tmp_path / "w.bin").write_bytes(_WEIGHTS + b"b")

    assert load_model(path).digest == before


def test_dimensions_may_be_packed(tmp_path):
    path = external_model(tmp_path, weights=_WEIGHTS)
    each, packed = b"\x08\x04\x08\x04", b"\x0a\x02\x04\x04"
    content = path.read_bytes()
    assert content.count(each) == 1
    path.write_bytes(content.replace(each, packed))
    assert onnx.load(path, load_external_data=False).graph.initializer[0].dims == [4, 4]
    load_model(path)
    (tmp_path / "w.bin").write_bytes(_WEIGHTS[:-1])
    with pytest.raises(ModelError, match=r"bytes 0 to 64 of .*, which has 63"):
        load_model(path)


def test_shared_and_overlapping_regions_are_counted_once(tmp_path):
    (tmp_path / "w.bin").write_bytes(_WEIGHTS * 2)
    tensors = [
        external_tensor("a", "w.bin", 0, 64),
        external_tensor("b", "./w.bin", 0, 64),
        external_tensor("c", "w.bin", 32, 64),
    ]
    path = save(model_proto(initializers=tensors), tmp_path / "m.onnx")

    assert load_model(path).size_bytes == path.stat().st_size + 96


def test_the_order_of_tensors_decides_the_order_of_files_only(tmp_path):
    for name in ("a.bin", "b.bin"):
        (tmp_path / name).write_bytes(_WEIGHTS)
    tensors = [external_tensor("1", "b.bin"), external_tensor("2", "a.bin")]
    path = save(model_proto(initializers=tensors), tmp_path / "m.onnx")

    assert load_model(path).external_files == (tmp_path / "b.bin", tmp_path / "a.bin")


def test_the_model_and_its_data_cannot_trade_bytes(tmp_path):
    """The same bytes, split between file and data elsewhere, are another model."""
    one = external_model(tmp_path / "one", weights=_WEIGHTS, length=32, dims=(8,))
    two = external_model(tmp_path / "two", weights=_WEIGHTS, length=32, offset=32, dims=(8,))

    assert load_model(one).digest != load_model(two).digest


# Files that are no models.


def test_a_missing_file_is_named(tmp_path):
    _refused(tmp_path / "none.onnx", r"none\.onnx does not exist")


def test_a_folder_is_not_a_model(tmp_path):
    _refused(tmp_path, "is a folder")


def test_a_pipe_is_not_a_model_and_is_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "pipe.onnx")

    _refused(tmp_path / "pipe.onnx", "not a regular file")


def test_a_path_that_no_file_can_have_is_refused(tmp_path):
    _refused("a\0b.onnx", "cannot be read")
    _refused(tmp_path / ("x" * 300), "cannot be read")


def test_an_empty_file_says_so(tmp_path):
    (tmp_path / "m.onnx").touch()

    _refused(tmp_path / "m.onnx", "is empty")


def _zip(path):
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("data.pkl", b"x" * 100)


_SAFETENSORS = struct.pack("<Q", 20) + b'{"w":{"dtype":"F32"}}'


@pytest.mark.parametrize(
    ("head", "what"),
    [
        pytest.param(b"ftrt" + bytes(60), "a TensorRT plan", id="plan"),
        pytest.param(b"vtrt" + bytes(60), "a TensorRT-RTX plan", id="rtx plan"),
        pytest.param(b"\x89PNG\r\n\x1a\n" + bytes(60), "a PNG image", id="png"),
        pytest.param(_SAFETENSORS, "a safetensors file", id="safetensors"),
        pytest.param(b"\x1c\0\0\0ORTM" + bytes(60), "an ONNX Runtime model", id="ort"),
        pytest.param(b"\x80\x02}q\0." + bytes(60), "a Python pickle", id="pickle"),
        pytest.param(b"version https://git-lfs.github.com/spec/v1\n", "git lfs pull", id="lfs"),
        pytest.param(b"<html>404</html>\n", "a text file", id="html"),
        pytest.param("ä".encode() * 3000, "a text file", id="text cut inside a character"),
    ],
)
def test_other_files_are_named_for_what_they_are(tmp_path, head, what):
    (tmp_path / "m.onnx").write_bytes(head)

    assert what in _refused(tmp_path / "m.onnx", "not an ONNX model")


def test_a_zip_file_is_named_as_one(tmp_path):
    _zip(tmp_path / "m.onnx")

    _refused(tmp_path / "m.onnx", "a zip archive")


@pytest.mark.parametrize("seed", range(20))
def test_random_bytes_are_not_a_model(tmp_path, seed):
    (tmp_path / "m.onnx").write_bytes(b"\xff" + random.Random(seed).randbytes(2000))

    _refused(tmp_path / "m.onnx", "ONNX")


def test_a_truncated_model_says_where_it_ends(tmp_path):
    data = model_proto().SerializeToString()
    (tmp_path / "m.onnx").write_bytes(data[:-20])

    _refused(tmp_path / "m.onnx", rf"truncated.* of {len(data) - 20:,}")


def test_a_valid_message_without_a_graph_is_not_a_model(tmp_path):
    (tmp_path / "m.onnx").write_bytes(b"\x08\x08")

    _refused(tmp_path / "m.onnx", "contains no ONNX graph")


def test_a_graph_without_outputs_is_refused(tmp_path):
    _refused(save(model_proto(outputs=[]), tmp_path / "m.onnx"), "no graph outputs")


def test_a_file_that_protobuf_cannot_hold_is_refused_unread(tmp_path):
    path = save(model_proto(), tmp_path / "m.onnx")
    os.truncate(path, 2**31)

    assert "save_as_external_data" in _refused(path, "2,147,483,648")


def test_a_large_plan_is_reported_as_a_plan_not_as_too_large(tmp_path):
    (tmp_path / "m.onnx").write_bytes(b"ftrt")
    os.truncate(tmp_path / "m.onnx", 2**31)

    _refused(tmp_path / "m.onnx", "a TensorRT plan")


@pytest.fixture
def nobody_folder():
    """A folder that a user without rights can enter; root, who may read everything, becomes one."""
    folder = Path(tempfile.mkdtemp())
    folder.chmod(0o755)
    is_root = os.geteuid() == 0
    yield folder
    if is_root:
        os.seteuid(0)
    shutil.rmtree(folder)


def _become_nobody():
    if os.geteuid() == 0:
        os.seteuid(65534)


def test_an_unreadable_file_names_the_permission(nobody_folder):
    path = save(model_proto(), nobody_folder / "m.onnx")
    path.chmod(0)
    _become_nobody()

    assert "chmod" in _refused(path, "permission denied")


def test_unreadable_external_data_names_its_file(nobody_folder):
    path = external_model(nobody_folder)
    (nobody_folder / "w.bin").chmod(0)
    _become_nobody()

    _refused(path, r"cannot be read: Permission denied")


# External data that is not there, not enough, or not ours.


def test_missing_external_data_names_tensor_and_file(tmp_path):
    path = save(model_proto(initializers=[external_tensor("w", "w.bin")]), tmp_path / "m.onnx")

    message = _refused(path, "tensor 'w'.*does not exist")

    assert str(tmp_path / "w.bin") in message


@pytest.mark.parametrize(
    ("region", "numbers"),
    [
        ({"offset": 32, "length": 64}, "bytes 32 to 96 of .*w.bin, which has 64"),
        ({"offset": 100}, "bytes 100 to 164 of .*w.bin, which has 64"),
        ({"dims": (5, 4)}, "bytes 0 to 80 of .*w.bin, which has 64"),
    ],
    ids=["length", "offset", "no length, but dims"],
)
def test_a_region_beyond_its_file_gives_both_values(tmp_path, region, numbers):
    _refused(external_model(tmp_path, **region), numbers)


@pytest.mark.parametrize("number", ["-1", "1e3", "", "９", "9" * 5000])
def test_an_offset_that_is_not_a_number_is_refused(tmp_path, number):
    _refused(external_model(tmp_path, offset=number), "is not a number of bytes")


@pytest.mark.parametrize(
    "location",
    [
        "../../etc/passwd",
        "/etc/passwd",
        "sub/../../w.bin",
        "sub/../w.bin",
        "..\\w.bin",
        "C:\\w.bin",
        "\\\\host\\w.bin",
    ],
)
def test_a_location_outside_the_folder_is_refused(tmp_path, location):
    (tmp_path / "w.bin").write_bytes(_WEIGHTS)
    proto = model_proto(initializers=[external_tensor("w", location)])

    _refused(save(proto, tmp_path / "m" / "m.onnx"), "own folder")


@pytest.mark.parametrize("location", ["", ".", "./", "a\0b"])
def test_a_location_that_names_no_file_is_refused(tmp_path, location):
    proto = model_proto(initializers=[external_tensor("w", location)])

    _refused(save(proto, tmp_path / "m.onnx"), "is not a file name")


def test_external_data_in_a_folder_below_is_fine(tmp_path):
    path = external_model(tmp_path, location="data/w.bin")

    assert load_model(path).external_files == (tmp_path / "data" / "w.bin",)


def test_external_data_that_is_a_folder_is_refused(tmp_path):
    (tmp_path / "w.bin").mkdir()
    proto = model_proto(initializers=[external_tensor("w", "w.bin")])

    _refused(save(proto, tmp_path / "m.onnx"), "not a regular file")


def test_a_link_out_of_the_folder_is_refused(tmp_path):
    (tmp_path / "secret").write_bytes(_WEIGHTS)
    proto = model_proto(initializers=[external_tensor("w", "w.bin")])
    path = save(proto, tmp_path / "m" / "m.onnx")
    (tmp_path / "m" / "w.bin").symlink_to(tmp_path / "secret")

    _refused(path, "a link to .*secret")


def test_a_circle_of_links_is_refused(tmp_path):
    proto = model_proto(initializers=[external_tensor("w", "w.bin")])
    (tmp_path / "w.bin").symlink_to(tmp_path / "w.bin")

    _refused(save(proto, tmp_path / "m.onnx"), "cannot be read")


def test_a_download_cache_of_links_into_one_folder_works(tmp_path):
    """The layout of the Hugging Face cache: snapshots/REVISION/* are links into blobs/."""
    real = external_model(tmp_path / "real")
    blobs = tmp_path / "blobs"
    snapshot = tmp_path / "snapshots" / "revision"
    blobs.mkdir()
    snapshot.mkdir(parents=True)
    for name, blob in (("model.onnx", "0a"), ("w.bin", "1b")):
        shutil.copy(tmp_path / "real" / name, blobs / blob)
        (snapshot / name).symlink_to(Path("..", "..", "blobs", blob))

    model = load_model(snapshot / "model.onnx")

    assert model.digest == load_model(real).digest
    assert model.path == snapshot / "model.onnx"


def test_a_folder_that_is_itself_a_link_works(tmp_path):
    external_model(tmp_path / "real")
    (tmp_path / "linked").symlink_to(tmp_path / "real")

    assert isinstance(load_model(tmp_path / "linked" / "model.onnx"), OnnxModel)


# Size, speed and hostile bytes.


def test_weights_beyond_two_gigabytes_are_hashed(tmp_path):
    """Where no file system has to store what is before them: external data may be sparse."""
    offset, digests = 2_200_000_000, set()
    path = external_model(tmp_path, offset=offset, length=64)
    for last in (b"", b"\1"):
        with (tmp_path / "w.bin").open("wb") as data:
            data.truncate(offset + 64)
            data.seek(-1, os.SEEK_END)
            data.write(last)
        model = load_model(path)
        assert model.size_bytes == 64 + path.stat().st_size
        digests.add(model.digest)
    assert len(digests) == 2


@pytest.mark.parametrize("external", [False, True], ids=["inline", "external"])
def test_weights_need_no_memory(tmp_path, external):
    size = 32_000_000
    if external:
        path = external_model(tmp_path, length=size)
        os.truncate(tmp_path / "w.bin", size)
    else:
        weight = TensorProto(name="w", data_type=TensorProto.FLOAT, dims=(8, 1_000_000))
        weight.raw_data = bytes(size)
        path = save(model_proto(initializers=[weight]), tmp_path / "m.onnx")
    tracemalloc.start()
    try:
        model = load_model(path)
        _, peak_bytes = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()

    assert model.size_bytes >= size
    assert peak_bytes < 4_000_000


def test_a_small_model_reports_no_progress(tmp_path):
    reported = []
    load_model(save(model_proto(), tmp_path / "m.onnx"), progress=reported.append)

    assert reported == []


def _rich_model():
    """A model with every construct that the walk enters."""
    node = helper.make_node("If", ["x"], ["y"], then_branch=_graph_with(external_tensor("t", "w")))
    gather = helper.make_node("Gather", ["w", "x"], ["z"], axis=0)
    proto = _with_function(external_tensor("f", "w"))
    proto.graph.node.extend([node, gather])
    proto.graph.sparse_initializer.append(_sparse("w"))
    proto.graph.input.append(helper.make_tensor_sequence_value_info("s", 1, ["n"]))
    return proto.SerializeToString()


_RICH = _rich_model()


def _loads_or_is_refused(folder, data):
    (folder / "w").write_bytes(_WEIGHTS)
    path = folder / "m.onnx"
    path.write_bytes(data)
    try:
        model = load_model(path)
    except ModelError:
        return
    assert len(model.digest) == 64


@pytest.fixture(scope="module")
def fuzz_folder(tmp_path_factory):
    return tmp_path_factory.mktemp("fuzz")


_FUZZ = settings(max_examples=200)


def test_the_fuzzed_model_is_valid(fuzz_folder):
    (fuzz_folder / "w").write_bytes(_WEIGHTS)

    assert load_model(_write(fuzz_folder, _RICH)).op_types["Gather"] == 1


def _write(folder, data):
    (folder / "m.onnx").write_bytes(data)
    return folder / "m.onnx"


@_FUZZ
@given(length=st.integers(0, len(_RICH) - 1))
def test_truncated_models_load_or_are_refused(fuzz_folder, length):
    _loads_or_is_refused(fuzz_folder, _RICH[:length])


@_FUZZ
@given(
    flips=st.lists(
        st.tuples(st.integers(0, len(_RICH) - 1), st.integers(1, 255)), min_size=1, max_size=6
    )
)
def test_damaged_models_load_or_are_refused(fuzz_folder, flips):
    data = bytearray(_RICH)
    for position, mask in flips:
        data[position] ^= mask

    _loads_or_is_refused(fuzz_folder, bytes(data))


@_FUZZ
@given(data=st.binary(max_size=300))
def test_arbitrary_bytes_load_or_are_refused(fuzz_folder, data):
    _loads_or_is_refused(fuzz_folder, data)


def test_endless_nesting_is_refused(tmp_path):
    data = b""
    for _ in range(2000):
        for tag in (6, 5, 1):  # AttributeProto.g, NodeProto.attribute, GraphProto.node
            data = bytes([tag << 3 | 2]) + _length(len(data)) + data
    data = bytes([7 << 3 | 2]) + _length(len(data)) + data
    (tmp_path / "m.onnx").write_bytes(data)

    _refused(tmp_path / "m.onnx", "nested too deeply")


def _length(number):
    encoded = b""
    while number >= 0x80:
        encoded += bytes([number & 0x7F | 0x80])
        number >>= 7
    return encoded + bytes([number])


def test_the_interface_is_that_of_the_whole_model(tmp_path):
    path = save(model_proto(), tmp_path / "model.onnx")
    model = load_model(path)
    assert read_interface(path) == (model.inputs, model.outputs)


def test_the_interface_needs_no_external_data(tmp_path):
    path = external_model(tmp_path)
    (tmp_path / "w.bin").unlink()
    assert [spec.name for spec in read_interface(path)[0]] == ["x"]


def test_the_interface_of_no_model_is_refused(tmp_path):
    (tmp_path / "model.onnx").write_text("not a model")
    with pytest.raises(ModelError, match="text"):
        read_interface(tmp_path / "model.onnx")
