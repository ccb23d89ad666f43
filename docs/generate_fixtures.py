"""The page of fixtures, from the source of `pytest_trt.plugin.fixtures`."""

from __future__ import annotations

import ast
import inspect
from collections.abc import Iterator

from generate_text import formatted

import pytest_trt
from pytest_trt.plugin import fixtures

#: Public protocols of private classes.
PROTOCOLS = {"BenchmarkCheck": "Benchmark", "TaskMetrics": "MetricRecorder"}


def fixtures_page() -> str:
    """Return docs/reference/fixtures.md: every fixture with its type, scope and docstring."""
    lines = [
        "# Fixtures",
        "",
        "A fixture builds and loads nothing that its test does not use. Loaded engines are cached",
        "for the next test. A project may override `trt_inputs`, `trt_calibration` and",
        "`trt_reference`.",
        "",
        "| fixture | type | scope |",
        "|---|---|---|",
    ]
    found = list(_functions())
    for function in found:
        name = function.name
        lines.append(f"| [`{name}`](#{name}) | {_type(function.returns)} | {_scope(function)} |")
    for function in found:
        lines += ["", f"## `{function.name}`", "", formatted(ast.get_docstring(function) or "")]
    return "\n".join(lines) + "\n"


def _functions() -> Iterator[ast.FunctionDef]:
    for node in ast.parse(inspect.getsource(fixtures)).body:
        if isinstance(node, ast.FunctionDef) and not node.name.startswith("_"):
            yield node


def _scope(function: ast.FunctionDef) -> str:
    (decorator,) = function.decorator_list
    given = decorator.keywords if isinstance(decorator, ast.Call) else []
    return next((ast.literal_eval(one.value) for one in given if one.arg == "scope"), "function")


def _type(hint: ast.expr | None) -> str:
    assert hint is not None
    text = ast.unparse(hint).replace("npt.NDArray[np.generic]", "np.ndarray")
    name = PROTOCOLS.get(text, text)
    known = name in pytest_trt.__all__
    return f"[`{name}`](api.md#pytest_trt.{name})" if known else f"`{name}`"
