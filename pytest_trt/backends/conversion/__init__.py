"""Precision conversion: an ONNX model in, an ONNX model of lower precision out.

The converters are ONNX Runtime's. The modules behind this one prepare graphs that they trip over,
repair what they leave behind, and report what they changed silently. Conversion is deterministic:
its result is keyed by the model, the options and `converter_versions()`.
"""

from __future__ import annotations

import importlib
import importlib.metadata

from pytest_trt.backends.conversion.converting import Conversion
from pytest_trt.backends.conversion.fp16 import FP16_OPTIONS, to_fp16
from pytest_trt.backends.conversion.int8 import INT8_OPTIONS, to_int8

__all__ = [
    "FP16_OPTIONS",
    "INT8_OPTIONS",
    "Conversion",
    "converter_versions",
    "to_fp16",
    "to_int8",
]

#: Raise this by one whenever the code behind this module or in `model.graph` can give another model
#: for the same input: it is part of the engine key, and engines of older conversions must not be
#: reused.
_CONVERTER_VERSION = "5"


def converter_versions() -> dict[str, str]:
    """Return the versions of everything that decides a converted model's bytes."""
    return {
        # Of the module: the package may be called onnxruntime-gpu.
        "onnxruntime": str(importlib.import_module("onnxruntime").__version__),
        "onnx": importlib.metadata.version("onnx"),
        "pytest-trt": _CONVERTER_VERSION,
    }
