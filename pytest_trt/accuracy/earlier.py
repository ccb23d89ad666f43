"""Outputs of single samples beside those of an earlier run: do they depend on the inputs?"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import TypeAlias

import numpy as np

from pytest_trt.accuracy.compare import sample_passes
from pytest_trt.accuracy.result import Comparison, OutputResult
from pytest_trt.tensors.spec import Tensors

#: Elements of an output that is remembered, at most, and of an input.
_MOST_ELEMENTS = 1024
_FEW = 64

#: Engines whose first run is remembered.
_MOST_ENGINES = 1000

_Arrays: TypeAlias = dict[str, np.ndarray]


@dataclass(slots=True)
class FirstRuns:
    """The first run of each engine with a single sample: parts of its inputs, and its reference.

    Tests of one engine share them: many run one sample each.
    """

    _runs: dict[str, tuple[_Arrays, _Arrays]] = field(default_factory=dict)

    def compared(
        self,
        engine: str,
        inputs: Tensors,
        comparison: Comparison,
        reference: Mapping[str, object],
    ) -> Comparison:
        """Return a comparison with whether the reference of the first run passes in it, too.

        Args:
            engine: What ran.
            inputs: Its inputs.
            comparison: Its outputs against the reference.
            reference: The reference.
        """
        outputs = {one.name: one for one in comparison.outputs}
        arrays = {name: _single(reference.get(name), one) for name, one in outputs.items()}
        single = {name: array for name, array in arrays.items() if array is not None}
        if len(single) < len(outputs) or not single:
            return comparison
        few = {name: _few(one) for name, one in inputs.items() if isinstance(one, np.ndarray)}
        if engine not in self._runs:
            if len(self._runs) < _MOST_ENGINES:
                self._runs[engine] = few, {name: array.copy() for name, array in single.items()}
            return comparison
        first_inputs, first = self._runs[engine]
        if not _differ(first_inputs, few):
            return comparison
        same = all(
            name in first
            and first[name].shape == array.shape
            and sample_passes(outputs[name], first[name], array)
            for name, array in single.items()
        )
        changed = (replace(one, same_samples=same) for one in comparison.outputs)
        return replace(comparison, outputs=tuple(changed))


def _single(array: object, output: OutputResult) -> np.ndarray | None:
    """Return the reference of one sample, unless it is large, or metrics alone judge it."""
    tolerance = output.tolerance
    if (
        not isinstance(array, np.ndarray)
        or array.ndim < 2
        or len(array) != 1
        or not 1 < array.size <= _MOST_ELEMENTS
        or array.dtype.kind in "cOSU"
        or not (tolerance.elementwise or tolerance.has_measure)
    ):
        return None
    return array


def _few(array: np.ndarray) -> np.ndarray:
    few: np.ndarray = array.flat[:: 1 + array.size // _FEW]
    return few


def _differ(one: _Arrays, other: _Arrays) -> bool:
    return any(not np.array_equal(one[name], other[name]) for name in one.keys() & other.keys())
