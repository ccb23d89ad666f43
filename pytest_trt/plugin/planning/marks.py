"""The plugin's marks and parameters of a collected test, the closest mark first."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import takewhile
from types import FunctionType
from typing import Any

import pytest

from pytest_trt.plugin.names import is_ours

#: Of a module or class: names of test functions, with the fixtures that the plugin gives values.
MULTIPLIED_KEY = pytest.StashKey[set[tuple[str, str]]]()

#: Of a test whose name lacks ids that pytest gave it. A session that is asked for one test collects
#: it from its module again.
_SHORT_KEY = pytest.StashKey[bool]()


def marks_of(node: pytest.Item | pytest.Collector) -> tuple[pytest.Mark, ...]:
    """Return the plugin's marks of a test, the closest first.

    A mark of `pytest.param` is closer than one of the function, and one of a class is closer than
    one of its bases; pytest itself orders both the other way round.
    """
    return tuple(
        mark
        for each in reversed(node.listchain())
        for mark in _own_marks(each)
        if is_ours(mark.name, node.config)
    )


def same_marks(some: Sequence[pytest.Mark], others: Sequence[pytest.Mark]) -> bool:
    """Whether marks are the same objects: arrays in them cannot be compared."""
    return [*map(id, some)] == [*map(id, others)]


def _own_marks(node: object) -> Sequence[pytest.Mark]:
    marks: list[pytest.Mark] = getattr(node, "own_markers", [])
    if len(marks) < 2:
        return marks
    if isinstance(node, pytest.Class):
        ranks = {
            id(mark): depth
            for depth, cls in enumerate(node.obj.__mro__)
            for mark in pytestmark_of(cls)
        }
        # What a hook put in front stays there, what it appended is furthest.
        first = len(list(takewhile(lambda mark: id(mark) not in ranks, marks)))
        rest = sorted(marks[first:], key=lambda mark: ranks.get(id(mark), len(ranks)))
        return [*marks[:first], *rest]
    of_set = {id(mark) for mark in getattr(getattr(node, "callspec", None), "marks", ())}
    if of_set:
        own = of_set | {id(mark) for mark in pytestmark_of(getattr(node, "obj", None))}
        first = len(list(takewhile(lambda mark: id(mark) not in own, marks)))
        return [
            *marks[:first],
            *(mark for mark in marks[first:] if id(mark) in of_set),
            *(mark for mark in marks[first:] if id(mark) not in of_set),
        ]
    return marks


def places(item: pytest.Function) -> Iterator[tuple[str, Sequence[pytest.Mark]]]:
    """Yield each place where marks are written side by side, and those of it."""
    yield "one parameter set", getattr(getattr(item, "callspec", None), "marks", ())
    yield f"the function {item.originalname}", pytestmark_of(item.obj)
    for node in item.listchain():
        if isinstance(node, pytest.Class):
            for cls in node.obj.__mro__:
                yield f"the class {cls.__name__}", pytestmark_of(cls)
        elif isinstance(node, pytest.Module):
            yield f"the module {node.name}", pytestmark_of(node.obj)


def pytestmark_of(obj: object) -> list[pytest.Mark]:
    """Return the marks written on a function, class or module itself."""
    found: Any = getattr(obj, "__dict__", {}).get("pytestmark", [])
    marks = found if isinstance(found, list) else [found]
    return [mark if isinstance(mark, pytest.Mark) else mark.mark for mark in marks]


def marked(
    place: object, config: pytest.Config
) -> Iterator[tuple[str, Any, Sequence[pytest.Mark]]]:
    """Yield the functions and classes of a module or class that have marks of the plugin."""
    for name, obj in list(vars(place).items()):
        # By its type: a proxy may raise an error where an attribute of it is read.
        if issubclass(type(obj), FunctionType | type) and "pytestmark" in vars(obj):
            ours = [mark for mark in pytestmark_of(obj) if is_ours(mark.name, config)]
            if ours:
                yield name, obj, ours


def params_of(item: pytest.Item) -> Mapping[str, object]:
    """Return the values that parametrisation gave a test, by argument."""
    callspec = getattr(item, "callspec", None)
    return callspec.params if callspec is not None else {}


def ids_of(item: pytest.Item) -> Sequence[str]:
    """Return the id of each parameter of a test: joined, they cannot be told apart."""
    ids: Sequence[str] = getattr(getattr(item, "callspec", None), "_idlist", ())
    return ids


def without_ids(item: pytest.Function, fixtures: Sequence[str]) -> pytest.Function:
    """Return a test without the ids of some of its parameters in its name.

    It would have none if the values of other models had not given them to all tests of the
    function, so neither its name nor that of its baselines depends on other models.
    """
    if not fixtures or _SHORT_KEY in item.stash:
        return item
    ids, params = list(ids_of(item)), params_of(item)
    for fixture in fixtures:
        ids.remove(str(params[fixture]))
    assert item.parent is not None
    named = type(item).from_parent(
        item.parent,
        name=f"{item.originalname}[{'-'.join(ids)}]" if ids else item.originalname,
        callspec=replace(item.callspec, _idlist=ids),
        callobj=item.obj,
        keywords={"-".join(ids): True} if ids else None,
        fixtureinfo=item._fixtureinfo,
        originalname=item.originalname,
    )
    named.own_markers[:] = item.own_markers  # with those that hooks added
    named.stash[_SHORT_KEY] = True
    return named


def multiplied(item: pytest.Function) -> dict[str, object]:
    """Return the values that the plugin itself gave a test when it multiplied it."""
    assert item.parent is not None
    by_plugin = item.parent.stash.get(MULTIPLIED_KEY, set())
    return {
        fixture: value
        for fixture, value in params_of(item).items()
        if (item.originalname, fixture) in by_plugin
    }
