"""ONNX Runtime's module and its version."""

from __future__ import annotations

import importlib.util
import re
import sys
from pathlib import Path
from typing import Any

from pytest_trt.diagnostics import BackendUnavailableError, Remedy

#: The version in its `__init__.py`. Distributions of several names contain the module:
#: onnxruntime-gpu, onnxruntime-directml.
_VERSION = re.compile(rb"""^__version__\s*=\s*["']([^"'\s]+)["']\s*$""", re.MULTILINE)


def load_onnxruntime() -> Any:
    """Import the module.

    Raises:
        BackendUnavailableError: It cannot be imported.
    """
    try:
        import onnxruntime
    except ImportError as error:
        raise BackendUnavailableError(
            f"ONNX Runtime cannot be imported: {error}",
            fix=Remedy(commands=("pip install onnxruntime",)),
            code="TRT714",
            facts={"module": "onnxruntime"},
        ) from error
    return onnxruntime


def onnxruntime_version() -> str:
    """Return the version of the module, without importing it if possible.

    The version is part of every engine and reference key. A run that finds all of them in the cache
    needs nothing else of ONNX Runtime.

    Raises:
        BackendUnavailableError: The module is missing or cannot be imported.
    """
    if "onnxruntime" not in sys.modules:
        spec = importlib.util.find_spec("onnxruntime")
        if spec is not None and spec.has_location and spec.origin is not None:
            found = _VERSION.findall(Path(spec.origin).read_bytes())
            if len(found) == 1:
                return str(found[0].decode())
    return str(load_onnxruntime().__version__)
