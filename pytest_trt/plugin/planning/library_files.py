"""The libraries of operators that a test names: `custom_ops` and `plugin_libraries`."""

from __future__ import annotations

import importlib.util
import os
from pathlib import Path
from typing import Any

from pytest_trt.diagnostics import ConfigurationError
from pytest_trt.plugin.planning.keywords import expect

_MARKER = "trt_model"


def parse_plugin_libraries(value: object, test_file: Path) -> tuple[Path, ...]:
    """Return the paths that `plugin_libraries=` gives.

    Raises:
        ConfigurationError: One is no path, or not a file.
    """
    given = _listed("plugin_libraries", value, 'paths, like ["build/libmyops.so"]')
    return tuple(_file(one, test_file, "plugin_libraries=") for one in given)


def parse_custom_ops(value: object, test_file: Path) -> tuple[Path | str, ...]:
    """Return what `custom_ops=` gives: paths, and names of packages that have a library.

    Raises:
        ConfigurationError: One is neither, not a file, or not installed.
    """
    given = _listed("custom_ops", value, 'paths and packages, like ["onnxruntime_extensions"]')
    return tuple(
        one if _is_package(one, test_file) else _file(one, test_file, "custom_ops=")
        for one in map(str, given)
    )


def _listed(name: str, value: Any, expected: str) -> list[str | Path]:
    several = [value] if isinstance(value, str | Path) else value
    valid = isinstance(several, list | tuple) and all(
        isinstance(one, str | Path) and str(one) for one in several
    )
    expect(valid, _MARKER, name, value, expected)
    return list(dict.fromkeys(several))


def _is_package(name: str, test_file: Path) -> bool:
    if not name.isidentifier() or (test_file.parent / name).exists():
        return False
    if importlib.util.find_spec(name) is not None:
        return True
    raise ConfigurationError(
        f"custom_ops= names {name!r}, which is neither a file nor an installed package",
        fix="correct the name, install the package, or give the path of a library.",
        code="TRT177",
        facts={"library": name},
    )


def _file(given: str | Path, test_file: Path, where: str) -> Path:
    path = Path(os.path.normpath(test_file.parent / given))
    try:
        problem = "" if path.is_file() else "is missing"
        problem = "is not a file" if problem and path.exists() else problem
    except OSError as error:  # such as a name that is too long
        problem = f"cannot be read: {error.strerror}"
    if problem:
        raise ConfigurationError(
            f"the library {str(given)[:80]} of {where} {problem}",
            fix="correct the path, which is relative to the test file.",
            code="TRT177",
            facts={"library": str(path)},
        )
    return path
