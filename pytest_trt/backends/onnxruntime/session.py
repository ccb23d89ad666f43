"""A loaded ONNX Runtime session."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt

from pytest_trt.backends.conversion.ort_messages import first_line, run_refusal, running_node
from pytest_trt.backends.conversion.ort_module import load_onnxruntime, onnxruntime_version
from pytest_trt.backends.onnxruntime.values import needs_values, run_values
from pytest_trt.diagnostics import EngineRunError
from pytest_trt.tensors.containers import description
from pytest_trt.tensors.spec import Tensors
from pytest_trt.workers.limited import LimitedCall

#: Sessions whose run did not stop: freed, they would crash the thread that is still in them.
_abandoned: list[Any] = []

_T = TypeVar("_T")


class OnnxRuntimeSession:
    """A loaded ONNX Runtime session.

    Args:
        session: An `onnxruntime.InferenceSession`.
        subject: What is run, as messages name it.
        timeout_s: Seconds after which a run is ended; 0 for no limit.
    """

    def __init__(self, session: Any, *, subject: str, timeout_s: float = 0) -> None:
        self._session = session
        self._subject = subject
        self._timeout_s = timeout_s
        self._options = load_onnxruntime().RunOptions()
        self._input_names = [entry.name for entry in session.get_inputs()]
        self._output_names = [output.name for output in session.get_outputs()]
        self._needs_values = needs_values(session)
        #: Whether it cannot be used again: a run did not stop.
        self.is_abandoned = False

    @property
    def graph_refusal(self) -> str | None:
        """None: there are no CUDA graphs on the CPU."""
        return None

    def run(self, inputs: Tensors) -> dict[str, npt.NDArray[np.generic]]:
        """Return every output for these inputs.

        Raises:
            EngineRunError: ONNX Runtime failed while running, or took too long.
        """
        return self._limited(lambda: self.run_here(inputs), self._timeout_s, inputs)

    def run_in_loop(
        self, loop: Callable[[Callable[[Tensors], object]], _T], inputs: Tensors, calls: int
    ) -> _T:
        """Return what a loop of runs returns; one time limit for all costs its runs nothing.

        Args:
            loop: Runs through what it is given, which runs once.
            inputs: What it runs on, for messages.
            calls: How often it runs.

        Raises:
            EngineRunError: ONNX Runtime failed while running, or took too long.
        """
        return self._limited(lambda: loop(self.run_here), calls * self._timeout_s, inputs)

    def _limited(self, function: Callable[[], _T], timeout_s: float, inputs: Tensors) -> _T:
        options = self._options
        call = LimitedCall(function, lambda: setattr(options, "terminate", True))
        try:
            return call.result(timeout_s)
        except (EngineRunError, TimeoutError) as error:
            if not call.timed_out:
                raise
            raise too_slow(self._subject, inputs, self._timeout_s, stuck=call.is_stuck) from error
        finally:
            if call.is_stuck:
                self.is_abandoned = True
                _abandoned.append((self._session, options))
            else:
                options.terminate = False

    def run_here(self, inputs: Tensors) -> dict[str, npt.NDArray[np.generic]]:
        """Return every output, from this thread and without a time limit.

        Raises:
            EngineRunError: ONNX Runtime failed while running.
        """
        options = self._options
        try:
            if self._needs_values:
                outputs = run_values(self._session, self._output_names, inputs, options)
            else:
                outputs = self._session.run(self._output_names, dict(inputs), options)
        except Exception as error:
            shapes = shapes_of(inputs)
            code, remedy = run_refusal(str(error), inputs, self._input_names)
            operator, node = running_node(str(error))
            at = f", in {operator} {f'node {node!r}' if node else 'node'}" if operator else ""
            version = onnxruntime_version()
            raise EngineRunError(
                f"{self._subject} failed on {listed(shapes)} (ONNX Runtime {version}{at})",
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


def too_slow(subject: str, inputs: Tensors, timeout_s: float, *, stuck: bool) -> EngineRunError:
    """Return the error for a run that was ended at its time limit."""
    shapes, version = shapes_of(inputs), onnxruntime_version()
    details = ["it did not stop when it was asked to: its thread goes on until pytest ends"]
    return EngineRunError(
        f"{subject} took longer than --trt-run-timeout={timeout_s:g} on {listed(shapes)} "
        f"(ONNX Runtime {version})",
        fix="Raise --trt-run-timeout (0 lifts the limit), or feed smaller inputs.",
        code="TRT345",
        facts={
            "subject": subject,
            "backend": "onnxruntime",
            "version": version,
            "shapes": shapes,
            "timeout_s": timeout_s,
            "stopped": not stuck,
        },
        details=details if stuck else [],
    )


def shapes_of(inputs: Tensors) -> dict[str, str]:
    """Return the shapes of inputs, for messages."""
    return {name: description(value) for name, value in inputs.items()}


def listed(shapes: Mapping[str, str]) -> str:
    """Return shapes in one line."""
    return ", ".join(f"{name} {shape}" for name, shape in shapes.items()) or "no inputs"
