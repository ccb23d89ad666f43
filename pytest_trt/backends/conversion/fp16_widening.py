"""Turns float16 into float32 wherever a model states a type or holds values, in place."""

from __future__ import annotations

import numpy as np
from onnx import AttributeProto, TensorProto, TypeProto, numpy_helper

#: Attributes that hold an element type; a Cast's `to` is not among them, as it does the rounding.
_TYPE_ATTRIBUTES = frozenset(
    {"dtype", "output_datatype", "output_dtype", "precision", "softmax_precision", "stash_type"}
)


def widen_tensor(tensor: TensorProto) -> None:
    """Make a float16 tensor a float32 one with the same values."""
    if tensor.data_type == TensorProto.FLOAT16:
        values = numpy_helper.to_array(tensor).astype(np.float32)
        tensor.CopyFrom(numpy_helper.from_array(values, tensor.name))


def widen_attribute(attribute: AttributeProto) -> None:
    """Widen the tensors and types that an attribute holds, its graphs left out."""
    for tensor in (attribute.t, *attribute.tensors, attribute.sparse_tensor.values):
        widen_tensor(tensor)
    for sparse in attribute.sparse_tensors:
        widen_tensor(sparse.values)
    for value in (attribute.tp, *attribute.type_protos):
        widen_type(value)
    if attribute.name in _TYPE_ATTRIBUTES and attribute.i == TensorProto.FLOAT16:
        attribute.i = TensorProto.FLOAT


def widen_type(value: TypeProto) -> None:
    """Make float16 float32 in a type: of a tensor, or inside a sequence, optional or map."""
    kind = value.WhichOneof("value")
    if kind in ("tensor_type", "sparse_tensor_type"):
        tensor = getattr(value, kind)
        if tensor.elem_type == TensorProto.FLOAT16:
            tensor.elem_type = TensorProto.FLOAT
    elif kind in ("sequence_type", "optional_type"):
        widen_type(getattr(value, kind).elem_type)
    elif kind == "map_type":
        widen_type(value.map_type.value_type)
