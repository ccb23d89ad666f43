"""One entry to all conversions: a model in, a model of a reduced precision out."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from pathlib import Path

from pytest_trt.backends.conversion.conversion import Conversion
from pytest_trt.backends.conversion.fp8 import to_fp8
from pytest_trt.backends.conversion.int4 import to_int4
from pytest_trt.backends.conversion.int8 import to_int8
from pytest_trt.backends.conversion.mixed import to_mixed
from pytest_trt.backends.conversion.narrow import to_narrow
from pytest_trt.backends.conversion.narrow_types import NARROW_TYPES
from pytest_trt.engine.spec import OptionValue
from pytest_trt.onnx.file import OnnxModel
from pytest_trt.tensors.spec import InputSamples


def converted(
    model: OnnxModel,
    precision: str,
    output: Path,
    *,
    calibration: InputSamples = (),
    options: Mapping[str, OptionValue] | None = None,
    keep_fp32: Collection[str] = (),
    qdq_weights: bool = True,
    verified: bool = True,
) -> Conversion:
    """Convert a model to a reduced precision.

    Args:
        model: What to convert.
        precision: The precision.
        output: The file to write.
        calibration: Representative inputs, for the precisions that need them.
        options: Builder options of the conversion.
        keep_fp32: What stays float32, see `kept_nodes`.
        qdq_weights: How INT8 weights are stored, see `to_int8`.
        verified: Whether ONNX Runtime has to load the result, and to run it on calibration data.

    Raises:
        ConfigurationError, InputError, ModelError, EngineBuildError: As the conversion.
    """
    if precision in NARROW_TYPES:
        to = NARROW_TYPES[precision]
        return to_narrow(model, output, to, keep_fp32=keep_fp32, verified=verified)
    if precision == "int4":
        return to_int4(model, output, options=options, keep_fp32=keep_fp32, verified=verified)
    if precision == "fp8":
        return to_fp8(
            model, calibration, output, options=options, keep_fp32=keep_fp32, verified=verified
        )
    quantise = {"int8": to_int8, "mixed": to_mixed}[precision]
    return quantise(
        model,
        calibration,
        output,
        options=options,
        keep_fp32=keep_fp32,
        qdq_weights=qdq_weights,
        verified=verified,
    )
