"""A loaded ONNX Runtime session, also for tensors of bfloat16.

ONNX Runtime's numpy interface does not support bfloat16: versions 1.23 and 1.32 raise "Numpy_type
256 can't be converted" for such an input and "No corresponding Numpy type" for such an output. Its
own `OrtValue` holds both.
"""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from pytest_trt.backends.conversion.ort_messages import first_line, run_refusal
from pytest_trt.diagnostics import ConfigurationError, EngineRunError, PytestTrtError, Remedy
from pytest_trt.tensors.spec import Tensors, bfloat16_dtype

#: bfloat16's number in TensorProto.DataType (onnx.proto).
_BFLOAT16 = 16

#: ONNX Runtime's name of the type.
_TYPE = "tensor(bfloat16)"


class OnnxRuntimeSession:
    """A loaded ONNX Runtime session.

    Args:
        session: An `onnxruntime.InferenceSession`.
        subject: What is run, as messages name it.
    """

    def __init__(self, session: Any, *, subject: str) -> None:
        self._session = session
        self._subject = subject
        self._input_names = [entry.name for entry in session.get_inputs()]
        self._output_names = [output.name for output in session.get_outputs()]
        self._has_bfloat16 = has_bfloat16(session)

    @property
    def graph_refusal(self) -> str | None:
        """None: there are no CUDA graphs on the CPU."""
        return None

    def run(self, inputs: Tensors) -> dict[str, npt.NDArray[np.generic]]:
        """Return every output for these inputs.

        Raises:
            EngineRunError: ONNX Runtime failed while running.
            ConfigurationError: bfloat16 needs a package or a version that is not installed.
        """
        try:
            if self._has_bfloat16:
                outputs = run_values(self._session, self._output_names, inputs)
            else:
                outputs = self._session.run(self._output_names, dict(inputs))
        except PytestTrtError:
            raise
        except Exception as error:
            # Sequences and maps have no shape.
            shapes = {
                name: str(getattr(array, "shape", type(array).__name__))
                for name, array in inputs.items()
            }
            listed = ", ".join(f"{name} {shape}" for name, shape in shapes.items())
            code, remedy = run_refusal(str(error), inputs, self._input_names)
            raise EngineRunError(
                f"{self._subject} failed on {listed or 'no inputs'}",
                fix=remedy,
                code=code,
                facts={"subject": self._subject, "backend": "onnxruntime", "shapes": shapes},
                details=[first_line(error)],
            ) from error
        return dict(zip(self._output_names, outputs, strict=True))

    def close(self) -> None:
        """Release the session; it cannot run afterwards."""
        self._session = None


def has_bfloat16(session: Any) -> bool:
    """Whether any input or output of an `onnxruntime.InferenceSession` is bfloat16."""
    return any(tensor.type == _TYPE for tensor in (*session.get_inputs(), *session.get_outputs()))


def run_values(
    session: Any, output_names: Sequence[str], inputs: Tensors
) -> list[npt.NDArray[np.generic]]:
    """Run a session on tensors, some of them bfloat16; return its outputs in order.

    Raises:
        ConfigurationError: ml_dtypes is not installed, or this ONNX Runtime is too old.
    """
    values = {name: _value(array) for name, array in inputs.items()}
    return [_array(value) for value in session.run_with_ort_values(list(output_names), values)]


def _value(array: npt.NDArray[np.generic]) -> Any:
    import onnxruntime

    # Not ascontiguousarray, which turns a scalar into a vector.
    array = np.asarray(array, order="C")
    if array.dtype.name != "bfloat16":
        return onnxruntime.OrtValue.ortvalue_from_numpy(array)
    typed = getattr(onnxruntime.OrtValue, "ortvalue_from_numpy_with_onnx_type", None)
    if typed is None:  # missing in 1.18
        raise ConfigurationError(
            f"ONNX Runtime {onnxruntime.__version__} does not support bfloat16 inputs from Python",
            fix=Remedy(commands=("pip install --upgrade onnxruntime",)),
            code="TRT209",
            facts={"dtype": "bfloat16", "version": str(onnxruntime.__version__)},
        )
    return typed(array.view(np.uint16), _BFLOAT16)


def _array(value: Any) -> npt.NDArray[np.generic]:
    if value.data_type() != _TYPE:
        array: npt.NDArray[np.generic] = value.numpy()
        return array
    shape = tuple(value.shape())
    bits = np.empty(shape, np.uint16)
    ctypes.memmove(bits.ctypes.data, value.data_ptr(), bits.nbytes)
    return bits.view(bfloat16_dtype())
