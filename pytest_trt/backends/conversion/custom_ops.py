"""Custom operators of ONNX Runtime: libraries that its sessions are given."""

from __future__ import annotations

import importlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from pytest_trt.backends.conversion.ort_module import load_onnxruntime, onnxruntime_version
from pytest_trt.diagnostics import ConfigurationError
from pytest_trt.onnx.libraries import Library


def register_custom_ops(options: Any, libraries: Sequence[Library]) -> None:
    """Give the operators of libraries to the sessions of `onnxruntime.SessionOptions`.

    Raises:
        ModelError: A library cannot be loaded, or was replaced after it was hashed.
    """
    for library in libraries:
        with library.loading(f"ONNX Runtime {onnxruntime_version()}"):
            options.register_custom_ops_library(str(library.path))


def library_path(package: str) -> Path:
    """Return the library of custom operators that a package has: its `get_library_path()`.

    Raises:
        ConfigurationError: It cannot be imported, or gives no path of a file.
    """
    try:
        path = Path(importlib.import_module(package).get_library_path())
        problem = "" if path.is_file() else f"gives {path}, which is not a file"
    except Exception as error:  # it is code of others
        problem = f"has no get_library_path() that gives a path: {type(error).__name__}: {error}"
    if problem:
        raise ConfigurationError(
            f"the package {package} of custom_ops= {problem}",
            fix="install the package, or give the path of its library.",
            code="TRT177",
            facts={"library": package},
        )
    return path


@contextmanager
def known_to_all_sessions(libraries: Sequence[Library]) -> Iterator[None]:
    """Give the operators of libraries to every session that is created in the block.

    ONNX Runtime's quantisation creates sessions, and takes no options for them. For a process of
    its own, as no other thread may create sessions meanwhile.
    """
    if not libraries:
        yield
        return
    runtime = load_onnxruntime()
    original = runtime.SessionOptions

    def with_custom_ops() -> Any:
        options = original()
        register_custom_ops(options, libraries)
        return options

    runtime.SessionOptions = with_custom_ops
    try:
        yield
    finally:
        runtime.SessionOptions = original
