"""What each run in this process would find out again, although none of it changes.

pytest and its plugins read the metadata of what is installed, look for hooks and fixtures in their
own modules, start `file` and `git`, and parse files for their tracebacks, in every run: that takes
a third of a small one.
"""

from __future__ import annotations

import ast
import functools
import importlib.metadata
import os
import platform
import sys
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import ModuleType
from typing import Any

import pytest
from _pytest._code import code
from _pytest.fixtures import FixtureManager

#: What is installed does not change while tests run; what tests write is somewhere else.
_INSTALLED = os.path.join(sys.prefix, "")  # noqa: PTH118


@contextmanager
def installed_packages_remembered() -> Iterator[None]:
    """Let all runs within know what the first of them found."""
    distribution, manager = importlib.metadata.PathDistribution, pytest.PytestPluginManager
    with pytest.MonkeyPatch.context() as patch:
        for name in ("metadata", "entry_points", "files"):
            patch.setattr(distribution, name, property(_of_path(getattr(distribution, name).fget)))
        patch.setattr(platform, "architecture", functools.cache(platform.architecture))
        if name_of_project := getattr(_benchmark_utils(), "get_project_name", None):
            patch.setattr(name_of_project, "functions", [])  # else git and hg are asked
        hooks = _of_module(manager.parse_hookimpl_opts)
        patch.setattr(manager, "parse_hookimpl_opts", hooks)
        factories = _where_fixtures_are(FixtureManager.parsefactories)
        patch.setattr(FixtureManager, "parsefactories", factories)
        ranges = _parsed_once(code.getstatementrange_ast)
        patch.setattr(code, "getstatementrange_ast", ranges)
        yield


def _benchmark_utils() -> ModuleType | None:
    return sys.modules.get("pytest_benchmark.utils")


def _of_path(original: Callable[[Any], Any]) -> Callable[[Any], Any]:
    found: dict[str, Any] = {}

    def get(distribution: Any) -> Any:
        path = str(distribution._path)
        if not path.startswith(_INSTALLED):
            return original(distribution)
        if path not in found:
            found[path] = original(distribution)
        return found[path]

    return get


def _of_module(original: Callable[..., Any]) -> Callable[..., Any]:
    found: dict[tuple[ModuleType, str], Any] = {}

    def parse_hookimpl_opts(manager: object, plugin: object, name: str) -> Any:
        if not isinstance(plugin, ModuleType) or not _is_installed(plugin):
            return original(manager, plugin, name)
        if (plugin, name) not in found:
            found[plugin, name] = original(manager, plugin, name)
        return found[plugin, name]

    return parse_hookimpl_opts


def _where_fixtures_are(original: Callable[..., None]) -> Callable[..., None]:
    def parsefactories(manager: object, *args: Any, **options: Any) -> None:
        holder = options.get("holder", args[0] if args else None)
        where = holder if isinstance(holder, ModuleType) else type(holder)
        # A node, for its object, where pytest is older.
        is_node = isinstance(holder, pytest.Item | pytest.Collector)
        if is_node or not _is_installed(where) or _has_fixtures(where):
            original(manager, *args, **options)

    return parsefactories


def _parsed_once(original: Callable[..., Any]) -> Callable[..., Any]:
    @functools.lru_cache(maxsize=100)
    def parse(text: str) -> ast.Module:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return ast.parse(text)

    def getstatementrange_ast(
        lineno: int, source: Any, assertion: bool = False, astnode: ast.AST | None = None
    ) -> Any:
        return original(lineno, source, assertion, astnode or parse(str(source)))

    return getstatementrange_ast


@functools.cache
def _is_installed(where: ModuleType | type) -> bool:
    module = where if isinstance(where, ModuleType) else sys.modules.get(where.__module__)
    return (getattr(module, "__file__", None) or "").startswith(_INSTALLED)


@functools.cache
def _has_fixtures(where: ModuleType | type) -> bool:
    return any(
        # The attribute is that of pytest before 8.4.
        type(one).__name__ == "FixtureFunctionDefinition" or hasattr(one, "_pytestfixturefunction")
        for one in (getattr(where, name, None) for name in dir(where))
    )
