"""The run of an engine that is the furthest from its reference, so that it can be repeated."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, TypeAlias

import numpy as np

from pytest_trt.accuracy.result import Comparison
from pytest_trt.engine.build import Engine
from pytest_trt.tensors.spec import Tensors

#: Which runs are retained: those that fail, all, or none.
Retained: TypeAlias = Literal["failed", "all", "none"]


@dataclass(frozen=True, slots=True)
class Evidence:
    """One run.

    Attributes:
        engine: What ran.
        inputs: Its inputs; a copy.
        outputs: What it returned; a copy.
        expected: What it was compared with.
        comparison: How the two compare.
        agrees: Whether it agrees with its own model in FP32, where another gave the reference.
        judge: Compares other outputs with the same reference.
    """

    engine: Engine
    inputs: Tensors
    outputs: Tensors
    expected: Tensors
    comparison: Comparison
    agrees: bool | None
    judge: Callable[[Tensors], Comparison]

    @property
    def order(self) -> tuple[bool, float, float]:
        """By which the worse of two runs is chosen."""
        one = self.comparison
        return not one.passed, one.used, one.excess


def copied(tensors: Tensors) -> Tensors:
    """Return a copy of inputs or outputs, which belong to the caller, who may change them."""
    return {
        name: value.copy() if isinstance(value, np.ndarray) else value
        for name, value in tensors.items()
    }
