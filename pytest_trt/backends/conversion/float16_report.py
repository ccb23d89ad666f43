"""Constants as float16, and a report of what they lost."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from onnx import ModelProto, TensorProto, numpy_helper

from pytest_trt.onnx import graph
from pytest_trt.wording import count

#: The largest finite float16, and the smallest that is left as it is (2**-24, rounded).
MAX_FLOAT16 = 65504.0
MIN_FLOAT16 = 5.96e-08

#: More constants than this are counted instead of listed.
_LISTED = 12

#: Larger tensors hold weights: one of them rounded to 6e-08 is not worth its own line.
_SCALARS = 8


@dataclass(frozen=True, slots=True)
class _Change:
    """A constant with values that float16 cannot hold: the worst of them, and how many."""

    name: str
    before: float
    after: float
    count: int
    size: int


class Float16Report:
    """Converts constants to float16, and reports what was lost.

    Finite values stay finite, and values other than zero stay other than zero.
    """

    def __init__(self) -> None:
        self._clamped: list[_Change] = []
        self._flushed: list[_Change] = []

    def narrow(self, name: str, tensor: TensorProto) -> None:
        """Convert a float32 tensor in place.

        Args:
            name: What the report calls it.
            tensor: The tensor, with its data.
        """
        values = numpy_helper.to_array(tensor)
        magnitudes = np.abs(values)
        large = np.isfinite(values) & (magnitudes > MAX_FLOAT16)
        small = (values != 0) & (magnitudes < MIN_FLOAT16)
        with np.errstate(over="ignore"):
            half = np.asarray(values.astype(np.float16))
        half[large] = np.copysign(MAX_FLOAT16, values[large])
        half[small] = np.copysign(MIN_FLOAT16, values[small])
        self._note(self._clamped, name, values, half, large, largest=True)
        self._note(self._flushed, name, values, half, small, largest=False)
        own_name = tensor.name
        tensor.CopyFrom(numpy_helper.from_array(half, own_name))

    def _note(
        self,
        changes: list[_Change],
        name: str,
        before: npt.NDArray[np.generic],
        after: npt.NDArray[np.generic],
        changed: npt.NDArray[np.bool_],
        *,
        largest: bool,
    ) -> None:
        hits = np.flatnonzero(changed)
        if not hits.size:
            return
        magnitudes = np.abs(before.reshape(-1)[hits].astype(np.float64))
        worst = hits[magnitudes.argmax() if largest else magnitudes.argmin()]
        old, new = (float(array.reshape(-1)[worst]) for array in (before, after))
        changes.append(_Change(name, old, new, len(hits), before.size))

    def notes(self) -> tuple[str, ...]:
        """Return one line per constant that changed."""
        scalars = [_described(change) for change in self._flushed if change.size <= _SCALARS]
        weights = [change for change in self._flushed if change.size > _SCALARS]
        lines = [*map(_described, self._clamped), *scalars]
        if len(lines) > _LISTED:
            lines[_LISTED:] = [f"{len(lines) - _LISTED} more constants do not fit float16"]
        if weights:
            lines.append(
                f"{count(sum(one.count for one in weights), 'weight')} of "
                f"{count(len(weights), 'tensor')} are "
                f"too small for float16; they became {MIN_FLOAT16:.3g} of the same sign"
            )
        return tuple(lines)


def already_float16(model: ModelProto, types: Iterable[int]) -> str | None:
    """Return why a model counts as float16 already, or None if it does not.

    Args:
        model: The model.
        types: The element types of its values.
    """
    elements: Counter[int] = Counter()
    for _, tensor in graph.constants(model.graph):
        elements[tensor.data_type] += int(np.prod(tensor.dims, dtype=np.int64))
    what = "floating-point constants"
    half, single = elements[TensorProto.FLOAT16], elements[TensorProto.FLOAT]
    if not half and not single:
        counted = Counter(types)
        what = "floating-point values"
        half, single = counted[TensorProto.FLOAT16], counted[TensorProto.FLOAT]
    if half <= single:
        return None
    return (
        f"the model is float16 already ({half} of {half + single} {what}), so it was not converted"
    )


def _described(change: _Change) -> str:
    line = f"constant {change.name!r}: {change.before:.6g} became {change.after:.6g} in float16"
    if change.size > 1:
        line += f" ({change.count} of {change.size} values out of range; this is the worst)"
    return line
