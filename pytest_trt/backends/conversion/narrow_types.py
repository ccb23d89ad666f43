"""The types that float32 can be narrowed to: what they are called, and what they can hold."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import ml_dtypes
import numpy as np
import numpy.typing as npt
from onnx import TensorProto


@dataclass(frozen=True, slots=True)
class NarrowType:
    """A type of 16 bits.

    Attributes:
        precision: The precision whose engines compute in it.
        name: ONNX's name in small letters.
        element: Its number in TensorProto.DataType.
        dtype: The type of arrays of it.
        largest: Its largest finite value.
        smallest: The smallest value that does not become 0, its smallest subnormal number, rounded.
    """

    precision: str
    name: str
    element: int
    dtype: npt.DTypeLike
    largest: float
    smallest: float

    def narrowed(self, values: npt.NDArray[Any]) -> npt.NDArray[Any]:
        """Return values rounded to the type; what it cannot hold becomes infinite or 0."""
        with np.errstate(over="ignore"):
            return np.asarray(values.astype(self.dtype))

    def tensor(self, values: npt.NDArray[Any], name: str) -> TensorProto:
        """Return a stored tensor of values that are of the type already."""
        # onnx's own helper takes arrays of ml_dtypes from 1.19 on.
        tensor = TensorProto(name=name, data_type=self.element, dims=values.shape)
        tensor.raw_data = values.astype(np.dtype(self.dtype).newbyteorder("<")).tobytes()
        return tensor


#: Sources: IEEE 754-2008 (binary16); BFLOAT16 as in ONNX's IR, float32 without its low 16 bits.
FLOAT16 = NarrowType(
    "fp16", "float16", int(TensorProto.FLOAT16), np.float16, largest=65504.0, smallest=5.96e-08
)
BFLOAT16 = NarrowType(
    "bf16",
    "bfloat16",
    int(TensorProto.BFLOAT16),
    ml_dtypes.bfloat16,
    largest=3.3895313892515355e38,
    smallest=9.19e-41,
)

#: By precision.
NARROW_TYPES: Mapping[str, NarrowType] = {one.precision: one for one in (FLOAT16, BFLOAT16)}
