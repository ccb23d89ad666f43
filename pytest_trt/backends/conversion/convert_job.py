"""A conversion in the child process, for backends that build from a converted model."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pytest_trt.backends.conversion.conversion import Conversion
from pytest_trt.backends.conversion.isolated import Task, call_isolated, stored_samples
from pytest_trt.engine.protocols import BuildRequest, Progress
from pytest_trt.engine.spec import OptionValue
from pytest_trt.onnx.file import OnnxModel
from pytest_trt.records import from_data, to_data
from pytest_trt.tensors.stored import StoredSamples


@dataclass(frozen=True, slots=True)
class ConversionJob:
    """One model to convert.

    Attributes:
        model: What to convert.
        precision: A reduced precision.
        output: The file to write.
        options: Builder options of the conversion.
        keep_fp32: What stays float32.
        calibration: The file of the calibration data, which this process wrote; None for none.
    """

    model: OnnxModel
    precision: str
    output: Path
    options: Mapping[str, OptionValue] = field(default_factory=dict)
    keep_fp32: tuple[str, ...] = ()
    calibration: Path | None = None


def convert_isolated(
    request: BuildRequest,
    precision: str,
    output: Path,
    options: Mapping[str, OptionValue],
    *,
    timeout_s: float,
) -> Conversion:
    """Convert the model of a request in the child process.

    Raises:
        PytestTrtError: As `convert.converted`; an EngineBuildError where ONNX Runtime crashes,
            takes too long, or needs more memory than there is.
    """
    model = request.model
    task = Task(
        f"converting {model.path.name} to {precision}",
        model,
        precision,
        timeout_s,
        request.progress,
    )
    with stored_samples(request.calibration, output.parent) as calibration:
        job = ConversionJob(model, precision, output, options, request.spec.keep_fp32, calibration)
        found = call_isolated(f"{__name__}:do_convert", task, job=to_data(job))
    return from_data(Conversion, found)


def do_convert(progress: Progress, job: Mapping[str, Any]) -> Any:
    """Do a `ConversionJob`; return its `Conversion`, both as JSON-simple data."""
    from pytest_trt.backends.conversion.convert import converted

    given = from_data(ConversionJob, job)
    progress(f"converting {given.model.path.name} to {given.precision}")
    done = converted(
        given.model,
        given.precision,
        given.output,
        calibration=StoredSamples(given.calibration) if given.calibration else (),
        options=given.options,
        keep_fp32=given.keep_fp32,
    )
    return to_data(done)
