"""The FP32 reference as a session."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from pytest_trt.diagnostics import PytestTrtError
from pytest_trt.onnx.file import OnnxModel
from pytest_trt.tensors.checks import check_inputs
from pytest_trt.tensors.spec import Tensors


class ReferenceSession:
    """The FP32 reference: the model itself on ONNX Runtime, graph optimisations off.

    Args:
        model: The model.
        outputs_of: Computes its outputs, or finds them in the cache.

    Attributes:
        model: The model that runs.
    """

    def __init__(
        self,
        model: OnnxModel,
        outputs_of: Callable[[OnnxModel, Tensors], dict[str, npt.NDArray[np.generic]]],
    ) -> None:
        self.model = model
        self._outputs_of = outputs_of

    def run(self, inputs: Tensors) -> dict[str, npt.NDArray[np.generic]]:
        """Return every output of the model for these inputs, by name; cached across runs.

        Args:
            inputs: Every input of the model by name, as NumPy arrays in the model's dtypes.

        Raises:
            InputError: The inputs do not fit the model.
        """
        __tracebackhide__ = True
        try:
            check_inputs(self.model.inputs, inputs)
            return self._outputs_of(self.model, inputs)
        except PytestTrtError as error:
            # Without the package's own frames: the line to fix is the test's.
            raise error.with_traceback(None) from None
