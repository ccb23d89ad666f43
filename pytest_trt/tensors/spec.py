"""The specification of a model's input or output: name, element type, shape."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Protocol, TypeAlias

import numpy as np
import numpy.typing as npt

from pytest_trt.diagnostics import Fact
from pytest_trt.tensors.elements import is_tensor

#: Tensors by name, as sessions take them and return them.
Tensors: TypeAlias = Mapping[str, npt.NDArray[np.generic]]


class InputSamples(Protocol):
    """Sets of inputs that can be read repeatedly, such as a list; others read one at a time."""

    def __len__(self) -> int: ...

    def __iter__(self) -> Iterator[Tensors]: ...


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
        if not is_tensor(self.dtype):
            return self.dtype
        shape = "..." if self.shape is None else ", ".join(map(str, self.shape))
        return f"{self.dtype}[{shape}]"

    def __str__(self) -> str:
        return f"{self.name}: {self.form}"
