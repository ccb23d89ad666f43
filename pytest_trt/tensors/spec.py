"""What a model says about one of its inputs or outputs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

#: Tensors by name, as sessions take them and return them.
Tensors: TypeAlias = Mapping[str, npt.NDArray[np.generic]]


@dataclass(frozen=True, slots=True)
class TensorSpec:
    """Name, element type and shape of a model's input or output.

    Attributes:
        name: The tensor's name in the graph.
        dtype: numpy's name of the element type ("float32", "int64", "bool"), or "bfloat16",
            "float8e4m3fn", "int4", "string", which numpy has no own type for.
        shape: One entry per dimension: an int where it is fixed, the dimension's name where it is
            symbolic, "?" where it is neither. None when even the rank is unknown.
    """

    name: str
    dtype: str
    shape: tuple[int | str, ...] | None

    @property
    def is_dynamic(self) -> bool:
        """Whether any dimension, or the rank, is only known when tensors arrive."""
        return self.shape is None or any(isinstance(dim, str) for dim in self.shape)

    def __str__(self) -> str:
        shape = "..." if self.shape is None else ", ".join(map(str, self.shape))
        return f"{self.name}: {self.dtype}[{shape}]"
