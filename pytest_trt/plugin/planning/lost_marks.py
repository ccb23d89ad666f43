"""Functions and classes that pytest does not collect: their markers check nothing."""

from __future__ import annotations

import ast
import inspect
from collections.abc import Iterable, Iterator
from functools import partial
from textwrap import dedent
from types import FunctionType
from typing import Any

import pytest

from pytest_trt.diagnostics import ConfigurationError, Diagnostic, Remedy
from pytest_trt.plugin.names import is_ours
from pytest_trt.plugin.planning.marks import marked, marks_of, pytestmark_of
from pytest_trt.plugin.planning.plan import Parsed


def check_wrapped(item: pytest.Function, parsed: Parsed) -> None:
    """Refuse a test whose markers a decorator lost: one that returns a function of its own."""
    known = {id(mark) for mark in marks_of(item)}
    for wrapped in _wrapped(item.function):
        if getattr(getattr(item.parent, "obj", None), wrapped.__name__, None) is wrapped:
            continue  # a test of its own
        for mark in pytestmark_of(wrapped):
            if is_ours(mark.name, item.config) and id(mark) not in known:
                raise ConfigurationError(
                    f"a decorator of {item.originalname} lost the {mark.name} marker of "
                    f"{wrapped.__name__}, which it wraps",
                    fix="write the marker above the decorator, or use functools.wraps in it.",
                    code="TRT169",
                    facts={"marker": mark.name},
                )


def _wrapped(function: object) -> Iterator[FunctionType]:
    """Yield the functions that a function holds, at any depth."""
    found: list[object] = [function]
    for one in found:
        if isinstance(one, partial):
            held: list[object] = [one.func]
        elif inspect.isfunction(one):
            held = [cell.cell_contents for cell in one.__closure__ or () if _is_filled(cell)]
        else:
            continue
        new = [each for each in held if not any(each is other for other in found)]
        found += new
        yield from filter(inspect.isfunction, new)


def _is_filled(cell: object) -> bool:
    try:
        _ = cell.cell_contents  # type: ignore[attr-defined]
    except ValueError:  # its function is still being made
        return False
    return True


def uncollected(
    collector: pytest.Collector, nodes: Iterable[pytest.Item | pytest.Collector]
) -> Iterator[tuple[Diagnostic, int]]:
    """Yield the marked functions and classes of a module or class that pytest left out.

    Each comes with its line. A class that others inherit from is none: its markers are theirs.
    """
    place = collector.obj  # type: ignore[attr-defined]
    module = place.__module__ if isinstance(place, type) else place.__name__
    known = {id(one) for node in nodes for one in _objects_of(node)}
    for name, obj, marks in marked(place, collector.config):
        is_inherited = isinstance(obj, type) and bool(type.__subclasses__(obj))
        if obj.__module__ != module or is_inherited or not getattr(obj, "__test__", True):
            continue
        if id(obj) not in known:
            yield _left_out(name, marks[0].name, obj), _line_of(obj)


def _objects_of(node: pytest.Item | pytest.Collector) -> Iterator[object]:
    """Yield the function of a test and those that it wraps, or the class."""
    if isinstance(node, pytest.Function):
        yield node.function
        yield from _wrapped(node.function)
    else:
        yield getattr(node, "obj", None)


def replaced(
    collector: pytest.Collector, nodes: Iterable[pytest.Item | pytest.Collector]
) -> Iterator[tuple[Diagnostic, int]]:
    """Yield the tests of a module or class that a later one of the same name replaces."""
    names = {getattr(node, "originalname", node.name) for node in nodes}
    place = collector.obj  # type: ignore[attr-defined]
    try:
        lines, start = inspect.getsourcelines(place)
        tree: ast.Module = ast.parse(dedent("".join(lines)))
    except (OSError, TypeError, SyntaxError):
        return
    body, first = tree.body, max(start, 1)
    if isinstance(place, type) and isinstance(body[0], ast.ClassDef):
        body = body[0].body
    known: dict[str, int] = {}
    for end, one in enumerate(body):
        if not isinstance(one, _DEFINITIONS) or one.name not in names:
            continue
        begin = known.get(one.name, end)
        known[one.name] = end
        if begin < end and not any(_uses(each, one.name) for each in body[begin + 1 : end + 1]):
            line, later = (each.lineno + first - 1 for each in (body[begin], one))
            yield _replaced(one.name, line, later), line


_DEFINITIONS = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)


def _uses(statement: ast.stmt, name: str) -> bool:
    """Whether a statement may use what has a name, such as to collect it under another one."""
    return any(isinstance(one, ast.Name) and one.id == name for one in ast.walk(statement))


def _replaced(name: str, line: int, later: int) -> Diagnostic:
    return Diagnostic(
        "TRT169",
        f"{name} of line {line} never runs: that of line {later} replaces it",
        {"test": name},
        remedy=Remedy("rename one of them."),
        severity="warning",
    )


def _line_of(obj: Any) -> int:
    try:
        return inspect.getsourcelines(obj)[1]
    except (OSError, TypeError):
        return 1


def _left_out(name: str, marker: str, obj: object) -> Diagnostic:
    prefix = "Test" if isinstance(obj, type) else "test_"
    return Diagnostic(
        "TRT169",
        f"pytest does not collect {name}, so its {marker} marker has no effect",
        {"marker": marker},
        remedy=Remedy(f"begin its name with {prefix}, or mark the tests that use it instead."),
        severity="warning",
    )
