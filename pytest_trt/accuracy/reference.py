"""The FP32 reference as a session, and what a project may give in its place."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol, TypeAlias

import numpy as np
import numpy.typing as npt

from pytest_trt.accuracy.reference_names import ReferenceNames
from pytest_trt.diagnostics import PytestTrtError
from pytest_trt.onnx.file import OnnxModel
from pytest_trt.tensors.checks import check_inputs
from pytest_trt.tensors.spec import Tensors


class HasArray(Protocol):
    """An array, or a tensor of another library."""

    def __array__(self) -> npt.NDArray[Any]:
        """Return it as a NumPy array."""
        ...


#: Outputs by name, or in the order of the model's outputs.
Outputs: TypeAlias = Mapping[str, Any] | Sequence[HasArray] | HasArray


class RunsInputs(Protocol):
    """An object whose `run(inputs)` returns outputs."""

    def run(self, inputs: Tensors, /) -> Outputs:
        """Return every output of the model for these inputs."""
        ...


#: What an override of the `trt_reference` fixture may return: a function of the inputs by name, an
#: object with `run`, golden outputs by name, the path of a file of them, or a list of cases.
Reference: TypeAlias = (
    RunsInputs
    | Callable[[Tensors], Outputs]
    | Mapping[str, Any]
    | Sequence[Mapping[str, Any] | str | Path]
    | str
    | Path
)


class ReferenceSession:
    """The FP32 reference: the model itself on ONNX Runtime, graph optimisations off.

    Args:
        model: The model.
        outputs_of: Computes its outputs, or finds them in the cache.
        names: What it calls the inputs and outputs of the model under test; by default the same.

    Attributes:
        model: The model that runs.
    """

    def __init__(
        self,
        model: OnnxModel,
        outputs_of: Callable[[OnnxModel, Tensors], dict[str, npt.NDArray[np.generic]]],
        names: ReferenceNames | None = None,
    ) -> None:
        self.model = model
        self._names = names or ReferenceNames()
        self._outputs_of = outputs_of

    def run(self, inputs: Tensors) -> dict[str, npt.NDArray[np.generic]]:
        """Return every output of the model for these inputs, by name; cached across runs.

        Args:
            inputs: Every input of the model under test by name, as NumPy arrays in the model's
                dtypes, and those that only the reference has.

        Raises:
            InputError: The inputs do not fit the reference.
        """
        __tracebackhide__ = True
        try:
            own = self._names.reference_inputs(inputs)
            check_inputs(self.model.inputs, own)
            return self._names.model_outputs(self._outputs_of(self.model, own))
        except PytestTrtError as error:
            # Without the package's own frames: the line to fix is the test's.
            raise error.with_traceback(None) from None
