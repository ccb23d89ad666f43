"""Changes of a model's constants by a conversion to float16."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import Any

import numpy as np
from onnx import ModelProto, TensorProto, numpy_helper

from pytest_trt.onnx import graph

#: The largest finite float16, and the smallest that the converter leaves as is (2**-24, rounded).
MAX_FLOAT16 = 65504.0
MIN_FLOAT16 = 5.96e-08

#: More constants than this are counted instead of listed.
_LISTED = 12

#: Larger tensors hold weights: one of them rounded to 6e-08 is not worth its own line.
_SCALARS = 8


@dataclass(frozen=True, slots=True)
class _Change:
    """A constant with values that float16 cannot hold; `index` is the worst of them."""

    name: str
    tensor: Any
    index: int
    before: float
    count: int
    size: int


class Float16Watch:
    """Examines a model before its conversion and reports afterwards what was lost.

    It holds references into the model, which must be converted in place.
    """

    def __init__(self, model: ModelProto) -> None:
        self._elements: Counter[int] = Counter()
        self._clamped: list[_Change] = []
        self._flushed: list[_Change] = []
        for name, tensor in graph.constants(model.graph):
            self._elements[tensor.data_type] += int(np.prod(tensor.dims, dtype=np.int64))
            if tensor.data_type == TensorProto.FLOAT:
                self._look(name, tensor)
        self._types = {
            value.type.tensor_type.elem_type
            for scope in graph.walk_graphs(model.graph)
            for value in (*scope.input, *scope.output, *scope.value_info)
        } | self._elements.keys()

    def _look(self, name: str, tensor: TensorProto) -> None:
        values = np.abs(numpy_helper.to_array(tensor).reshape(-1))
        large = np.isfinite(values) & (values > MAX_FLOAT16)
        small = (values > 0) & (values < MIN_FLOAT16)
        for mask, found, worst in (
            (large, self._clamped, np.argmax),
            (small, self._flushed, np.argmin),
        ):
            if mask.any():
                hits = np.flatnonzero(mask)
                index = int(hits[worst(values[hits])])
                before = float(numpy_helper.to_array(tensor).reshape(-1)[index])
                found.append(_Change(name, tensor, index, before, len(hits), values.size))

    @property
    def has_float32(self) -> bool:
        """Whether anything in the model is float32."""
        return TensorProto.FLOAT in self._types

    @property
    def is_already_float16(self) -> bool:
        """Whether most of the model's constants are float16 already."""
        return self._elements[TensorProto.FLOAT16] > self._elements[TensorProto.FLOAT]

    def already_note(self) -> str:
        """Return why the model is not converted."""
        half, single = self._elements[TensorProto.FLOAT16], self._elements[TensorProto.FLOAT]
        return (
            f"the model is float16 already ({half} of {half + single} floating-point constants); "
            "it is not converted"
        )

    def types(self) -> str:
        """Return the element types in the model, as ONNX names them."""
        names = sorted(TensorProto.DataType.Name(number) for number in self._types if number)
        return ", ".join(names).lower() or "unknown"

    def notes(self) -> tuple[str, ...]:
        """Return one line per constant that changed, once the conversion is done."""
        clamped = [_described(change) for change in self._clamped if _converted(change)]
        flushed = [change for change in self._flushed if _converted(change)]
        scalars = [_described(change) for change in flushed if change.size <= _SCALARS]
        weights = [change for change in flushed if change.size > _SCALARS]
        lines = [*clamped, *scalars]
        if len(lines) > _LISTED:
            lines[_LISTED:] = [f"{len(lines) - _LISTED} more constants do not fit float16"]
        if weights:
            lines.append(
                f"{sum(change.count for change in weights)} weights of {len(weights)} tensors are "
                f"smaller than float16 can hold; they became {MIN_FLOAT16:.3g} with their sign"
            )
        return tuple(lines)


def _converted(change: _Change) -> bool:
    return bool(change.tensor.data_type == TensorProto.FLOAT16)


def _described(change: _Change) -> str:
    after = float(numpy_helper.to_array(change.tensor).reshape(-1)[change.index])
    line = f"constant {change.name!r}: {change.before:.6g} became {after:.6g} in float16"
    if change.size > 1:
        line += f" ({change.count} of {change.size} values out of range, this one the most)"
    return line
