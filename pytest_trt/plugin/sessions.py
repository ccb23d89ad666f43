"""What tests hold in their hands: engines and references that check what goes in and comes out."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path

import numpy as np
import numpy.typing as npt

from pytest_trt.diagnostics import PytestTrtError
from pytest_trt.engine.build import Engine
from pytest_trt.engine.protocols import Session
from pytest_trt.onnx.file import OnnxModel
from pytest_trt.tensors.checks import check_inputs
from pytest_trt.tensors.profile_choice import select_profile
from pytest_trt.tensors.spec import Tensors

#: Told about every run: the engine, what went in, what came out, and the line that ran it.
Observer = Callable[[Engine, Tensors, Tensors, str], None]


def _calling_line() -> str:
    """Return the line that called `run`, as "test_digits.py:12"."""
    frame = sys._getframe(2)
    return f"{Path(frame.f_code.co_filename).name}:{frame.f_lineno}"


def _ending_at_the_caller(error: PytestTrtError) -> PytestTrtError:
    """Cut the package's own frames from a package error: the line to mend is the test's."""
    return error.with_traceback(None)


class EngineSession:
    """An engine that runs: `outputs = trt_session.run({"image": images})`.

    Args:
        engine: The engine.
        loaded: Lends the loaded engine for a run; it may be unloaded between two of them.
        observer: Told about every run, or None.

    Attributes:
        engine: The engine that runs.
    """

    def __init__(
        self,
        engine: Engine,
        loaded: Callable[[Engine], AbstractContextManager[Session]],
        observer: Observer | None,
    ) -> None:
        self.engine = engine
        self._loaded = loaded
        self._observer = observer

    def __repr__(self) -> str:
        engine = self.engine
        return f"<session of {engine.model.path.name} {engine.spec.precision} {engine.target.arch}>"

    @property
    def graph_refusal(self) -> str | None:
        """Why the last shapes are not replayed as a CUDA graph; None where they are, or may be yet.

        Runs with the same shapes are replayed from the third on, where the engine can be captured.
        Backends without graphs refuse nothing.
        """
        with self._loaded(self.engine) as session:
            return session.graph_refusal

    def run(self, inputs: Tensors) -> dict[str, npt.NDArray[np.generic]]:
        """Return every output of the model for these inputs.

        Under a `trt_consistency` marker the outputs are compared with the FP32 reference.

        Args:
            inputs: Every input of the model by name, as numpy arrays in the model's dtypes.

        Raises:
            InputError: An input is missing, unknown, has the wrong dtype, or has a shape (or
                values, where it holds a shape) that the model or all of its profiles exclude. The
                same on every backend.
            EngineRunError: The engine failed.
            DeviceLostError: It failed so that this process can use the GPU no more.
        """
        __tracebackhide__ = True
        try:
            self.check(inputs)
            with self._loaded(self.engine) as session:
                started_s = time.perf_counter()
                outputs = session.run(inputs)
                self.engine.timings.ran(time.perf_counter() - started_s)
            if self._observer is not None:
                self._observer(self.engine, inputs, outputs, _calling_line())
        except PytestTrtError as error:
            raise _ending_at_the_caller(error) from None
        return outputs

    def load(self) -> None:
        """Load the engine now; otherwise the first run does.

        Raises:
            EngineLoadError: It cannot be loaded.
        """
        with self._loaded(self.engine):
            pass

    def check(self, inputs: Tensors) -> None:
        """Refuse inputs that the model, or all of its profiles, exclude.

        Raises:
            InputError: They do; see `run`.
        """
        model, spec = self.engine.model, self.engine.spec
        check_inputs(model.inputs, inputs)
        if spec.profiles:
            select_profile(spec.profiles, model.inputs, inputs)


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
        """Return every output of the model for these inputs; cached across runs.

        Raises:
            InputError: The inputs do not fit the model.
        """
        __tracebackhide__ = True
        try:
            check_inputs(self.model.inputs, inputs)
            return self._outputs_of(self.model, inputs)
        except PytestTrtError as error:
            raise _ending_at_the_caller(error) from None
