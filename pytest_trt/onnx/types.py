"""What a graph says about one input or output (ValueInfoProto), as a `TensorSpec`."""

from __future__ import annotations

from pytest_trt.onnx import fields as tags
from pytest_trt.onnx.wire import Source, WireError, fields, signed, text
from pytest_trt.tensors.elements import element_name
from pytest_trt.tensors.spec import TensorSpec

#: Types may nest (a sequence of maps). protobuf itself gives up at a hundred nested messages.
_MAX_NESTED_TYPES = 40

_WRAPPERS = {
    tags.TYPE_SEQUENCE_TYPE: "sequence",
    tags.TYPE_OPTIONAL_TYPE: "optional",
}


def tensor_spec(source: Source, start: int, end: int) -> TensorSpec:
    """Return the spec of one ValueInfoProto.

    Types other than dense tensors become a dtype such as "sequence(float32)", with no shape.

    Raises:
        WireError: The message is malformed.
    """
    name = ""
    dtype = element_name(0)
    shape: tuple[int | str, ...] | None = None
    for tag, value, stop in fields(source, start, end):
        if tag == tags.VALUEINFO_NAME:
            name = text(source, value, stop)
        elif tag == tags.VALUEINFO_TYPE:
            dtype, shape = _type(source, value, stop)
    return TensorSpec(name, dtype, shape)


def _type(
    source: Source, start: int, end: int, depth: int = 0
) -> tuple[str, tuple[int | str, ...] | None]:
    if depth > _MAX_NESTED_TYPES:
        raise WireError("types are nested too deeply", start)
    dtype = element_name(0)
    shape: tuple[int | str, ...] | None = None
    for tag, value, stop in fields(source, start, end):
        if tag == tags.TYPE_TENSOR_TYPE:
            dtype, shape = _tensor_type(source, value, stop)
        elif tag == tags.TYPE_SPARSE_TENSOR_TYPE:
            dtype, shape = f"sparse_tensor({_tensor_type(source, value, stop)[0]})", None
        elif tag in _WRAPPERS:
            dtype, shape = f"{_WRAPPERS[tag]}({_element(source, value, stop, depth)})", None
        elif tag == tags.TYPE_MAP_TYPE:
            dtype, shape = f"map({_map_types(source, value, stop, depth)})", None
        elif tag == tags.TYPE_OPAQUE_TYPE:
            dtype, shape = "opaque", None
    return dtype, shape


def _tensor_type(source: Source, start: int, end: int) -> tuple[str, tuple[int | str, ...] | None]:
    element = 0
    shape: tuple[int | str, ...] | None = None
    for tag, value, stop in fields(source, start, end):
        if tag == tags.TYPE_TENSOR_ELEM_TYPE:
            element = value
        elif tag == tags.TYPE_TENSOR_SHAPE:
            shape = tuple(
                _dimension(source, dim, dim_end)
                for dim_tag, dim, dim_end in fields(source, value, stop)
                if dim_tag == tags.TENSORSHAPE_DIM
            )
    return element_name(element), shape


def _dimension(source: Source, start: int, end: int) -> int | str:
    dimension: int | str = "?"
    for tag, value, stop in fields(source, start, end):
        if tag == tags.TENSORSHAPE_DIMENSION_DIM_VALUE:
            # Some exporters write -1 for a dimension that they do not know.
            dimension = signed(value) if signed(value) >= 0 else "?"
        elif tag == tags.TENSORSHAPE_DIMENSION_DIM_PARAM:
            dimension = text(source, value, stop) or "?"
    return dimension


def _element(source: Source, start: int, end: int, depth: int) -> str:
    element = element_name(0)
    for tag, value, stop in fields(source, start, end):
        if tag == tags.TYPE_SEQUENCE_ELEM_TYPE:
            element, _ = _type(source, value, stop, depth + 1)
    return element


def _map_types(source: Source, start: int, end: int, depth: int) -> str:
    key = 0
    value_type = element_name(0)
    for tag, value, stop in fields(source, start, end):
        if tag == tags.TYPE_MAP_KEY_TYPE:
            key = value
        elif tag == tags.TYPE_MAP_VALUE_TYPE:
            value_type, _ = _type(source, value, stop, depth + 1)
    return f"{element_name(key)}, {value_type}"
