"""Loading a model with its weights, ready for a conversion.

What ONNX Runtime accepts is accepted here: data files that are links, node names that are not
UTF-8, an empty graph name, no default opset, nodes whose shapes onnx cannot infer.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import onnx
import onnx.inliner
from google.protobuf.message import DecodeError  # type: ignore[import-untyped]
from onnx import AttributeProto, GraphProto, ModelProto, TensorProto
from onnx.external_data_helper import uses_external_data

from pytest_trt.diagnostics import ModelError
from pytest_trt.onnx import graph as surgery
from pytest_trt.onnx.external import external_regions
from pytest_trt.onnx.proto import StoredTensor
from pytest_trt.tensors.elements import element_count, stored_bytes

#: The default opset of a model that imports none. ONNX Runtime takes its newest one; every version
#: that is supported has this one.
_OPSET = 21


def load(path: Path) -> ModelProto:
    """Load a model with its weights, local functions inlined and, where possible, shapes inferred.

    Shapes are inferred before external data come in, so the 2 GiB limit of the inference, which
    serialises the model, holds for the file alone and not for its weights.

    Raises:
        ModelError: The file or its external data cannot be read.
    """
    try:
        model = onnx.load(path, load_external_data=False)
        repair_names(model)
        _require_text(path, model)
        _complete(model)
        _require_imports(path, model)
        if model.functions:
            model = onnx.inliner.inline_local_functions(model)
            repair_names(model)
            _require_text(path, model)
        model = _with_shapes(model)
        tensors = list(all_tensors(model.graph))
        _read_external_data(path, tensors)
    except (DecodeError, OSError, RuntimeError, ValueError, onnx.checker.ValidationError) as exc:
        raise _refused(path, f"{type(exc).__name__}: {exc}") from exc
    for tensor in tensors:
        _require_complete(path, tensor)
    return model


def all_tensors(graph: GraphProto) -> Iterator[TensorProto]:
    """Yield every stored tensor, those of sparse tensors, attributes and subgraphs included."""
    for scope in surgery.walk_graphs(graph):
        yield from scope.initializer
        for sparse in scope.sparse_initializer:
            yield from (sparse.values, sparse.indices)
        for node in scope.node:
            for attribute in node.attribute:
                yield from _held(attribute)


def _held(attribute: AttributeProto) -> Iterator[TensorProto]:
    if attribute.type == AttributeProto.TENSOR:
        yield attribute.t
    elif attribute.type == AttributeProto.TENSORS:
        yield from attribute.tensors
    elif attribute.type == AttributeProto.SPARSE_TENSOR:
        yield from (attribute.sparse_tensor.values, attribute.sparse_tensor.indices)


def repair_names(model: ModelProto) -> None:
    """Escape names of nodes that are no UTF-8: ONNX Runtime runs such models.

    The plugin's own reader of files escapes them the same way.
    """
    for scope in surgery.walk_graphs(model.graph):
        for node in scope.node:
            name: Any = node.name
            if isinstance(name, bytes):  # protobuf gives such a text as it is
                node.name = name.decode("utf-8", "backslashreplace")


def _require_text(path: Path, model: ModelProto) -> None:
    for scope in surgery.walk_graphs(model.graph):
        values = (*scope.input, *scope.output, *scope.value_info, *scope.initializer)
        texts: list[Any] = [value.name for value in values]
        for node in scope.node:
            texts += (node.op_type, node.domain, *node.input, *node.output)
        for text in texts:
            if isinstance(text, bytes):
                raise _refused(path, f"the name {text!r} is not UTF-8")


def _complete(model: ModelProto) -> None:
    """Add what ONNX requires and ONNX Runtime does not."""
    model.graph.name = model.graph.name or "graph"
    if not any(one.domain in ("", "ai.onnx") for one in model.opset_import):
        model.opset_import.append(onnx.helper.make_opsetid("", _OPSET))


def _require_imports(path: Path, model: ModelProto) -> None:
    imported = {one.domain for one in (*model.opset_import, *model.functions)} | {"", "ai.onnx"}
    for scope in surgery.walk_graphs(model.graph):
        for node in scope.node:
            if node.domain not in imported:
                name = node.name or next(iter(node.output), "")
                raise _refused(
                    path,
                    f"node {name!r} ({node.op_type}) is of the domain {node.domain!r}, which the "
                    "model does not import",
                )


def _with_shapes(model: ModelProto) -> ModelProto:
    """Return the model with inferred shapes, or as it is if onnx cannot infer them.

    onnx stops at what it takes for an error in one node; ONNX Runtime may run the model anyway.
    """
    try:
        return onnx.shape_inference.infer_shapes(model)
    except (onnx.shape_inference.InferenceError, RuntimeError, ValueError):
        return model


def _read_external_data(path: Path, tensors: list[TensorProto]) -> None:
    """Read the data of tensors from their files; unlike onnx's own, these may be links."""
    for tensor in tensors:
        if not uses_external_data(tensor):
            continue
        entries = {entry.key: entry.value for entry in tensor.external_data}
        stored = StoredTensor(tensor.name, tensor.data_type, tuple(tensor.dims), entries)
        (region,) = external_regions(path, [stored])
        length = stored_bytes(stored.data_type, stored.dims)
        with region.path.open("rb") as file:
            file.seek(region.offset)
            tensor.raw_data = file.read(region.length if length is None else length)
        del tensor.external_data[:]
        tensor.data_location = TensorProto.DEFAULT


def _require_complete(path: Path, tensor: TensorProto) -> None:
    """Refuse a tensor whose data do not fit its shape."""
    needed = stored_bytes(tensor.data_type, tuple(tensor.dims))
    if needed is None:
        return
    if tensor.raw_data or not any(map(len, _fields(tensor))):
        fits = len(tensor.raw_data) == needed
    else:
        fits = sum(map(len, _fields(tensor))) == _values(tensor)
    if not fits:
        raise _refused(
            path, f"the data of tensor {tensor.name!r} do not fit its shape {list(tensor.dims)}"
        )


def _fields(tensor: TensorProto) -> tuple[Sequence[object], ...]:
    return (
        tensor.float_data,
        tensor.int32_data,
        tensor.int64_data,
        tensor.double_data,
        tensor.uint64_data,
    )


def _values(tensor: TensorProto) -> int:
    """Return how many numbers a tensor's data have outside `raw_data`."""
    elements = element_count(tensor.dims)
    if tensor.data_type in (TensorProto.COMPLEX64, TensorProto.COMPLEX128):
        return 2 * elements
    # Elements of less than a byte are packed into bytes, one a number.
    needed = stored_bytes(tensor.data_type, tuple(tensor.dims)) or 0
    return min(needed, elements)


def _refused(path: Path, reason: str) -> ModelError:
    return ModelError(
        f"{path} cannot be loaded for conversion: {reason}",
        fix="export the model again, with its external data files next to it.",
        code="TRT208",
        facts={"model": str(path)},
    )
