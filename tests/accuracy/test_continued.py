"""What follows runs that continue from their last outputs costs no test its verdict."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from pytest_trt.accuracy import continued
from pytest_trt.accuracy.compare import compare_outputs
from pytest_trt.accuracy.continued import ContinuedRuns
from pytest_trt.accuracy.tolerance import Tolerance
from pytest_trt.tensors.spec import TensorSpec

STATE, OTHER = TensorSpec("s", "float32", ("n", 4)), TensorSpec("x", "float32", ("n", 3))


def engine(*inputs: TensorSpec) -> Any:
    model = SimpleNamespace(path=Path("m.onnx"), inputs=inputs, outputs=(STATE,))
    spec = SimpleNamespace(precision="fp16")
    return SimpleNamespace(key=SimpleNamespace(digest="k"), model=model, spec=spec)


def follow(reference: Callable[[Any], Any], *inputs: TensorSpec, start: float = 0.0) -> list[str]:
    """Run an engine that adds 1.1 to its state, where 1 is right; return the notes."""
    runs, state = ContinuedRuns(), np.arange(4, dtype=np.float32)[None] + np.float32(start)
    for _ in range(3):
        left = state + np.float32(1.1)
        runs.observe(
            engine(*inputs or (STATE,)),
            {"s": state},
            {"s": left},
            {"s": state + 1},
            reference=reference,
            compare=lambda own, left=left: compare_outputs(
                {"s": left}, own, {"s": Tolerance(0.0, 0.15)}
            ),
        )
        state = left
    return [note.message for note in runs.notes()]


def right(inputs: Any) -> Any:
    return {"s": inputs["s"] + 1}


def test_a_reference_continues_from_its_own_state() -> None:
    (found,) = follow(right)
    assert "continue from 's': after 2 runs, 's' uses 2x its tolerance" in found


@pytest.mark.parametrize("problem", [ValueError, KeyError])
def test_a_reference_that_refuses_its_own_state_ends_the_sequence(problem) -> None:
    def refusing(inputs: Any) -> Any:
        raise problem("no such state")

    assert follow(refusing) == []


def test_what_takes_too_long_ends_the_sequence(monkeypatch) -> None:
    calls = []

    def counted(inputs: Any) -> Any:
        calls.append(inputs)
        return right(inputs)

    monkeypatch.setattr(continued, "_MOST_S", 0.0)
    assert follow(counted) == calls == []


def test_a_model_whose_outputs_are_no_inputs_is_not_followed() -> None:
    assert follow(right, OTHER) == []
