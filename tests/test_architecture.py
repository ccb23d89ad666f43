"""The arrows of the layout: which room may import which, and where foreign modules may appear."""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1] / "pytest_trt"

#: What each room may import beside itself. `pytest_trt` itself holds the version and nothing else.
MAY_IMPORT = {
    "errors": set(),
    "arch": {"errors"},
    "model": {"errors"},
    "engine": {"errors", "arch", "model"},
    "backends": {"errors", "arch", "model", "engine"},
    "accuracy": {"errors", "arch", "model"},
    "performance": {"errors", "arch", "model"},
    "baseline": {"errors", "arch", "model"},
    "measure": {"errors", "arch", "model", "engine", "performance"},
    "selftest": {"errors", "arch", "model", "accuracy", "performance"},
    "fresh": {"errors", "arch", "model", "engine", "backends", "performance", "measure"},
    "report": {"errors", "arch"},
    "upgrade": {"errors", "arch", "engine", "performance", "report"},
    "doctor": {"errors", "arch", "model", "engine", "backends", "baseline", "report"},
    "cli": {"errors", "arch", "model", "engine", "backends", "accuracy", "performance"}
    | {"baseline", "report", "doctor", "upgrade"},
    "plugin": {
        "errors",
        "arch",
        "model",
        "engine",
        "backends",
        "accuracy",
        "performance",
        "baseline",
    }
    | {"measure", "fresh", "selftest", "report"},
}

#: Rooms whose decisions rest on numpy and the standard library alone.
NUMPY_ONLY = {"errors", "accuracy", "performance", "baseline", "selftest"}

VENDORS = {"tensorrt", "tensorrt_rtx", "onnxruntime", "cuda", "pynvml"}

MAX_LINES = 350


@dataclass(frozen=True)
class Import:
    """One imported module: where, how it is written out, and whether importing the file runs it."""

    line: int
    module: str
    at_import: bool


def imports(source: str, package: str = "pytest_trt") -> list[Import]:
    """Return every import of a module's source. Imports for type checkers alone are not run."""
    return list(_walk(ast.parse(source), package, at_import=True))


def _walk(node: ast.AST, package: str, *, at_import: bool) -> Iterator[Import]:
    if isinstance(node, ast.Import):
        yield from (Import(node.lineno, alias.name, at_import) for alias in node.names)
    elif isinstance(node, ast.ImportFrom):
        base = ".".join(package.split(".")[: -(node.level - 1) or None]) if node.level else ""
        module = ".".join(filter(None, [base, node.module]))
        # `from pytest_trt import x` may name a room, and a room must not hide behind that.
        names = [f"{module}.{alias.name}" for alias in node.names]
        for name in names if module == "pytest_trt" else [module]:
            yield Import(node.lineno, name, at_import)
    elif isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
        for child in node.body:
            yield from _walk(child, package, at_import=False)
        for child in node.orelse:
            yield from _walk(child, package, at_import=at_import)
    else:
        inside = isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda)
        for child in ast.iter_child_nodes(node):
            yield from _walk(child, package, at_import=at_import and not inside)


def violations(path: str, source: str) -> list[str]:
    """Return what is wrong with the imports of one module.

    Args:
        path: The module's file relative to the package, such as "model/digest.py".
        source: Its text.
    """
    room = _room(path)
    package = ".".join(["pytest_trt", *Path(path).parts[:-1]])
    found = []
    for entry in imports(source, package):
        complaint = _complaint(path, room, entry)
        if complaint:
            found.append(f"{path}:{entry.line}: {complaint}")
    return found


def _room(path: str) -> str:
    return Path(path).parts[0].removesuffix(".py")


def _complaint(path: str, room: str, entry: Import) -> str | None:
    top, _, rest = entry.module.partition(".")
    if top == "pytest_trt":
        target = rest.partition(".")[0]
        inside = target in ("", "__version__", room) or target in MAY_IMPORT.get(room, ())
        return None if inside else f"{room} must not import {target}"
    if top in VENDORS:
        if room != "backends":
            return f"{top} belongs in backends, not in {room}"
        return f"{top} is imported with the module, not in a function" if entry.at_import else None
    if top == "pytest_benchmark" and (room != "plugin" or entry.at_import):
        return "pytest_benchmark is optional: imported in functions of the plugin"
    if top in ("pytest", "_pytest", "pluggy"):
        return None if room == "plugin" else f"{room} must not import {top}"
    if room in NUMPY_ONLY and top != "numpy" and top not in sys.stdlib_module_names:
        return f"{room} is numpy and standard library only, but imports {top}"
    of_onnx = ("model/graph.py", "model/difference.py")
    if top == "onnx" and room == "model" and path not in of_onnx and entry.at_import:
        return f"onnx is imported with the module; only {' and '.join(of_onnx)} may"
    if top in ("onnx", "rich", "click") and room in ("engine", "plugin") and entry.at_import:
        return f"{room} must not import {top} with the module"
    return None


