"""Precision conversion: an ONNX model in, an ONNX model of lower precision out.

Float16 and bfloat16 are converted here (`narrowing`), by what each operator declares. INT8 is
quantised by ONNX Runtime; `int8_preparation` prepares graphs that it fails on. Conversion is
deterministic: its result is keyed by the model, the options and `converter_versions()`.
"""

from __future__ import annotations

import functools
import importlib.metadata

from pytest_trt.backends.conversion.ort_module import onnxruntime_version

#: Raise this by one whenever the code behind this module or in `model.graph` can give another model
#: for the same input: it is part of the engine key, and engines of older conversions must not be
#: reused.
_CONVERTER_VERSION = "8"

#: The same of `rounding`.
ROUNDING_VERSION = "2"


def converter_versions() -> dict[str, str]:
    """Return the versions of everything that decides a converted model's bytes."""
    return {
        "onnxruntime": onnxruntime_version(),
        "onnx": _onnx_version(),
        "pytest-trt": _CONVERTER_VERSION,
    }


@functools.cache
def _onnx_version() -> str:
    # Read from the disk each time, and needed for every engine.
    return importlib.metadata.version("onnx")
