"""How far a tensor of an engine is from FP32, and how much of that its own layer made."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

#: Elements of one step: errors are summed up in float64 without a float64 copy of the tensor.
_STEP = 1 << 20


@dataclass(frozen=True, slots=True)
class TensorError:
    """One tensor inside an engine, compared with FP32.

    "Own" errors are against what FP32 makes of the engine's own inputs of that layer, so a layer
    that passes on, or amplifies, an error of earlier ones has none.

    Attributes:
        tensor: Its name.
        node: The node that computes it, by name; by its output where it has none.
        operator: That node's operator.
        nodes: All nodes since the tensors that were compared before it.
        readers: The nodes that read it, by name.
        shape: Its shape.
        error: ||a - r|| / ||r|| against the FP32 model's tensor, over finite elements; infinite
            where an element is finite in FP32 alone.
        before: The largest such error of the tensors that it is computed from.
        own: ||a - o|| / ||o||, with what FP32 makes of the engine's own inputs of the layer;
            infinite where an element is finite in FP32 alone.
        own_centred: The same against o without its mean: small changes of large values.
        max_abs: The largest |a - o|.
        nonfinite: Elements that are finite in FP32 and not in the engine.
        low: The least value in FP32.
        high: The largest value in FP32.
        flushed: The share of the squared own error of elements that became 0.
        clipped: The share of it of elements that ended at the largest or least value of the tensor.
        cancelled: How much larger the operands of a sum are than its result; 0 for other operators.
        carried: The error of the engine's outputs where this layer alone has its own error; None
            where it was not tried.
        cause: Why, in a few words; empty where nothing is known.
    """

    tensor: str
    node: str
    operator: str
    nodes: tuple[str, ...] = ()
    readers: tuple[str, ...] = ()
    shape: tuple[int, ...] = ()
    error: float = 0.0
    before: float = 0.0
    own: float = 0.0
    own_centred: float = 0.0
    max_abs: float = 0.0
    nonfinite: int = 0
    low: float = 0.0
    high: float = 0.0
    flushed: float = 0.0
    clipped: float = 0.0
    cancelled: float = 0.0
    carried: float | None = None
    cause: str = ""

    @property
    def suspicion(self) -> float:
        """What candidates are ordered by: the larger of both own errors."""
        return max(self.own, self.own_centred)


def relative_error(actual: npt.NDArray[Any], reference: npt.NDArray[Any]) -> float:
    """Return ||a - r|| / ||r|| over what is finite in both; infinite where only r is finite."""
    found = _Sums(actual, reference)
    return math.inf if found.nonfinite else found.relative


def measured(
    known: TensorError,
    actual: npt.NDArray[Any],
    own: npt.NDArray[Any],
    reference: npt.NDArray[Any],
) -> TensorError:
    """Return the figures of a tensor.

    Args:
        known: Its names.
        actual: The engine's values.
        own: What FP32 makes of the engine's inputs of the layer.
        reference: The FP32 model's values.
    """
    sums = _Sums(actual, own)
    finite = reference[np.isfinite(reference)]
    return replace(
        known,
        shape=actual.shape,
        error=relative_error(actual, reference),
        own=math.inf if sums.nonfinite else sums.relative,
        own_centred=sums.centred,
        max_abs=sums.largest,
        nonfinite=sums.nonfinite,
        low=float(finite.min()) if finite.size else 0.0,
        high=float(finite.max()) if finite.size else 0.0,
        flushed=sums.flushed,
        clipped=sums.clipped,
    )


class _Sums:
    """Sums over two arrays of one shape, step by step."""

    def __init__(self, actual: npt.NDArray[Any], reference: npt.NDArray[Any]) -> None:
        a, r = np.asarray(actual).reshape(-1), np.asarray(reference).reshape(-1)
        finite = [
            part[np.isfinite(part)] for part in (a.astype(np.float32, copy=False),) if part.size
        ]
        top = max((float(part.max()) for part in finite if part.size), default=0.0)
        bottom = min((float(part.min()) for part in finite if part.size), default=0.0)
        self.nonfinite = 0
        squares = total = clipped = flushed = values = 0.0
        count, largest = 0, 0.0
        for start in range(0, a.size, _STEP):
            one = a[start : start + _STEP].astype(np.float64)
            other = r[start : start + _STEP].astype(np.float64)
            both = np.isfinite(one) & np.isfinite(other)
            self.nonfinite += int(np.count_nonzero(np.isfinite(other) & ~np.isfinite(one)))
            one, other = one[both], other[both]
            if not one.size:
                continue
            error = one - other
            power = error * error
            total += float(power.sum())
            squares += float((other * other).sum())
            values += float(other.sum())
            count += other.size
            largest = max(largest, float(np.abs(error).max()))
            flushed += float(power[(one == 0) & (other != 0)].sum())
            beyond = ((one == top) & (other > top)) | ((one == bottom) & (other < bottom))
            clipped += float(power[beyond].sum())
        spread = squares - values * values / count if count else 0.0
        self.relative = _ratio(total, squares)
        # Below the rounding of float32, a spread is none.
        self.centred = _ratio(total, spread) if spread > squares * 1e-10 else self.relative
        self.largest = largest
        self.flushed = flushed / total if total else 0.0
        self.clipped = clipped / total if total else 0.0


def _ratio(error: float, reference: float) -> float:
    if reference > 0:
        return math.sqrt(error / reference)
    return math.inf if error > 0 else 0.0
