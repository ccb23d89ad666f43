"""Errors injected into outputs: just over the tolerance, just within it, and large ones.

Only one output is altered at a time: one of many may be the one whose check cannot fail.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple, TypeAlias

import numpy as np
import numpy.typing as npt

from pytest_trt.accuracy.tolerance import Tolerance
from pytest_trt.tensors.spec import Tensors

_Array: TypeAlias = npt.NDArray[Any]

#: Multiples of the tolerance by which an element is off; the first that its type can represent on
#: the right side of the limit is used.
_BEYOND, _WITHIN = (1.1, 1.5, 3.0), (0.9, 0.5, 0.0)


class Injection(NamedTuple):
    """Outputs with one injected error.

    Attributes:
        output: The output that was altered.
        what: What was injected, in words.
        must_fail: Whether a check must fail on it; otherwise it must pass.
        outputs: All outputs.
    """

    output: str
    what: str
    must_fail: bool
    outputs: Tensors


def inject_errors(
    outputs: Tensors,
    reference: Tensors,
    tolerances: Mapping[str, Tolerance],
    *,
    metrics: bool = False,
) -> Iterator[Injection]:
    """Yield outputs with injected errors, each altered in one output.

    - Errors as large as the range of the output, in every element.
    - NaN everywhere, in outputs that can hold it.
    - Just over the tolerance, in one element more than max_mismatch_pct allows, and just within it
      in all of them, unless ranking, direction or a metric is limited too.
    """
    for name, right in reference.items():
        if name not in outputs:
            continue
        actual, wanted = np.asarray(outputs[name]), np.asarray(right)
        if not wanted.size or (actual.shape != wanted.shape and tolerances[name].elementwise):
            continue
        for what, must_fail, altered in _altered(actual, wanted, tolerances[name]):
            if metrics and not must_fail:  # they may rightly fail on errors within the tolerance
                continue
            yield Injection(name, what, must_fail, {**outputs, name: altered})


def _altered(
    actual: _Array, reference: _Array, tolerance: Tolerance
) -> Iterator[tuple[str, bool, _Array]]:
    yield "errors as large as its range", True, _opposite(reference, actual.dtype)
    if actual.dtype.kind != "f":
        return
    if not np.isnan(reference).all():
        yield "NaN everywhere", True, np.full_like(actual, np.nan)
    if not tolerance.elementwise:
        return
    finite = np.flatnonzero(np.isfinite(reference))
    may_be_off = math.floor(finite.size * tolerance.max_mismatch_pct / 100)
    if may_be_off < finite.size:
        yield from _errors(actual, reference, finite[: may_be_off + 1], tolerance, beyond=True)
    # Limits on ranking and direction may rightly fail on errors within the tolerance.
    if finite.size and not tolerance.has_measure:
        yield from _errors(actual, reference, finite, tolerance, beyond=False)


def _errors(
    actual: _Array, reference: _Array, where: _Array, tolerance: Tolerance, *, beyond: bool
) -> Iterator[tuple[str, bool, _Array]]:
    """Yield an output that is off by a multiple of the tolerance in places, and exact elsewhere."""
    wide = reference.reshape(-1).astype(np.result_type(reference.dtype, np.float64))
    allowed = tolerance.atol + tolerance.rtol * np.abs(wide[where])
    for share in _BEYOND if beyond else _WITHIN:
        by = share * allowed
        if beyond:  # at least one step: the tolerance may be zero
            step = np.spacing(np.abs(wide[where]).astype(actual.dtype))
            by = np.maximum(by, step.astype(wide.dtype))
        changed = wide.copy()
        changed[where] += np.where(wide[where] < 0, -by, by)
        with np.errstate(over="ignore"):
            altered = changed.astype(actual.dtype)
        off = np.abs(altered[where].astype(wide.dtype) - wide[where])
        if bool((off > allowed).all() if beyond else (off <= allowed).all()):
            number = "an error" if where.size == 1 else "errors"
            yield f"{number} of {share:g}x its tolerance", beyond, altered.reshape(reference.shape)
            return


def _opposite(reference: _Array, dtype: np.dtype[Any]) -> _Array:
    """Return an output in which every element is about as wrong as it can be."""
    if dtype.kind in "USOT":
        changed = [f"not {text}" for text in reference.reshape(-1).astype(str)]
        return np.array(changed, dtype=object).reshape(reference.shape)
    if dtype.kind == "b":
        return ~reference.astype(bool)
    if dtype.kind in "iu":
        info = np.iinfo(dtype)
        middle = info.min // 2 + info.max // 2
        return np.where(reference > middle, info.min, info.max).astype(dtype)
    wide = reference.astype(np.result_type(reference.dtype, np.float64))
    finite = wide[np.isfinite(wide)]
    if not finite.size:
        return np.zeros(reference.shape, dtype)
    least, most = finite.real.min(), finite.real.max()
    span = float(max(most - least, abs(most), abs(least))) or 1.0
    flipped = -wide + np.where(wide.real > 0, -span, span)
    with np.errstate(over="ignore", invalid="ignore"):
        return np.where(np.isfinite(wide), flipped, 0.0).astype(dtype)
