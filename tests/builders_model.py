"""ONNX models for tests, with valid defaults: each test states only what it is about."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import numpy as np
from onnx import TensorProto, helper, numpy_helper

from pytest_trt.diagnostics import PytestTrtError


def value(name, shape=("batch", 4), dtype=TensorProto.FLOAT):
    return helper.make_tensor_value_info(name, dtype, shape)


def external_tensor(name, location, offset=None, length=None, dims=(4, 4)):
    tensor = TensorProto(name=name, data_type=TensorProto.FLOAT, dims=dims)
    tensor.data_location = TensorProto.EXTERNAL
    for key, number in (("location", location), ("offset", offset), ("length", length)):
        if number is not None:
            tensor.external_data.add(key=key, value=str(number))
    return tensor


def model_proto(nodes=None, *, inputs=None, outputs=None, initializers=None, **model):
    """Return a matrix product with a 4x4 weight, or the graph that is given instead."""
    weight = numpy_helper.from_array(np.arange(16, dtype=np.float32).reshape(4, 4), "w")
    graph = helper.make_graph(
        [helper.make_node("MatMul", ["x", "w"], ["y"])] if nodes is None else nodes,
        "graph",
        [value("x")] if inputs is None else inputs,
        [value("y")] if outputs is None else outputs,
        [weight] if initializers is None else initializers,
    )
    model.setdefault("opset_imports", [helper.make_opsetid("", 17)])
    model.setdefault("ir_version", 8)
    return helper.make_model(graph, **model)


def save(proto, path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(proto.SerializeToString())
    return path


def external_model(folder: Path, location="w.bin", weights=bytes(range(64)), **region) -> Path:
    """Write a model whose weight lies in `location`, and that file."""
    data = folder / location
    data.parent.mkdir(parents=True, exist_ok=True)
    data.write_bytes(weights)
    proto = model_proto(initializers=[external_tensor("w", location, **region)])
    return save(proto, folder / "model.onnx")


def remedy(error: PytestTrtError) -> str:
    """Return all that an error offers as a remedy, one line each."""
    offered = error.diagnostic.remedy
    return "\n".join(filter(None, (offered.text, *offered.alternatives, *offered.commands)))


def flip_byte(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)


def keep_times(change, path: Path) -> None:
    """Change a file and set its times back, as `cp -p` and `touch -d` do."""
    status = path.stat()
    change(path)
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
    assert path.stat().st_mtime_ns == status.st_mtime_ns


def replace_with_other_bytes(path: Path) -> None:
    shutil.copy(path, f"{path}.new")
    flip_byte(Path(f"{path}.new"))
    Path(f"{path}.new").replace(path)


#: What may become of a file after it was read.
FILE_CHANGES = [
    flip_byte,
    lambda path: keep_times(flip_byte, path),
    replace_with_other_bytes,
    lambda path: keep_times(replace_with_other_bytes, path),
    Path.unlink,
]
