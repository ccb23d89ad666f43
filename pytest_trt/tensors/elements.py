"""Element types: their names here, in ONNX and numpy, and in ml_dtypes where numpy has none."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from types import MappingProxyType
from typing import Any

import numpy as np
import numpy.typing as npt

#: Name and size in bits by number of TensorProto.DataType (onnx.proto, ONNX 1.23). A size of 0
#: means that elements have no fixed one.
_BY_NUMBER = MappingProxyType(
    {
        0: ("undefined", 0),
        1: ("float32", 32),
        2: ("uint8", 8),
        3: ("int8", 8),
        4: ("uint16", 16),
        5: ("int16", 16),
        6: ("int32", 32),
        7: ("int64", 64),
        8: ("string", 0),
        9: ("bool", 8),
        10: ("float16", 16),
        11: ("float64", 64),
        12: ("uint32", 32),
        13: ("uint64", 64),
        14: ("complex64", 64),
        15: ("complex128", 128),
        16: ("bfloat16", 16),
        17: ("float8e4m3fn", 8),
        18: ("float8e4m3fnuz", 8),
        19: ("float8e5m2", 8),
        20: ("float8e5m2fnuz", 8),
        21: ("uint4", 4),
        22: ("int4", 4),
        23: ("float4e2m1", 4),
        24: ("float8e8m0", 8),
        25: ("uint2", 2),
        26: ("int2", 2),
        27: ("float6e2m3", 6),
        28: ("float6e3m2", 6),
    }
)


#: Numbers of fewer bits than float32, in which converters store weights.
SMALL_TYPES = frozenset(name for name, bits in _BY_NUMBER.values() if 0 < bits < 32) - {"bool"}

#: Element types of tensors in TensorRT 8.6 to 11 and TensorRT-RTX.
#: Source: members of `DataType`.
TENSORRT_TYPES = frozenset(
    {"float32", "float16", "bfloat16", "int8", "int32", "int64", "uint8", "bool", "float8e4m3fn"}
    | {"int4", "float4e2m1", "float8e8m0"}
)

#: ml_dtypes' names of the types that numpy lacks.
_EXTENSIONS = MappingProxyType(
    {
        "bfloat16": "bfloat16",
        "float8e4m3fn": "float8_e4m3fn",
        "float8e4m3fnuz": "float8_e4m3fnuz",
        "float8e5m2": "float8_e5m2",
        "float8e5m2fnuz": "float8_e5m2fnuz",
        "float8e8m0": "float8_e8m0fnu",
        "float6e2m3": "float6_e2m3fn",
        "float6e3m2": "float6_e3m2fn",
        "float4e2m1": "float4_e2m1fn",
        "uint4": "uint4",
        "int4": "int4",
        "uint2": "uint2",
        "int2": "int2",
    }
)

_BY_EXTENSION = MappingProxyType({given: name for name, given in _EXTENSIONS.items()})

_BITS = MappingProxyType(dict(_BY_NUMBER.values()))

_NUMBERS = MappingProxyType({name: number for number, (name, _) in _BY_NUMBER.items()})


def element_name(number: int) -> str:
    """Return the name used here for an ONNX element type, e.g. "float32" for 1."""
    name, _ = _BY_NUMBER.get(number, (f"type{number}", 0))
    return name


#: More elements than any tensor can have: numbers of elements are 64-bit integers.
MOST_ELEMENTS = (1 << 63) - 1


def element_count(dims: Sequence[int]) -> int:
    """Return how many elements a tensor has, at most `MOST_ELEMENTS`.

    Products of many large dimensions would take the square of their number.
    """
    if 0 in dims:
        return 0
    elements = 1
    for dim in dims:
        elements *= dim
        if elements > MOST_ELEMENTS:
            return MOST_ELEMENTS
    return elements


def stored_bytes(number: int, dims: tuple[int, ...]) -> int | None:
    """Return the size of a tensor in raw form in bytes, or None if its type has no fixed size.

    Elements smaller than a byte are packed, and the last byte is padded (onnx.proto, raw_data).
    """
    _, bits = _BY_NUMBER.get(number, ("", 0))
    if not bits or any(dim < 0 for dim in dims):
        return None
    return -(-element_count(dims) * bits // 8)


def is_tensor(dtype: str) -> bool:
    """Whether the type of an input or output is that of a tensor, rather than of a sequence."""
    return "(" not in dtype and dtype != "opaque"


def is_integer(name: str) -> bool:
    """Whether an element type holds integers: "int4", "uint8"."""
    return name.removeprefix("u").startswith("int")


def element_of(dtype: str) -> str:
    """Return the element type of what a type holds: "float32" for "sequence(float32)"."""
    return dtype.rpartition("(")[2].rstrip(")").rpartition(", ")[2]


def is_extension(name: str) -> bool:
    """Whether an element type is one that numpy lacks and ml_dtypes has."""
    return name in _EXTENSIONS


def element_number(name: str) -> int:
    """Return the number of an element type in TensorProto.DataType."""
    return _NUMBERS[name]


def element_bits(name: str) -> int:
    """Return the size of an element in bits; 0 if its type has no fixed one."""
    return _BITS[name]


@lru_cache(maxsize=256)  # text has a dtype for each length
def dtype_name(dtype: np.dtype[Any]) -> str:
    """Return the name used here for a dtype: numpy's, or ONNX's for those of ml_dtypes."""
    return _BY_EXTENSION.get(dtype.name, dtype.name)


def dtype_code(name: str) -> str:
    """Return an element type as the argument of `astype`."""
    if name in _EXTENSIONS:
        return f"ml_dtypes.{_EXTENSIONS[name]}"
    return "str" if name == "string" else f'"{name}"'


def numpy_dtype(name: str) -> np.dtype[Any] | None:
    """Return the dtype of an element name, one of ml_dtypes where numpy has none.

    None for types that have no values of a fixed size: strings, sequences, maps.
    """
    if name in _EXTENSIONS:
        import ml_dtypes

        dtype: np.dtype[Any] = np.dtype(getattr(ml_dtypes, _EXTENSIONS[name]))
        return dtype
    return np.dtype(name) if _BITS.get(name) else None


def as_bits(array: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Return an array as numpy's files can hold it: types of ml_dtypes as unsigned integers."""
    if dtype_name(array.dtype) not in _EXTENSIONS:
        return array
    return np.asarray(array, order="C").view(f"u{array.dtype.itemsize}")


def from_bits(array: npt.NDArray[Any], name: str) -> npt.NDArray[Any]:
    """Return the array that `as_bits` was given, whose element type has this name."""
    dtype = numpy_dtype(name) if name in _EXTENSIONS else None
    return array if dtype is None else array.view(dtype)
