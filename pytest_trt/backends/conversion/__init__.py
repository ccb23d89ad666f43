"""Precision conversion: an ONNX model in, an ONNX model of lower precision out.

Float16 and bfloat16 are converted here (`narrowing`), by what each operator declares. INT8 is
quantised by ONNX Runtime; `int8_preparation` prepares graphs that it fails on. Conversion is
deterministic: its result is keyed by the model, the options and `converter_versions()`.
"""

from __future__ import annotations

import functools
import importlib
import importlib.metadata
from typing import TYPE_CHECKING, Any

from pytest_trt.backends.conversion.ort_module import onnxruntime_version

if TYPE_CHECKING:
    from pytest_trt.backends.conversion.conversion import Conversion
    from pytest_trt.backends.conversion.convert import converted
    from pytest_trt.backends.conversion.int8 import to_int8
    from pytest_trt.backends.conversion.narrow import to_fp16, to_narrow

__all__ = [
    "ROUNDING_VERSION",
    "Conversion",
    "converted",
    "converter_versions",
    "to_fp16",
    "to_int8",
    "to_narrow",
]

#: The modules of the converters. They import onnx, which takes as long as all imports of a run with
#: a full cache, so they are imported on first use.
_HOMES = {
    "Conversion": "conversion",
    "converted": "convert",
    "to_fp16": "narrow",
    "to_narrow": "narrow",
    "to_int8": "int8",
}

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


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_HOMES[name]}"), name)
