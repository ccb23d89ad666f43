"""One run of a converted or optimised model on generated inputs, to see that it runs at all."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pytest_trt.backends.conversion.ort_messages import SEVERITY_FATAL
from pytest_trt.backends.conversion.ort_module import load_onnxruntime
from pytest_trt.diagnostics import PytestTrtError
from pytest_trt.onnx.file import OnnxModel
from pytest_trt.tensors.profile_choice import shapes_at, values_at
from pytest_trt.tensors.profiles import Profile
from pytest_trt.tensors.seeded import seeded_inputs
from pytest_trt.tensors.spec import Tensors

#: Larger inputs are not generated: one run would take longer than the conversion.
_MOST_ELEMENTS = 1 << 24

#: Operators that may run for ever on generated inputs.
_ENDLESS = frozenset({"Loop"})


def trial_inputs(model: OnnxModel, profiles: Sequence[Profile] = ()) -> Tensors | None:
    """Return small seeded inputs of a model, or None if there are none that make sense.

    Args:
        model: The model.
        profiles: Its profiles, the smallest shapes of the first of which are used. Without any,
            dynamic dimensions are 1.
    """
    if _ENDLESS & model.op_types.keys():
        return None
    profile = profiles[0] if profiles else None
    try:
        shapes: Mapping[str, tuple[int, ...]] = (
            shapes_at(model.inputs, profile, "min")
            if profile is not None
            else {
                spec.name: _smallest(spec.shape) for spec in model.inputs if spec.shape is not None
            }
        )
        if sum(map(math.prod, shapes.values())) > _MOST_ELEMENTS:
            return None
        return seeded_inputs(model, shapes, values=values_at(profile, "min"))
    except PytestTrtError:
        return None


def _smallest(shape: Sequence[int | str]) -> tuple[int, ...]:
    return tuple(dim if isinstance(dim, int) and dim >= 0 else 1 for dim in shape)


def unoptimised(path: Path) -> Any:
    """Return an `onnxruntime.InferenceSession` of a file, as it is.

    Raises:
        Exception: ONNX Runtime refuses it; its exceptions have no other common base class.
    """
    ort = load_onnxruntime()
    options = ort.SessionOptions()
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.log_severity_level = SEVERITY_FATAL
    return ort.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])


def run_failure(session: Any, model: OnnxModel, inputs: Tensors | None) -> Exception | None:
    """Return why a session fails on inputs that the model itself runs on, or None if it does not.

    Args:
        session: The session of a converted or optimised model.
        model: The model itself.
        inputs: What `trial_inputs` returned.
    """
    failure = _failure(session, inputs)
    if failure is None:
        return None
    try:
        own = unoptimised(model.path)
    except Exception:  # it is refused as it is, and the reference reports that
        return None
    return failure if _failure(own, inputs) is None else None


def _failure(session: Any, inputs: Tensors | None) -> Exception | None:
    if inputs is None:
        return None
    try:
        session.run(None, dict(inputs))
    except Exception as exc:
        return exc
    return None
