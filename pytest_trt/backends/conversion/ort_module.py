"""ONNX Runtime's module: imported, or only asked for its version."""

from __future__ import annotations

import importlib.util
import re
import sys
from pathlib import Path
from typing import Any

from pytest_trt.diagnostics import BackendUnavailableError

#: The line of its `__init__.py`. Packages by several names bring the module: onnxruntime-gpu,
#: onnxruntime-directml.
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
            f"ONNX Runtime cannot be imported: {error}.", fix="pip install onnxruntime"
        ) from error
    return onnxruntime


def onnxruntime_version() -> str:
    """Return the version of the module that would be imported, which is not, where that will do.

    The version is part of every key, of references too. A run that finds all of these in the cache
    and its engines on the GPU needs nothing else of ONNX Runtime.

    Raises:
        BackendUnavailableError: There is none, or one that does not tell and cannot be imported.
    """
    if "onnxruntime" not in sys.modules:
        spec = importlib.util.find_spec("onnxruntime")
        if spec is not None and spec.has_location and spec.origin is not None:
            found = _VERSION.findall(Path(spec.origin).read_bytes())
            if len(found) == 1:
                return str(found[0].decode())
    return str(load_onnxruntime().__version__)
