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
class AnyRun:
    """A run of an engine, whether it failed or not, to be tried with another engine.

    Attributes:
        number: Its number among the runs of the engine, from 1.
        inputs: Its inputs; a copy.
        judge: Compares outputs with what it was compared with.
    """

    number: int
    inputs: Tensors
    judge: Callable[[Tensors], Comparison]


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
        number: Its number among the runs of the engine, from 1.
        others: The other runs of the engine, as far as memory for them goes.
        runs: How many runs there were.
    """

    engine: Engine
    inputs: Tensors
    outputs: Tensors
    expected: Tensors
    comparison: Comparison
    agrees: bool | None
    judge: Callable[[Tensors], Comparison]
    number: int = 1
    others: tuple[AnyRun, ...] = ()
    runs: int = 1

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
