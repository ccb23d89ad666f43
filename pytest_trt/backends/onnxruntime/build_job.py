"""What the child process of the embedded backend is asked for, and what becomes of it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

from pytest_trt.backends.conversion.isolated import Task, call_isolated, stored_samples
from pytest_trt.engine.protocols import BuildRequest, BuildResult
from pytest_trt.engine.spec import EngineSpec
from pytest_trt.onnx.file import OnnxModel
from pytest_trt.records import from_data, to_data

_DOES = "pytest_trt.backends.onnxruntime.building"


@dataclass(frozen=True, slots=True)
class BuildJob:
    """One engine to build.

    Attributes:
        model: What to build from.
        spec: The request, without profiles, which ONNX Runtime does not use.
        directory: The folder for the plan.
        calibration: The file of the calibration data, which this process wrote; None for none.
        threads: Threads of one inference; 0 for the default of ONNX Runtime.
    """

    model: OnnxModel
    spec: EngineSpec
    directory: Path
    calibration: Path | None = None
    threads: int = 0


def build_isolated(request: BuildRequest, *, threads: int, timeout_s: float) -> BuildResult:
    """Build an engine in the child process.

    Raises:
        ConfigurationError: An option names what the model does not have.
        ModelError: The model is damaged.
        EngineBuildError: ONNX Runtime refuses the model, crashes, takes too long, or needs more
            memory than there is.
    """
    model, spec = request.model, request.spec
    task = Task(
        f"building {model.path.name} {spec.precision} for {request.target.arch}",
        model,
        spec.precision,
        timeout_s,
        request.progress,
    )
    with stored_samples(request.calibration, request.directory) as calibration:
        bare = replace(model, stamps=(), hashed_ns=0)  # compared by this process
        job = BuildJob(bare, replace(spec, profiles=()), request.directory, calibration, threads)
        done = call_isolated(f"{_DOES}:do_build", task, job=to_data(job))
    return from_data(BuildResult, done)
