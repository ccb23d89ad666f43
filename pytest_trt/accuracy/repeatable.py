"""Whether a model computes the same outputs each time, as a comparison with a reference needs."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
import numpy.typing as npt

from pytest_trt.diagnostics import ModelError
from pytest_trt.onnx.file import OnnxModel
from pytest_trt.tensors.spec import Tensors

#: Operators of ONNX that draw random numbers.
RANDOM_OPERATORS = (
    "RandomNormal",
    "RandomNormalLike",
    "RandomUniform",
    "RandomUniformLike",
    "Multinomial",
    "Bernoulli",
)

#: It draws them in training mode only.
_IN_TRAINING = "Dropout"

#: How often a model that may draw random numbers runs again: few numbers may be equal by chance.
_REPEATS = 3

Outputs = dict[str, npt.NDArray[np.generic]]


def repeatable(model: OnnxModel, run: Callable[[Tensors], Outputs], inputs: Tensors) -> Outputs:
    """Run a model, again and again if it has operators that draw random numbers.

    What they draw may not affect the outputs: a noise that is multiplied by 0.

    Returns:
        The outputs.

    Raises:
        ModelError: The outputs differ from run to run.
    """
    outputs = run(inputs)
    drawing = [one for one in (*RANDOM_OPERATORS, _IN_TRAINING) if one in model.op_types]
    if not drawing or all(same_outputs(outputs, run(inputs)) for _ in range(_REPEATS)):
        return outputs
    raise ModelError(
        f"{model.path.name} draws random numbers ({', '.join(drawing)}): its FP32 outputs differ "
        "from run to run, so nothing can be compared with them",
        fix="export the model in inference mode, or with the random numbers as an input.",
        code="TRT230",
        facts={"model": str(model.path), "operators": drawing},
    )


def same_outputs(one: object, other: object) -> bool:
    """Whether two outputs, or all items of two containers of outputs, are equal."""
    if isinstance(one, Mapping) and isinstance(other, Mapping):
        return one.keys() == other.keys() and all(
            same_outputs(one[name], other[name]) for name in one
        )
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(map(same_outputs, one, other))
    if isinstance(one, np.ndarray) and isinstance(other, np.ndarray):
        if one.dtype.kind == "O":  # text, of which an array holds addresses
            return one.shape == other.shape and bool((one == other).all())
        # As bytes: NaN equals itself, and every dtype has them.
        return (one.dtype, one.shape) == (other.dtype, other.shape) and (
            one.tobytes() == other.tobytes()
        )
    return bool(one == other)
