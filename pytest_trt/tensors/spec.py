"""The specification of a model's input or output: name, element type, shape."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from pytest_trt.diagnostics import ConfigurationError, Fact, Remedy

#: Tensors by name, as sessions take them and return them.
Tensors: TypeAlias = Mapping[str, npt.NDArray[np.generic]]


@dataclass(frozen=True, slots=True)
class TensorSpec:
    """Name, element type and shape of a model's input or output.

    Attributes:
        name: The tensor's name in the graph.
        dtype: numpy's name of the element type ("float32", "int64", "bool"), or a name of a type
            that numpy lacks: "bfloat16", "float8e4m3fn", "int4", "string".
        shape: One entry per dimension: an int if it is fixed, the dimension's name if it is
            symbolic, or else "?". None if the rank is unknown.
    """

    name: str
    dtype: str
    shape: tuple[int | str, ...] | None

    @property
    def is_dynamic(self) -> bool:
        """Whether any dimension, or the rank, is only known when tensors arrive."""
        return self.shape is None or any(isinstance(dim, str) for dim in self.shape)

    @property
    def facts(self) -> dict[str, Fact]:
        """Return the spec as facts of a diagnostic: "tensor", "dtype" and "shape"."""
        shape = None if self.shape is None else list(self.shape)
        return {"tensor": self.name, "dtype": self.dtype, "shape": shape}

    @property
    def form(self) -> str:
        """The element type and shape, e.g. "float32[batch, 3]"."""
        shape = "..." if self.shape is None else ", ".join(map(str, self.shape))
        return f"{self.dtype}[{shape}]"

    def __str__(self) -> str:
        return f"{self.name}: {self.form}"


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


def element_name(number: int) -> str:
    """Return the name used here for an ONNX element type, e.g. "float32" for 1."""
    name, _ = _BY_NUMBER.get(number, (f"type{number}", 0))
    return name


def stored_bytes(number: int, dims: tuple[int, ...]) -> int | None:
    """Return the size of a tensor in raw form in bytes, or None if its type has no fixed size.

    Elements smaller than a byte are packed, and the last byte is padded (onnx.proto, raw_data).
    """
    _, bits = _BY_NUMBER.get(number, ("", 0))
    if not bits or any(dim < 0 for dim in dims):
        return None
    elements = 1
    for dim in dims:
        elements *= dim
    return -(-elements * bits // 8)


def numpy_dtype(name: str) -> np.dtype[Any] | None:
    """Return numpy's dtype for an element name, or None if numpy has none that fits.

    Raises:
        ConfigurationError: The type is bfloat16 and ml_dtypes is not installed.
    """
    if name == "bfloat16":
        return bfloat16_dtype()
    if name in _NUMPY_NAMES:
        return np.dtype(name)
    return None


_NUMPY_NAMES = frozenset(
    name
    for name, bits in _BY_NUMBER.values()
    if bits >= 8 and name != "bfloat16" and not name.startswith("float8")
)


def bfloat16_dtype() -> np.dtype[Any]:
    """Return the dtype of bfloat16, which numpy itself lacks.

    Raises:
        ConfigurationError: ml_dtypes, which provides it, is not installed.
    """
    try:
        import ml_dtypes
    except ImportError as error:
        raise ConfigurationError(
            "bfloat16 tensors need ml_dtypes, which is not installed",
            fix=Remedy(commands=("pip install ml_dtypes",)),
            code="TRT209",
            facts={"dtype": "bfloat16"},
        ) from error
    dtype: np.dtype[Any] = np.dtype(ml_dtypes.bfloat16)
    return dtype
