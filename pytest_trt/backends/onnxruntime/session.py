"""A loaded ONNX Runtime session."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from pytest_trt.backends.conversion.ort_messages import first_line, run_refusal, running_node
from pytest_trt.backends.conversion.ort_module import onnxruntime_version
from pytest_trt.backends.onnxruntime.values import needs_values, run_values
from pytest_trt.diagnostics import EngineRunError
from pytest_trt.tensors.containers import description
from pytest_trt.tensors.spec import Tensors


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
        self._needs_values = needs_values(session)

    @property
    def graph_refusal(self) -> str | None:
        """None: there are no CUDA graphs on the CPU."""
        return None

    def run(self, inputs: Tensors) -> dict[str, npt.NDArray[np.generic]]:
        """Return every output for these inputs.

        Raises:
            EngineRunError: ONNX Runtime failed while running.
        """
        try:
            if self._needs_values:
                outputs = run_values(self._session, self._output_names, inputs)
            else:
                outputs = self._session.run(self._output_names, dict(inputs))
        except Exception as error:
            shapes = {name: description(value) for name, value in inputs.items()}
            listed = ", ".join(f"{name} {shape}" for name, shape in shapes.items())
            code, remedy = run_refusal(str(error), inputs, self._input_names)
            operator, node = running_node(str(error))
            at = f", in {operator} {f'node {node!r}' if node else 'node'}" if operator else ""
            version = onnxruntime_version()
            raise EngineRunError(
                f"{self._subject} failed on {listed or 'no inputs'} (ONNX Runtime {version}{at})",
                fix=remedy,
                code=code,
                facts={
                    "subject": self._subject,
                    "backend": "onnxruntime",
                    "version": version,
                    "operator": operator,
                    "node": node,
                    "shapes": shapes,
                },
                details=[first_line(error)],
            ) from error
        return dict(zip(self._output_names, outputs, strict=True))

    def close(self) -> None:
        """Release the session; it cannot run afterwards."""
        self._session = None