def package_modules() -> dict[str, str]:
    return {
        path.relative_to(ROOT).as_posix(): path.read_text(encoding="utf-8")
        for path in sorted(ROOT.rglob("*.py"))
    }


def room_graph(modules: dict[str, str]) -> dict[str, set[str]]:
    """Return which rooms each room imports."""
    graph: dict[str, set[str]] = {}
    for path, source in modules.items():
        package = ".".join(["pytest_trt", *Path(path).parts[:-1]])
        for entry in imports(source, package):
            top, _, rest = entry.module.partition(".")
            target = rest.partition(".")[0]
            if top == "pytest_trt" and target not in ("", "__version__", _room(path)):
                graph.setdefault(_room(path), set()).add(target)
    return graph


def test_every_import_follows_an_arrow_of_the_layout() -> None:
    modules = package_modules()
    assert "plugin/__init__.py" in modules
    assert [text for path, source in modules.items() for text in violations(path, source)] == []


def test_every_room_is_on_the_map() -> None:
    assert {_room(path) for path in package_modules()} - {"__init__"} <= MAY_IMPORT.keys()


def test_rooms_do_not_import_each_other_in_circles() -> None:
    tuple(TopologicalSorter(room_graph(package_modules())).static_order())


def test_a_circle_of_rooms_is_found() -> None:
    planted = {
        "model/x.py": "def f():\n    from pytest_trt.engine import key\n",
        "engine/y.py": "from pytest_trt.model import digest\n",
    }
    with pytest.raises(CycleError):
        tuple(TopologicalSorter(room_graph(planted)).static_order())


@pytest.mark.parametrize("path", sorted(package_modules()))
def test_module_is_short_enough_to_hold_one_idea(path) -> None:
    lines = package_modules()[path].count("\n")
    assert lines < MAX_LINES, f"{path} has {lines} lines: split it"


@pytest.mark.parametrize(
    ("path", "source", "said"),
    [
        ("model/x.py", "import pytest_trt.engine", "model must not import engine"),
        ("model/x.py", "from pytest_trt import engine", "model must not import engine"),
        ("model/x.py", "from ..engine import key", "model must not import engine"),
        ("model/x.py", "from .. import engine", "model must not import engine"),
        ("model/x.py", "def f():\n    import pytest_trt.backends.cuda", "not import backends"),
        ("errors.py", "from pytest_trt.model import Tensors", "errors must not import model"),
        (
            "engine/x.py",
            "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    import pytest_trt.backends",
            "engine must not import backends",
        ),
        ("accuracy/x.py", "from pytest_trt.engine import Engine", "must not import engine"),
        ("accuracy/x.py", "import scipy.stats", "numpy and standard library only"),
        ("performance/x.py", "import pytest_trt.accuracy", "must not import accuracy"),
        ("baseline/x.py", "def f():\n    import rich", "numpy and standard library only"),
        ("report/x.py", "from pytest_trt.model import OnnxModel", "report must not import model"),
        ("cli/x.py", "from pytest_trt.plugin.options import OPTIONS", "must not import plugin"),
        ("cli/x.py", "import pytest", "cli must not import pytest"),
        ("engine/x.py", "class A:\n    import pytest", "engine must not import pytest"),
        ("plugin/x.py", "def f():\n    import onnxruntime", "onnxruntime belongs in backends"),
        ("plugin/x.py", "import pytest_benchmark.stats", "pytest_benchmark is optional"),
        ("engine/x.py", "import tensorrt_rtx", "tensorrt_rtx belongs in backends"),
        ("backends/x.py", "import tensorrt as trt", "not in a function"),
        ("backends/x.py", "from cuda.bindings import runtime", "not in a function"),
        ("backends/x.py", "try:\n    import pynvml\nexcept ImportError:\n    pass", "not in a"),
        ("backends/x.py", "class A:\n    import tensorrt", "not in a function"),
        ("model/x.py", "from onnx import helper", "only model/graph.py and"),
        ("engine/x.py", "import onnx", "engine must not import onnx"),
        ("plugin/x.py", "from rich.console import Console", "plugin must not import rich"),
    ],
)
def test_planted_violation_is_found(path, source, said) -> None:
    (complaint,) = violations(path, source)
    assert complaint.startswith(f"{path}:")
    assert said in complaint


@pytest.mark.parametrize(
    ("path", "source"),
    [
        ("model/x.py", "from pytest_trt.errors import ModelError"),
        ("model/x.py", "def f():\n    import onnx"),
        ("model/graph.py", "import onnx"),
        ("model/x.py", "from . import digest"),
        ("engine/x.py", "from pytest_trt import __version__"),
        ("backends/x.py", "def f():\n    import tensorrt"),
        ("backends/x.py", "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    import cuda"),
        ("accuracy/x.py", "import numpy as np\nimport zipfile"),
        ("plugin/x.py", "import pytest\nfrom pytest_trt.report import summary"),
        ("plugin/x.py", "def f():\n    from rich.console import Console"),
        ("cli/x.py", "import click"),
    ],
)
def test_import_that_is_allowed_is_not_complained_of(path, source) -> None:
    assert violations(path, source) == []
