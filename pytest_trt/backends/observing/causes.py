"""Why a layer has an error of its own, as far as its values and constants show it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
from onnx import NodeProto, TensorProto, numpy_helper

from pytest_trt.backends.observing.graphs import LoadedModel, attributes_of
from pytest_trt.backends.observing.tensor_error import TensorError
from pytest_trt.units import multiple

if TYPE_CHECKING:
    from pytest_trt.backends.observing.jobs import CompareJob

#: Operators whose result may be much smaller than what they add up.
_SUMS = frozenset({"Add", "Sub", "Sum"})

#: How much larger operands must be for rounding them to matter: five bits of eleven.
_CANCELS = 32.0

#: The share of an error that makes its kind the cause.
_MOST = 0.5

#: How far, of a tensor's range, values must end early to be clipped and not rounded.
_BEYOND = 0.05

#: Own errors below this need no cause: rounding of float32.
_ROUNDING = 1e-5


def cancelled(
    node: NodeProto, values: Mapping[str, npt.NDArray[Any]], result: npt.NDArray[Any]
) -> float:
    """Return how many times the operands of a sum are larger than its result; 0 for others."""
    if node.op_type not in _SUMS:
        return 0.0
    size = _size(result)
    sizes = [_size(values[name]) for name in node.input if name in values]
    return max(sizes, default=0.0) / size if size > 0 else 0.0


def _size(array: npt.NDArray[Any]) -> float:
    wide = array.astype(np.float64)
    return float(np.sqrt(np.mean(np.square(wide[np.isfinite(wide)])))) if array.size else 0.0


def cause_of(
    found: TensorError, model: LoadedModel, other: LoadedModel | None, job: CompareJob
) -> str:
    """Return why a layer has an error of its own; empty where nothing shows it.

    Args:
        found: The figures of the layer.
        model: The FP32 model.
        other: The model that the engine computes, where that is another one.
        job: The type's limits, and the tensors between layers.
    """
    if found.suspicion < _ROUNDING:
        return ""
    if other is not None:
        return _difference(found.tensor, model, other, job)
    return (
        _of_constants(found.tensor, model, job) or _of_range(found, job) or _of_values(found, job)
    )


def _of_range(found: TensorError, job: CompareJob) -> str:
    peak = max(abs(found.low), abs(found.high))
    if job.limit and peak > job.limit:
        return f"overflow: values reach {peak:,.0f}, the type ends at {job.limit:,.0f}"
    if found.nonfinite:
        return f"overflow inside the layer: {found.nonfinite:,} values are not finite"
    if job.smallest and found.flushed > _MOST:
        return (
            f"underflow: values up to {found.max_abs:.2g} became 0, the type's normal numbers "
            f"begin at {job.smallest:.2g}"
        )
    return ""


def _of_values(found: TensorError, job: CompareJob) -> str:
    clipped = job.quantised and found.clipped > _MOST
    if clipped and found.max_abs > _BEYOND * (found.high - found.low):
        return (
            "the quantisation range is too small: "
            f"values from {found.low:.3g} to {found.high:.3g} were clipped"
        )
    if found.cancelled > _CANCELS:
        return f"cancellation: what it adds is {multiple(found.cancelled)}x its result"
    if job.quantised and found.flushed > _MOST:
        return "the quantisation scale is too coarse: most of the error is values that became 0"
    return ""


def _of_constants(tensor: str, model: LoadedModel, job: CompareJob) -> str:
    """Return whether a constant of the layer is outside of the type."""
    if not job.limit:
        return ""
    for name, stored in _floats(model.constants_of(tensor, frozenset(job.cut))):
        sizes = np.abs(stored[np.isfinite(stored) & (stored != 0)])
        if not sizes.size:
            continue
        if sizes.max() > job.limit:
            return f"clamped constant: {name} reaches {sizes.max():,.6g}"
        # Half of the smallest subnormal number rounds to 0: 1024 of them are the smallest normal.
        if sizes.max() < job.smallest / 2048:
            return f"clamped constant: {name} is at most {sizes.max():.2g}, which becomes 0"
    return ""


def _floats(
    constants: Mapping[str, TensorProto],
) -> list[tuple[str, npt.NDArray[Any]]]:
    floats = (TensorProto.FLOAT, TensorProto.DOUBLE)
    return [
        (name, numpy_helper.to_array(one))
        for name, one in constants.items()
        if one.data_type in floats
    ]


def _difference(tensor: str, model: LoadedModel, other: LoadedModel, job: CompareJob) -> str:
    """Return what two models compute differently in one layer."""
    cut = frozenset(job.cut)
    ours, _ = model.segment(tensor, cut)
    theirs, _ = other.segment(tensor, cut)
    operators = [node.op_type for node in ours], [node.op_type for node in theirs]
    if operators[0] != operators[1]:
        shown = (", ".join(names) for names in operators)
        return "the reference computes it by {}, this model by {}".format(*shown)
    constants = model.constants_of(tensor, cut), other.constants_of(tensor, cut)
    for one, another in zip(ours, theirs, strict=True):
        found = _attributes(one, another) or _constants(one, another, *constants)
        if found:
            return found
    return ""


def _attributes(one: NodeProto, another: NodeProto) -> str:
    mine, its = attributes_of(one), attributes_of(another)
    for name in sorted({*mine, *its}):
        here, there = its.get(name, "not set"), mine.get(name, "not set")
        if here != there:
            return f"attribute {name}: {there} in the reference, {here} here"
    return ""


def _constants(
    one: NodeProto,
    another: NodeProto,
    mine: Mapping[str, TensorProto],
    its: Mapping[str, TensorProto],
) -> str:
    for name, other in zip(one.input, another.input, strict=False):
        if name not in mine or other not in its:
            if name != other:
                return f"it reads {other}, and {name} in the reference"
            continue
        stored, changed = numpy_helper.to_array(mine[name]), numpy_helper.to_array(its[other])
        if stored.shape != changed.shape:
            return f"constant {name} has another shape than in the reference"
        different = int(np.count_nonzero(stored != changed))
        if different:
            return f"constant {name} differs in {different:,} of {stored.size:,} elements"
    return ""
