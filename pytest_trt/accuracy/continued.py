"""Runs that continue from outputs of the run before, such as the states of a recurrent network.

The reference of such a run begins at the state that the engine left: an error that adds up from run
to run is small in each. A reference that continues from its own states shows it.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field

import numpy as np

from pytest_trt.accuracy.result import Comparison, OutputResult
from pytest_trt.diagnostics import Diagnostic, Remedy
from pytest_trt.engine.build import Engine
from pytest_trt.tensors.seeded import inputs_digest
from pytest_trt.tensors.spec import Tensors, TensorSpec
from pytest_trt.wording import count

#: Bytes of a state, at most.
_MOST_BYTES = 16_000_000

#: Seconds that further runs of the reference of one engine may take; then its sequence ends.
_MOST_S = 10.0


@dataclass(slots=True)
class _Sequence:
    """The last run of an engine, and what its reference would be now.

    Attributes:
        inputs: Inputs that may be states.
        outputs: Outputs that may be.
        left: Outputs of the engine's last run by digest.
        own: Outputs of a reference that continued from its own states; None where it did not.
        fed: Outputs that runs continued from.
        runs: How many runs continued.
        worst: The output that differs most from that reference, and after how many runs.
        spent_s: Seconds that its further runs took.
    """

    inputs: Collection[str]
    outputs: Collection[str]
    left: Mapping[str, str] = field(default_factory=dict)
    own: Tensors | None = None
    fed: set[str] = field(default_factory=set)
    runs: int = 0
    worst: tuple[OutputResult, int] | None = None
    spent_s: float = 0.0


class ContinuedRuns:
    """What a test's engines differ by from references that continue from their own states."""

    def __init__(self) -> None:
        self._sequences: dict[str, tuple[Engine, _Sequence]] = {}

    def observe(
        self,
        engine: Engine,
        inputs: Tensors,
        outputs: Tensors,
        expected: Tensors,
        *,
        reference: Callable[[Tensors], Tensors],
        compare: Callable[[Tensors], Comparison],
    ) -> None:
        """Follow one run that agrees with its reference.

        Args:
            engine: What ran.
            inputs: Its inputs.
            outputs: Its outputs.
            expected: The reference for these inputs.
            reference: Gives the reference for others.
            compare: Compares the run's outputs with a reference.
        """
        key = engine.key.digest
        if key not in self._sequences:
            self._sequences[key] = engine, _Sequence(*_states(engine))
        _, one = self._sequences[key]
        if not one.inputs:
            return
        own, left = one.own, one.left
        one.own, one.left = None, {digest: name for name, digest in _digests(outputs, one.outputs)}
        fed = {
            name: left[digest] for name, digest in _digests(inputs, one.inputs) if digest in left
        }
        if not fed:
            one.runs, one.own = 0, expected
        elif own is not None and one.spent_s < _MOST_S:
            started_s = time.perf_counter()
            with suppress(Exception):  # it may refuse states that the engine would not leave
                one.own = reference({**inputs, **{name: own[state] for name, state in fed.items()}})
            one.spent_s += time.perf_counter() - started_s
            if one.own is not None:
                one.runs += 1
                one.fed.update(fed.values())
                self._judge(one, compare(one.own))
        if one.own is not None:
            one.own = {name: one.own[name] for name in one.left.values()}

    def _judge(self, one: _Sequence, comparison: Comparison) -> None:
        worst = max(comparison.outputs, key=lambda each: each.used, default=None)
        if worst is not None and worst.used > max(1.0, one.worst[0].used if one.worst else 0.0):
            one.worst = worst, one.runs

    def notes(self) -> Iterator[Diagnostic]:
        """Yield what adds up beyond a tolerance that each run is within."""
        for engine, one in self._sequences.values():
            if one.worst is None:
                continue
            (output, runs), name = one.worst, engine.model.path.name
            precision, states = engine.spec.precision, ", ".join(map(repr, sorted(one.fed)))
            yield Diagnostic(
                "TRT186",
                f"errors of {name} {precision} add up over runs that continue from {states}: after "
                f"{count(runs, 'run')}, {output.name!r} uses {output.used:.3g}x its tolerance "
                "against a reference that continues from its own, and each run alone is within it",
                {
                    "model": name,
                    "precision": precision,
                    "output": output.name,
                    "runs": runs,
                    "used": output.used,
                },
                remedy=Remedy(
                    "Give the states a smaller tolerance, by outputs= of trt_consistency. If the "
                    "whole sequence has to agree, assert compare_outputs() of its results and "
                    "those of trt_reference.run() with its own states."
                ),
                severity="note",
            )


def _states(engine: Engine) -> tuple[set[str], set[str]]:
    """Return the inputs that outputs of a model may be, and those outputs."""
    model = engine.model
    pairs = [(i.name, o.name) for i in model.inputs for o in model.outputs if _may_be(i, o)]
    return {name for name, _ in pairs}, {name for _, name in pairs}


def _may_be(given: TensorSpec, left: TensorSpec) -> bool:
    """Whether an output may be an input, such as a cache of more tokens: [1, 8, past, 64]."""
    if given.dtype != left.dtype or given.shape is None or left.shape is None:
        return False
    sizes = zip(given.shape, left.shape, strict=False)
    return 1 < len(given.shape) == len(left.shape) and all(
        one == other or isinstance(one, str) or isinstance(other, str) for one, other in sizes
    )


def _digests(tensors: Tensors, names: Collection[str]) -> Iterator[tuple[str, str]]:
    """Yield a digest of each tensor that may be a state: of floats, and no constant."""
    for name in names:
        array = tensors.get(name)
        if not isinstance(array, np.ndarray) or array.dtype.kind != "f" or array.size < 2:
            continue
        if array.nbytes <= _MOST_BYTES and (array != array.flat[0]).any():
            yield name, inputs_digest({"": array})
