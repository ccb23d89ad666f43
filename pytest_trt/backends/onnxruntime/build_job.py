"""What the child process of the embedded backend is asked for, and what becomes of it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

from pytest_trt.backends.conversion.isolated import Task, call_isolated, stored_samples
from pytest_trt.backends.onnxruntime.reference import NO_REFERENCE
from pytest_trt.diagnostics import EngineBuildError, ModelError
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
    """

    model: OnnxModel
    spec: EngineSpec
    directory: Path
    calibration: Path | None = None


@dataclass(frozen=True, slots=True)
class ReferenceJob:
    """One model to load as it is.

    Attributes:
        model: The model.
    """

    model: OnnxModel


def build_isolated(request: BuildRequest, *, timeout_s: float) -> BuildResult:
    """Build an engine in the child process.

    Args:
        request: The engine to build.
        timeout_s: Seconds after which the build is ended; 0 for no limit.

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
        job = BuildJob(model, replace(spec, profiles=()), request.directory, calibration)
        done = call_isolated(f"{_DOES}:do_build", task, job=to_data(job))
    return from_data(BuildResult, done)


def load_isolated(model: OnnxModel, *, timeout_s: float) -> None:
    """Load a model as the FP32 reference in the child process, before it is loaded in this one.

    Args:
        model: The model.
        timeout_s: Seconds after which the process is ended; 0 for no limit.

    Raises:
        ModelError: ONNX Runtime refuses the model, crashes, takes too long, or needs more memory
            than there is.
    """
    task = Task(f"loading {model.path.name} as the FP32 reference", model, timeout_s=timeout_s)
    try:
        call_isolated(f"{_DOES}:do_load_reference", task, job=to_data(ReferenceJob(model)))
    except EngineBuildError as error:
        raise ModelError(
            error.message,
            fix=error.diagnostic.remedy,
            code=error.diagnostic.code,
            facts=error.diagnostic.facts,
            details=[NO_REFERENCE, *error.diagnostic.details],
        ) from error
