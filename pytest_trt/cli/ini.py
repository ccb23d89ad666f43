"""The plugin's folders as the project configures them: the ini file, read as pytest reads it.

Without importing pytest. Of the command line that pytest would get, `addopts` and PYTEST_ADDOPTS
count too.
"""

from __future__ import annotations

import importlib
import os
import shlex
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any

from pytest_trt.baseline.location import BaselineFolder, find_folder
from pytest_trt.diagnostics import ConfigurationError
from pytest_trt.engine.cache import default_cache_dir

#: Files of a folder that may configure pytest, in its order. Those without a section that must be
#: there always do.
#: Source: pytest, "Configuration", https://docs.pytest.org/en/stable/reference/customize.html
_NAMES = (
    "pytest.toml",
    ".pytest.toml",
    "pytest.ini",
    ".pytest.ini",
    "pyproject.toml",
    "tox.ini",
    "setup.cfg",
)


@dataclass(frozen=True, slots=True)
class Project:
    """How pytest is configured in a folder.

    Attributes:
        rootdir: pytest's root folder.
        ini: The file that configures it; None if there is none.
        values: The values in it.
    """

    rootdir: Path
    ini: Path | None = None
    values: Mapping[str, Any] = field(default_factory=dict)

    def folder(self, name: str) -> Path | None:
        """Return the folder that an option names, such as "baseline_dir"; None if none does."""
        flag = f"--trt-{name.replace('_', '-')}"
        added, variable = self.values.get("addopts", []), os.environ.get("PYTEST_ADDOPTS", "")
        words = [*_words(added, f"{self.ini}: addopts"), *_words(variable, "PYTEST_ADDOPTS")]
        found = None
        for word, following in pairwise([*words, ""]):
            given, equals, value = word.partition("=")
            if given == flag:
                found = named_folder(value if equals else following, flag).absolute()
        given_ini: object = self.values.get(f"trt_{name}")
        if found is None and isinstance(given_ini, str) and given_ini.strip():
            found = self.rootdir / named_folder(given_ini.strip(), f"{self.ini}: trt_{name}")
        return found

    def baselines(self, given: Path | None = None, tests: Path | None = None) -> BaselineFolder:
        """Return the folder of baselines: the given one, the configured one, or the default.

        Args:
            given: The folder that the command line names.
            tests: Where the tests are; by default in the current folder.
        """
        named = named_folder(str(given), "--baseline-dir").absolute() if given else None
        chosen = named or self.folder("baseline_dir")
        has_ini, start = self.ini is not None, tests or Path.cwd()
        return find_folder(start, rootdir=self.rootdir, has_ini=has_ini, configured=chosen)

    def cache(self, given: Path | None = None) -> Path:
        """Return the engine cache: the given folder, the configured one, or the user's."""
        named = named_folder(str(given), "--cache-dir") if given else self.folder("cache_dir")
        return (named or default_cache_dir()).absolute()


def _words(given: object, where: str) -> list[str]:
    """Return the words of a command line: a text, or a list of them."""
    try:
        if isinstance(given, str):
            return shlex.split(given)
        if isinstance(given, list) and all(isinstance(one, str) for one in given):
            return given
    except ValueError as error:
        raise _refused(where, f"{error} in {given!r}") from error
    raise _refused(where, f"expected a text or a list of texts, found {given!r}")


def named_folder(given: str, where: str) -> Path:
    """Return a folder that someone named; "~" stands for the user's own.

    Raises:
        ConfigurationError: No system has such a path, or there is no such user.
    """
    try:
        if "\0" not in given:
            return Path(given).expanduser()
    except RuntimeError as error:  # there is no such user
        raise _refused(where, f"{given}: {error}") from error
    raise _refused(where, f"expected a folder, found {given!r}")


def _refused(where: str, problem: str) -> ConfigurationError:
    return ConfigurationError(
        f"{where}: {problem}", fix="Correct the value; pytest refuses it as well."
    )


def read_project(start: Path | None = None) -> Project:
    """Return how pytest is configured in a folder, by default the current one.

    Raises:
        ConfigurationError: The ini file is not valid.
    """
    start = start or Path.cwd()
    pyproject = None
    for folder in (start, *start.parents):
        for name in _NAMES:
            path = folder / name
            if not path.is_file():
                continue
            values = _values(path)
            if values is not None:
                return Project(folder, path, values)
            if name == "pyproject.toml" and pyproject is None:
                pyproject = path
    # As pytest does: without any configuration, a pyproject.toml still marks the root folder.
    return Project(pyproject.parent, pyproject) if pyproject else Project(start)


def _values(path: Path) -> Mapping[str, Any] | None:
    """Return what a file configures; None if it does not configure pytest."""
    try:
        if path.suffix == ".toml":
            return _toml_values(path)
        return _ini_values(path)
    except (OSError, ValueError, RecursionError) as error:
        raise ConfigurationError(
            f"{path}: {error}", fix="Correct the file; pytest cannot read it either."
        ) from error


def _toml_values(path: Path) -> Mapping[str, Any] | None:
    # On Python 3.10, pytest depends on tomli.
    tomllib = importlib.import_module("tomllib" if sys.version_info >= (3, 11) else "tomli")
    content = tomllib.loads(path.read_text(encoding="utf-8"))
    if path.name != "pyproject.toml":
        return _table(content, "pytest") or {}
    table = _table(_table(content, "tool") or {}, "pytest")
    if table is None:
        return None
    options = _table(table, "ini_options")
    return table if options is None else options


def _table(content: Mapping[str, Any], name: str) -> Mapping[str, Any] | None:
    found = content.get(name)
    if found is None or isinstance(found, dict):
        return found
    raise ValueError(f"expected a table {name}, found {str(found)[:40]}")


def _ini_values(path: Path) -> Mapping[str, str] | None:
    import iniconfig  # pytest depends on it

    try:
        content = iniconfig.IniConfig(str(path))
    except iniconfig.ParseError as error:
        raise ValueError(str(error)) from error
    section = "tool:pytest" if path.name == "setup.cfg" else "pytest"
    if section in content:
        return dict(content[section].items())
    return {} if path.name in ("pytest.ini", ".pytest.ini") else None
