"""How far outputs are from FP32, in units that depend on no tolerance."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from pytest_trt.accuracy.agreement import least_cosine
from pytest_trt.accuracy.arrays import Array
from pytest_trt.tensors.containers import items_of
from pytest_trt.tensors.elements import dtype_name
from pytest_trt.tensors.spec import Tensors, TensorSpec

_FLOATS = ("float", "bfloat")


@dataclass(frozen=True, slots=True)
class OutputError:
    """One output of floating-point numbers against FP32, the worst of several samples.

    Attributes:
        name: The output.
        max_abs: The largest |a - r|.
        relative_l2: ||a - r|| / ||r||; infinite where an element is finite on one side alone, and
            where none is finite in FP32.
        cosine: The smallest cosine similarity of the rows along axis 0; 0 where the error is
            infinite.
    """

    name: str
    max_abs: float
    relative_l2: float
    cosine: float


def output_errors(
    outputs: Tensors, reference: Tensors, specs: Sequence[TensorSpec]
) -> tuple[OutputError, ...]:
    """Return the error of every output of floating-point numbers that both sides have."""
    return tuple(_errors(outputs, reference, specs))


def _errors(
    outputs: Tensors, reference: Tensors, specs: Sequence[TensorSpec]
) -> Iterator[OutputError]:
    actual = items_of(outputs, specs).tensors
    for name, expected in items_of(reference, specs).tensors.items():
        one = actual.get(name)
        if one is None or not dtype_name(expected.dtype).startswith(_FLOATS) or not expected.size:
            continue
        if one.shape != expected.shape:
            yield OutputError(name, math.inf, math.inf, 0.0)
        else:
            yield _error(name, one, expected)


def _error(name: str, actual: Array, reference: Array) -> OutputError:
    a, r = (one.astype(np.float64).reshape(-1) for one in (actual, reference))
    finite = np.isfinite(a) & np.isfinite(r)
    same = finite | (a == r) | (np.isnan(a) & np.isnan(r))
    if not same.all() or not finite.any():
        return OutputError(name, math.inf, math.inf, 0.0)
    difference = np.abs(a[finite] - r[finite])
    size = float(np.linalg.norm(r[finite]))
    error = float(np.linalg.norm(difference))
    relative = error / size if size else (math.inf if error else 0.0)
    return OutputError(name, float(difference.max()), relative, least_cosine(actual, reference))


def worst_of(runs: Sequence[Sequence[OutputError]]) -> tuple[OutputError, ...]:
    """Return the worst of several runs, output by output."""
    by_name: dict[str, list[OutputError]] = {}
    for run in runs:
        for one in run:
            by_name.setdefault(one.name, []).append(one)
    return tuple(
        OutputError(
            name,
            max(one.max_abs for one in found),
            max(one.relative_l2 for one in found),
            min(one.cosine for one in found),
        )
        for name, found in by_name.items()
    )
