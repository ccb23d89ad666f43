"""Entries of `by_precision` for precisions that no test with their marker runs: they do nothing.

Only a marker that is written on a test function, or in the `pytestmark` of a module of functions,
with its entries: a table or a marker that has a name may be shared with tests that run the others,
and a list of precisions that has a name may differ on another machine.
"""

from __future__ import annotations

import ast
import inspect
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import pytest

from pytest_trt.diagnostics import Diagnostic, Remedy
from pytest_trt.plugin.planning.marks import multiplied, params_of, pytestmark_of
from pytest_trt.plugin.planning.plan import PRECISION, TestPlan

_NAME = "by_precision"


def unused_precisions(
    collector: pytest.Collector, planned: Mapping[pytest.Function, TestPlan], *, all_of_it: bool
) -> Iterator[tuple[Diagnostic, int]]:
    """Yield the entries of the markers of a module or class that no test uses, with their lines.

    Args:
        collector: The module or class.
        planned: Its tests, and what each of them checks.
        all_of_it: Whether these are all tests that the `pytestmark` of a module applies to.
    """
    users: dict[int, tuple[pytest.Mark, list[pytest.Function]]] = {}
    for item, plan in planned.items():
        for mark in plan.marks:
            if isinstance(mark.kwargs.get(_NAME), Mapping):
                users.setdefault(id(mark), (mark, []))[1].append(item)
    for mark, items in users.values():
        place = _place_of(mark, items[0], collector, all_of_it=all_of_it)
        ran = {one for item in items for one in _precisions(planned[item])}
        unused = [one for one in mark.kwargs[_NAME] if one not in ran]
        if not place or not unused or any(map(_builds_others, items)):
            continue
        written, line = _written(place, mark.name)
        if unused := [one for one in unused if one in written]:
            yield _unused(mark.name, unused, sorted(ran)), line


def _place_of(
    mark: pytest.Mark, item: pytest.Function, collector: pytest.Collector, *, all_of_it: bool
) -> Any:
    """Return the function or module that a marker is written on; None if others may have it."""
    place = collector.obj  # type: ignore[attr-defined]
    if isinstance(place, type):
        own = not type.__subclasses__(place) and item.originalname in vars(place)
    else:
        own = item.function.__module__ == place.__name__
    if own and any(mark is one for one in pytestmark_of(item.function)):
        return item.function
    in_module = isinstance(collector, pytest.Module) and all_of_it
    return place if in_module and any(mark is one for one in pytestmark_of(place)) else None


def _precisions(plan: TestPlan) -> Iterator[str]:
    """Yield the precisions of the engines that a test runs."""
    yield plan.precision
    yield from plan.model.precision if plan.model is not None else ()
    for opponent in plan.opponents.values():
        yield opponent.precision or plan.precision


def _builds_others(item: pytest.Function) -> bool:
    """Whether a test may request engines of any precision."""
    if PRECISION in params_of(item) and PRECISION not in multiplied(item):
        return True
    info = item._fixtureinfo
    own = [
        one[-1].argnames
        for one in info.name2fixturedefs.values()
        if not one[-1].func.__module__.startswith("pytest_trt.")
    ]
    requested = {*info.argnames, *(name for names in own for name in names)}
    return bool(requested & {"trt_build", "trt_engines", "request"})


def _written(place: Any, marker: str) -> tuple[set[object], int]:
    """Return the entries that are written out in the markers of a function or module, and a line.

    There are none where a name stands for a list of precisions.
    """
    module = inspect.getmodule(place)
    try:
        tree = ast.parse(inspect.getsource(module))  # type: ignore[arg-type]
        start = inspect.getsourcelines(place)[1]
    except (OSError, TypeError, SyntaxError):
        return set(), 1
    of_precisions = [one.value for one in _keywords(tree) if one.arg == "precision"]
    if any(isinstance(one, ast.Name) for value in of_precisions for one in ast.walk(value)):
        return set(), 1
    found, line = set[object](), 1
    for written in _markers(tree, None if place is module else start):
        for one in _keywords(written, marker):
            if one.arg == _NAME and isinstance(one.value, ast.Dict):
                found |= {key.value for key in one.value.keys if isinstance(key, ast.Constant)}
                line = one.value.lineno
    return found, line


def _markers(tree: ast.Module, start: int | None) -> Iterator[ast.expr]:
    """Yield the decorators of the function that starts at a line, or what `pytestmark` is."""
    for one in ast.walk(tree) if start else tree.body:
        if isinstance(one, ast.FunctionDef | ast.AsyncFunctionDef):
            decorators = one.decorator_list
            yield from decorators if decorators and decorators[0].lineno == start else ()
        elif isinstance(one, ast.Assign) and not start:
            names = [target.id for target in one.targets if isinstance(target, ast.Name)]
            yield from [one.value] if "pytestmark" in names else ()


def _keywords(tree: ast.AST, marker: str = "") -> Iterator[ast.keyword]:
    """Yield the keywords of calls in an expression; those of a marker alone if one is named."""
    for one in ast.walk(tree):
        named = isinstance(one, ast.Call) and getattr(one.func, "attr", "") == marker
        if isinstance(one, ast.Call) and (named or not marker):
            yield from one.keywords


def _unused(marker: str, unused: Sequence[str], ran: Sequence[str]) -> Diagnostic:
    names, tested = " and ".join(unused), " and ".join(ran)
    return Diagnostic(
        "TRT185",
        f"{_NAME} of {marker} names {names}, which its tests do not run: they run {tested}",
        {"marker": marker, "unused": [*unused], "precisions": [*ran]},
        remedy=Remedy(f"add {names} to precision= of trt_model, or remove the entry."),
        severity="warning",
    )
