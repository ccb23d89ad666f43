"""What is tested, run again with some of its inner tensors as further outputs.

Where the backend can, the engine emits the tensors that its fusion leaves (`ObservesTensors`).
Else, the model gets the outputs, and the engine is built again from it: that works with every
backend and precision, and converted models keep the names and types of outputs. Builders may fuse
less around an output, so an engine that is looked at may differ from the one under test.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import mkdtemp

from pytest_trt.backends.observing.jobs import instrument
from pytest_trt.backends.onnxruntime.backend import OnnxRuntimeBackend
from pytest_trt.diagnostics import EngineRunError
from pytest_trt.engine.build import Engine
from pytest_trt.engine.protocols import (
    Backend,
    BackendSession,
    BuildRequest,
    ObservesTensors,
    Plan,
    Progress,
)
from pytest_trt.onnx.file import OnnxModel, load_model
from pytest_trt.tensors.spec import InputSamples, Tensors


@dataclass(frozen=True, slots=True)
class EngineAgain:
    """Builds an engine with further outputs, and runs it once.

    Attributes:
        engine: The engine under test.
        backend: What builds it.
        inputs: Its inputs.
        calibration: Gives the inputs that it was calibrated on.
        release: Closes a session of a GPU.
        progress: Called with each step.
        timeout_s: Seconds for writing the model.
    """

    engine: Engine
    backend: Backend
    inputs: Tensors
    calibration: Callable[[], InputSamples] = tuple
    release: Callable[[BackendSession], object] = lambda session: session.close()
    progress: Progress = lambda message: None
    timeout_s: float = 0

    def __call__(
        self, source: Path, tensors: Sequence[str], folder: Path, *, all_of_them: bool = True
    ) -> Tensors:
        """Return its outputs and these tensors; see `localize.Observe`.

        Raises:
            PytestTrtError: It cannot be built, loaded or run.
        """
        engine = self.engine
        samples = self.calibration() if engine.route.needs_calibration else ()
        if isinstance(self.backend, ObservesTensors) and not all_of_them:
            place = Path(mkdtemp(dir=folder))
            request = self._request(engine.model, place, samples)
            found = self.backend.observe(request, self.inputs, tensors)
            if found is not None:
                return found
        model, place = with_outputs(engine.model, source, tensors, folder, self.timeout_s)
        request = self._request(model, place, samples)
        return run_once(self.backend, request, self.inputs, self.release)

    def _request(self, model: OnnxModel, place: Path, samples: InputSamples) -> BuildRequest:
        spec, target = self.engine.spec, self.engine.target
        return BuildRequest(model, spec, target, place, samples, self.progress)


@dataclass(frozen=True, slots=True)
class ModelAgain:
    """Runs a model as it is, in FP32, with further outputs.

    Attributes:
        model: The model.
        inputs: Its inputs.
        threads: Threads of one inference; 0 for the default of ONNX Runtime.
        timeout_s: Seconds for writing and loading it, and for the run.
    """

    model: OnnxModel
    inputs: Tensors
    threads: int = 0
    timeout_s: float = 0

    def __call__(
        self, source: Path, tensors: Sequence[str], folder: Path, *, all_of_them: bool = True
    ) -> Tensors:
        """Return its outputs and these tensors; see `localize.Observe`.

        Raises:
            PytestTrtError: It cannot be loaded or run.
        """
        model, _ = with_outputs(self.model, source, tensors, folder, self.timeout_s)
        # Without the records of what ran before: nothing runs this model again.
        backend = OnnxRuntimeBackend(
            self.threads, build_timeout_s=self.timeout_s, run_timeout_s=self.timeout_s
        )
        return backend.reference(model).run(self.inputs)


def run_once(
    backend: Backend,
    request: BuildRequest,
    inputs: Tensors,
    release: Callable[[BackendSession], object] = lambda session: session.close(),
) -> Tensors:
    """Build an engine, run it once, and return its outputs.

    Raises:
        PytestTrtError: It cannot be built, loaded or run.
    """
    plan = Plan(request.directory / backend.build(request).plan_name)
    return run_plan(backend, request, plan, inputs, release)


def run_plan(
    backend: Backend,
    request: BuildRequest,
    plan: Plan,
    inputs: Tensors,
    release: Callable[[BackendSession], object] = lambda session: session.close(),
) -> Tensors:
    """Run a plan once, and return its outputs; see `run_once`."""
    if isinstance(backend, OnnxRuntimeBackend):
        # In the child process: no run of this plan has shown yet that it is safe here.
        found = backend.run_isolated(plan, request.model, request.spec, inputs)
        if found is None:
            raise not_arrays()
        return found.outputs
    session = backend.open(plan, request.model, request.spec, request.target)
    try:
        return session.run(inputs)
    finally:
        release(session)


def not_arrays() -> EngineRunError:
    """Return the error for inputs that hold objects."""
    return EngineRunError(
        "the inputs cannot be sent to another process: they hold Python objects",
        fix="Feed arrays.",
        code="TRT442",
    )


def with_outputs(
    model: OnnxModel, source: Path, tensors: Sequence[str], folder: Path, timeout_s: float
) -> tuple[OnnxModel, Path]:
    """Return a model with further outputs, and an empty folder for its plan.

    Args:
        model: The model.
        source: Its file, or the same model without branches.
        tensors: The outputs to add.
        folder: Where its file is written.
        timeout_s: Seconds for that; 0 for no limit.

    Raises:
        PytestTrtError: It cannot be read or written.
    """
    place = Path(mkdtemp(dir=folder))
    path = place / model.path.name
    instrument(model, source, tensors, path, timeout_s=timeout_s)
    made = replace(
        load_model(path), custom_ops=model.custom_ops, plugin_libraries=model.plugin_libraries
    )
    plan = place / "plan"
    plan.mkdir()
    return made, plan
