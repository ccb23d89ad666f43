"""The interface between the engine room and its backends.

A backend is a value: two of them (TensorRT and TensorRT-RTX, say) work side by side in one process.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from io import FileIO
from pathlib import Path
from typing import Literal, NamedTuple, Protocol, runtime_checkable

import numpy as np
import numpy.typing as npt

from pytest_trt.engine.facts import Layer
from pytest_trt.engine.spec import EngineSpec, Route, Target, Toolchain
from pytest_trt.onnx.file import OnnxModel
from pytest_trt.tensors.spec import InputSamples, Tensors

#: Called with a few words about the step that begins.
Progress = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class BuildRequest:
    """One engine to build.

    Attributes:
        model: What to build from.
        spec: The request.
        target: What the engine runs on.
        directory: A private, empty folder that the backend writes the plan into.
        calibration: Representative inputs, to be read one at a time, repeatedly where that helps;
            empty unless the precision needs them.
        progress: Called with each step.
    """

    model: OnnxModel
    spec: EngineSpec
    target: Target
    directory: Path
    calibration: InputSamples = ()
    progress: Progress = lambda message: None


@dataclass(frozen=True, slots=True)
class BuildResult:
    """What a backend built.

    Attributes:
        plan_name: The plan's file name in the request's directory; the vendor's tools can open it.
        log_tail: The last lines that the builder logged.
        notes: What a reader of the report should know, such as constants that had to be clamped.
        layers: The engine's layers, or None where the product does not report them.
        hidden_weights: About how many weights the layers do not account for.
        device_memory_bytes: Scratch memory of one execution context, or None if not reported.
        build_s: Seconds of the build alone, where starting a process is no part of it; None for
            those that the call took.
    """

    plan_name: str
    log_tail: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    layers: tuple[Layer, ...] | None = None
    hidden_weights: int = 0
    device_memory_bytes: int | None = None
    build_s: float | None = None


class Plan:
    """A plan as a backend loads it: the very file that was verified, while it is open.

    Args:
        path: The plan's file, as messages name it.
        stable_path: A path that leads to the same folder whatever is renamed meanwhile; by default
            that of a plan that this process has just built.
        file: The open file; by default it is opened by its path.
    """

    def __init__(
        self, path: Path, *, stable_path: Path | None = None, file: FileIO | None = None
    ) -> None:
        self.path, self.stable_path = path, stable_path or path
        self._file = file

    def read(self, most: int = -1) -> bytes:
        """Return its bytes, or the first of them: for libraries that load a plan from memory.

        Raises:
            OSError: It cannot be read.
        """
        if self._file is None:
            with self.path.open("rb", buffering=0) as file:
                return file.read(most)
        self._file.seek(0)
        return self._file.read(most)

    @property
    def size_bytes(self) -> int:
        """The size of the file."""
        file = self._file
        return (os.fstat(file.fileno()) if file is not None else self.path.stat()).st_size


class BackendSession(Protocol):
    """A loaded engine that runs.

    A session belongs to the thread that uses it: pytest-trt calls it from one thread at a time, and
    an implementation needs no locks. Sessions of several engines are open at once.
    """

    @property
    def graph_refusal(self) -> str | None:
        """Why the last runs were enqueued call by call instead of replayed as a CUDA graph.

        None if they were replayed, or if the backend has no graphs.
        """
        ...

    def run(self, inputs: Tensors) -> dict[str, npt.NDArray[np.generic]]:
        """Run the engine once.

        Args:
            inputs: One array for every input of the model, by name, in any memory layout. They
                belong to the caller: they are not modified, and not used after the call.

        Returns:
            Every output of the model by name, in the model's order and dtypes (the engine's own
            if the model does not state one). The arrays belong to the caller: later runs do not
            change them. Types that numpy lacks are those of ml_dtypes; a sequence is a list, a map
            a dict, and an optional that is absent is None.

        Raises:
            InputError: The inputs do not fit the model or the engine's profiles.
            EngineRunError: The engine failed; its session can be used again.
            DeviceLostError: The engine failed, and the process can no longer use the device.
        """
        ...

    def close(self) -> None:
        """Release what the session holds; it cannot run afterwards. May be called twice."""
        ...


@runtime_checkable
class LoadsLater(Protocol):
    """A session whose engine is not loaded in this process before it runs here."""

    def load(self) -> object:
        """Load it, if it is not.

        Raises:
            EngineLoadError: It cannot be loaded.
        """
        ...


class Samples(NamedTuple):
    """Consecutive calls that a device timed.

    Attributes:
        latencies_ms: The device's time of each call, float64 of shape (calls,).
        wall_s: The host's time from before the first call to after the last.
    """

    latencies_ms: npt.NDArray[np.float64]
    wall_s: float


class DeviceSession(BackendSession, Protocol):
    """A session whose device measures time itself, such as by CUDA events."""

    def sample(self, inputs: Tensors, *, mode: Literal["graph", "enqueue"], calls: int) -> Samples:
        """Time consecutive calls on the device; inputs are uploaded before the first call.

        Args:
            inputs: As for `run`.
            mode: Replay of a CUDA graph, or enqueuing each call.
            calls: The number of calls to time.

        Raises:
            InputError: The inputs do not fit the model or the engine's profiles.
            EngineRunError: A call failed, or the mode is not possible for this engine.
        """
        ...


class Backend(Protocol):
    """A product that builds plans from ONNX models and runs them.

    Plugins provide backends of their own through the hook `pytest_trt_backends`. Vendor libraries
    are imported when they are first needed, not when the backend is created: most runs collect
    tests only, or find all plans in the cache. Errors are those of `pytest_trt.diagnostics`; any
    other exception is reported as a defect of the backend.
    """

    @property
    def name(self) -> str:
        """The backend's name, as `--trt-backend` takes it."""
        ...

    def toolchain(self) -> Toolchain:
        """Return the product and all versions that affect a plan; part of every engine key.

        Raises:
            BackendUnavailableError: The product cannot be imported.
        """
        ...

    def target(self, arch: str) -> Target:
        """Return what engines for an architecture depend on; part of every engine key.

        Args:
            arch: "sm86", or "cpu".
        """
        ...

    def route(self, model: OnnxModel, spec: EngineSpec) -> Route:
        """Return how this backend reaches the spec's precision, after checking the spec.

        Called before every look-up in the cache, so it must be cheap.

        Raises:
            ConfigurationError: An option is unknown or invalid, or a profile is.
            UnsupportedError: The precision, or an option for it, is not available. The test is
                skipped where its marker names other precisions.
        """
        ...

    def build(self, request: BuildRequest) -> BuildResult:
        """Build one plan into the request's directory, which is otherwise empty afterwards.

        Code that may crash or hang should run in a child process with a time limit.

        Raises:
            BackendUnavailableError: The product or the device is not available.
            ConfigurationError: An option or a profile was refused.
            EngineBuildError: The builder refused the model or failed.
        """
        ...

    def cannot_run(self, target: Target) -> str | None:
        """Return why engines for this target do not run on this machine, or None if they do."""
        ...

    def open(
        self, plan: Plan, model: OnnxModel, spec: EngineSpec, target: Target
    ) -> BackendSession:
        """Load a plan on its device, after the cache has verified its digest.

        A plan is native code: what is loaded must be `plan.read()`, or lie at `plan.stable_path`.
        `plan.path` is for messages; it may lead elsewhere by now.

        Raises:
            EngineLoadError: The plan cannot be loaded here.
            BackendUnavailableError: The product or the device is not available.
        """
        ...


@runtime_checkable
class ObservesTensors(Protocol):
    """A backend that reads an engine's inner tensors without changing what its builder fuses."""

    def observe(
        self, request: BuildRequest, inputs: Tensors, tensors: Sequence[str]
    ) -> Tensors | None:
        """Build an engine, run it once, and return its outputs and what it has of some tensors.

        Args:
            request: The engine, in a folder that the caller removes.
            inputs: Inputs of the model.
            tensors: Names of tensors inside the model; fusion may have removed some.

        Returns:
            The values by name; None where the installed version cannot do this.

        Raises:
            PytestTrtError: It cannot be built, loaded or run.
        """
        ...
