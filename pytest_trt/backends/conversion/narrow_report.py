"""Constants as float16 or bfloat16, and a report of what they lost."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from onnx import ModelProto, TensorProto, numpy_helper

from pytest_trt.backends.conversion.narrow_types import NarrowType
from pytest_trt.onnx import graph
from pytest_trt.wording import count

#: More constants than this are counted instead of listed.
_LISTED = 12

#: Larger tensors hold weights: one of them rounded to 6e-08 is not worth its own line.
_SCALARS = 8


@dataclass(frozen=True, slots=True)
class _Change:
    """A constant with values that the type cannot hold: the worst of them, and how many."""

    name: str
    before: float
    after: float
    count: int
    size: int


class NarrowReport:
    """Converts constants to a narrow type, and reports what was lost.

    Finite values stay finite, and values other than zero stay other than zero.

    Attributes:
        to: The type.
    """

    def __init__(self, to: NarrowType) -> None:
        self.to = to
        self._clamped: list[_Change] = []
        self._flushed: list[_Change] = []

    def narrow(self, name: str, tensor: TensorProto) -> None:
        """Convert a stored float32 tensor in place."""
        to, values = self.to, numpy_helper.to_array(tensor)
        magnitudes = np.abs(values)
        large = np.isfinite(values) & (magnitudes > to.largest)
        small = (values != 0) & (magnitudes < to.smallest)
        narrow = to.narrowed(values)
        narrow[large] = to.narrowed(np.copysign(np.float32(to.largest), values[large]))
        narrow[small] = to.narrowed(np.copysign(np.float32(to.smallest), values[small]))
        self._note(self._clamped, name, values, narrow, large, largest=True)
        self._note(self._flushed, name, values, narrow, small, largest=False)
        tensor.CopyFrom(to.tensor(narrow, tensor.name))

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
        scalars = [change for change in self._flushed if change.size <= _SCALARS]
        weights = [change for change in self._flushed if change.size > _SCALARS]
        lines = [_described(one, self.to) for one in (*self._clamped, *scalars)]
        if len(lines) > _LISTED:
            more = count(len(lines) - _LISTED, "more constant")
            lines[_LISTED:] = [f"outside of {self.to.name}: {more}"]
        if weights:
            lines.append(
                f"{count(sum(one.count for one in weights), 'weight')} of "
                f"{count(len(weights), 'tensor')} are "
                f"too small for {self.to.name}; they became {self.to.smallest:.3g} of the same sign"
            )
        return tuple(lines)


def already_narrow(model: ModelProto, types: Iterable[int], to: NarrowType) -> str | None:
    """Return why a model counts as narrow already, or None if it does not."""
    elements: Counter[int] = Counter()
    for _, tensor in graph.constants(model.graph):
        elements[tensor.data_type] += int(np.prod(tensor.dims, dtype=np.int64))
    what = "floating-point constants"
    half, single = elements[to.element], elements[TensorProto.FLOAT]
    if not half and not single:
        counted = Counter(types)
        what = "floating-point values"
        half, single = counted[to.element], counted[TensorProto.FLOAT]
    if half <= single:
        return None
    return (
        f"the model is {to.name} already ({half} of {half + single} {what}), so it was not "
        "converted"
    )


def _described(change: _Change, to: NarrowType) -> str:
    line = f"constant {change.name!r}: {change.before:.6g} became {change.after:.6g} in {to.name}"
    if change.size > 1:
        line += f" ({change.count} of {change.size} values out of range; this is the worst)"
    return line
