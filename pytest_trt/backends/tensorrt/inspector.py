"""What TensorRT's engine inspector tells of a plan, kept beside it.

Only a loaded engine can be asked, so whoever has built a plan asks, where a GPU can load it.
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

from pytest_trt.backends.tensorrt.log import process_logger
from pytest_trt.backends.tensorrt.plugins import register_plugins

#: The file beside a plan: `{"device_memory_bytes": int, "engine": ...}`, the latter as the
#: inspector gives it, its numbers that are none as null.
INSPECTOR_NAME = "inspector.json"

#: Strings, which stay as they are, and what C++ prints for numbers that JSON does not have.
_STRING_OR_NO_NUMBER = re.compile(
    r'"(?:[^"\\]|\\.)*"|-?\b(?:nan|inf|infinity)\b(?:\(\w*\))?', re.IGNORECASE | re.DOTALL
)


def write_inspection(trt: Any, plan: Path, *, host_code: bool) -> str | None:
    """Load a plan on the current device, and write what the inspector tells beside it.

    Args:
        trt: The vendor module.
        plan: The plan's file.
        host_code: Whether the plan may bring its own runtime, as version-compatible ones do.

    Returns:
        Why nothing was written, or None.
    """
    try:
        register_plugins(trt)
        runtime = trt.Runtime(process_logger(trt))
        if host_code:
            runtime.engine_host_code_allowed = True
        engine = runtime.deserialize_cuda_engine(plan.read_bytes())
        if engine is None:
            return "the layers of the engine are not known: it could not be loaded after its build"
        inspector = engine.create_engine_inspector()
        if inspector is None:
            return "the layers of the engine are not known: it has no inspector"
        text = inspector.get_engine_information(trt.LayerInformationFormat.JSON)
        found = {
            "device_memory_bytes": _device_memory_bytes(engine),
            "engine": parse_tolerant(text),
        }
    except (MemoryError, RuntimeError, TypeError, ValueError) as error:
        return f"the layers of the engine are not known: {type(error).__name__}: {error}"
    plan.with_name(INSPECTOR_NAME).write_text(json.dumps(found) + "\n", encoding="utf-8")
    return None


def _device_memory_bytes(engine: Any) -> int:
    """Return the activation memory that a context of this engine needs."""
    size: Any = getattr(engine, "device_memory_size_v2", None)  # from 10.1 on
    if size is None:
        size = getattr(engine, "device_memory_size", None)  # up to 10
    return int(size)


def parse_tolerant(text: str) -> Any:
    """Return a JSON value, with None for each NaN or infinity, however it is written.

    Raises:
        ValueError: It is not JSON otherwise either.
    """

    def keep_strings(match: re.Match[str]) -> str:
        return match[0] if match[0].startswith('"') else "null"

    # Not strict: names of layers may hold control characters.
    return json.loads(_STRING_OR_NO_NUMBER.sub(keep_strings, text), strict=False)
