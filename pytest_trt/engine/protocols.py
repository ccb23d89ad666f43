"""The interface between the engine room and its backends.

A backend is a value: two of them (TensorRT and TensorRT-RTX, say) work side by side in one process.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, NamedTuple, Protocol

import numpy as np
import numpy.typing as npt

from pytest_trt.engine.facts import Layer
from pytest_trt.engine.spec import EngineSpec, Route, Target, Toolchain
from pytest_trt.onnx.file import OnnxModel
from pytest_trt.tensors.spec import Tensors

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
        calibration: Representative inputs; empty unless the precision needs them.
        progress: Called with each step.
    """

    model: OnnxModel
    spec: EngineSpec
    target: Target
    directory: Path
    calibration: Sequence[Tensors] = ()
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
    """

    plan_name: str
    log_tail: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    layers: tuple[Layer, ...] | None = None
    hidden_weights: int = 0
    device_memory_bytes: int | None = None


class BackendSession(Protocol):
    """A loaded engine that runs."""

    @property
    def graph_refusal(self) -> str | None:
        """Why the last runs were enqueued call by call, where a CUDA graph was to be replayed."""
        ...

    def run(self, inputs: Tensors) -> dict[str, npt.NDArray[np.generic]]:
        """Return every output of the model for these inputs, in the model's own dtypes."""
        ...

    def close(self) -> None:
        """Release what the session holds; it cannot run afterwards."""
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
    """A session whose device keeps the time itself."""

    def sample(self, inputs: Tensors, *, mode: Literal["graph", "enqueue"], calls: int) -> Samples:
        """Time consecutive calls on the device."""
        ...


class Backend(Protocol):
    """A product that builds plans from ONNX models and runs them."""

    @property
    def name(self) -> str:
        """The backend's name as `--trt-backend` takes it."""
        ...

    def toolchain(self) -> Toolchain:
        """The versions at work on this machine."""
        ...

    def target(self, arch: str) -> Target:
        """What engines for an architecture are bound to, as far as this machine tells."""
        ...

    def route(self, model: OnnxModel, spec: EngineSpec) -> Route:
        """How this backend reaches the spec's precision.

        Raises:
            ConfigurationError: It cannot: the precision, an option or a profile is not for it.
        """
        ...

    def build(self, request: BuildRequest) -> BuildResult:
        """Build one plan into the request's directory.

        Raises:
            EngineBuildError: The builder refused the model or failed.
        """
        ...

    def cannot_run(self, target: Target) -> str | None:
        """Why engines for this target do not run on this machine, or None when they do."""
        ...

    def open(
        self, plan: Path, model: OnnxModel, spec: EngineSpec, target: Target
    ) -> BackendSession:
        """Load a verified plan on the device that it was built for.

        Raises:
            EngineLoadError: The plan cannot be loaded here.
        """
        ...
