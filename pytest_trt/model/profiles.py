"""Optimisation profiles: the range of shapes that one engine serves."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias

from pytest_trt.model.tensors import TensorSpec

Shape: TypeAlias = tuple[int, ...]


@dataclass(frozen=True, slots=True)
class ShapeRange:
    """The shapes that one input may take: min and max bound it, opt is what tactics are tuned for."""

    min: Shape
    opt: Shape
    max: Shape


#: One optimisation profile: the shape range of every dynamic input, by name.
Profile: TypeAlias = Mapping[str, ShapeRange]
