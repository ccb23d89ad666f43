"""The models that baselines name: those that no longer exist, and the new names of renamed ones.

Names of models are paths relative to the folder of the tests. Those of models elsewhere are bare
file names, and only the id of a test may show their path.
"""

from __future__ import annotations

import os
from collections.abc import Collection, Iterator
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path, PurePosixPath
from typing import TypeAlias, TypeVar

from pytest_trt.baseline.answers import AnswerEntry, AnswerFile, parse_answers
from pytest_trt.baseline.entry import Entry
from pytest_trt.baseline.file import (
    ANSWERS,
    BaselineFile,
    how_to_restore,
    is_of_metrics,
    module_file,
    parse_baselines,
    read_text,
)
from pytest_trt.baseline.location import BaselineFolder
from pytest_trt.baseline.metrics import MetricsEntry, MetricsFile, parse_metrics
from pytest_trt.diagnostics import as_typed

#: The content of a baseline file.
AnyFile: TypeAlias = "BaselineFile | AnswerFile | MetricsFile"

_AnyEntry = TypeVar("_AnyEntry", Entry, AnswerEntry, MetricsEntry)

_SUFFIX = ".onnx"


def model_of(entry: Entry | AnswerEntry | MetricsEntry) -> str:
    """Return the name of an entry's model; empty where it has none."""
    if isinstance(entry, Entry):
        return entry.spec.get("model", "")
    return entry.model if isinstance(entry, AnswerEntry) else ""


def is_of_bytes(entry: Entry | AnswerEntry | MetricsEntry, digest: str) -> bool:
    """Whether an entry is of a model with this digest."""
    stored = digest_in(entry)
    return bool(stored) and digest.startswith(stored)


def digest_in(entry: Entry | AnswerEntry | MetricsEntry) -> str:
    """Return the digest, or its beginning, of an entry's model; empty where it has none."""
    if isinstance(entry, AnswerEntry):
        return entry.model_digest
    return str(entry.engine.get("model", "")) if isinstance(entry, Entry) else ""


def with_model(entry: _AnyEntry, model: str) -> _AnyEntry:
    """Return an entry with its model under another name."""
    if isinstance(entry, Entry):
        return replace(entry, spec={**entry.spec, "model": model})
    return replace(entry, model=model) if isinstance(entry, AnswerEntry) else entry


@dataclass(frozen=True, slots=True)
class NamedBaseline:
    """A baseline by what it names.

    Attributes:
        base: The folder that test modules and models are named relative to.
        module: The test module.
        test: The test's name in it.
        model: The name of the model; empty where the entry has none.
    """

    base: Path
    module: str
    test: str
    model: str = ""

    def missing_model(self) -> str:
        """Return the model in the test's id if it does not exist any more; else nothing."""
        ids = list(self._ids())
        if not ids or any((self._folder / one).exists() for one in ids):
            return ""
        return _relative(self._folder / min(ids, key=len), self.base)

    def files(self) -> list[Path]:
        """Return the models in the test's id that exist."""
        files = (Path(os.path.normpath(self._folder / one)) for one in self._ids())
        return [file for file in files if file.is_file()]

    def names(self, model: str) -> bool:
        """Whether the test's id has a model, given relative to the base."""
        return any(_relative(self._folder / one, self.base) == model for one in self._ids())

    def renamed(self, old: str, new: str) -> tuple[str, str] | None:
        """Return the name of the test and of the model after a renaming; None if it has others.

        Args:
            old: A model, or a folder of models.
            new: What it is called now.
        """
        known = [self.base / self.model] if self.model else []
        paths = {_relative(self._folder / one, self.base): one for one in self._ids()}
        for path in (*paths, *(_relative(one, self.base) for one in known)):
            rest = _below(path, old)
            if rest is None or (rest and self._stays(path, new, rest)):
                continue
            file = Path(os.path.normpath(self.base / new / rest))
            test = self.test
            if path in paths:
                now = _relative(file, self._folder)
                name, bracket, parameters = test.removesuffix("]").partition("[")
                renamed = f"-{parameters}-".replace(f"-{paths[path]}-", f"-{now}-", 1)[1:-1]
                test = f"{name}{bracket}{renamed}]"
            inside = file.is_relative_to(self.base)
            return test, _relative(file, self.base) if inside else file.name
        return None

    def _stays(self, path: str, new: str, rest: str) -> bool:
        """Whether a model of a folder was not moved: others were moved out of it, or removed."""
        moved = (self.base / new / rest).exists() and not (self.base / path).exists()
        return (self.base / new).is_dir() and not moved

    @property
    def _folder(self) -> Path:
        return (self.base / self.module).parent

    def _ids(self) -> Iterator[str]:
        """Yield what in the parameters of the test may be the path of the model."""
        parts = self.test.removesuffix("]").partition("[")[2].split("-")
        ends = range(1, len(parts) + 1)
        for one in ("-".join(parts[start:end]) for end in ends for start in range(end)):
            if self._is_of(one):
                yield one

    def _is_of(self, one: str) -> bool:
        if "/" in self.model:
            return _relative(self._folder / one, self.base) == self.model
        name = PurePosixPath(one).name
        return name == self.model if self.model else name.endswith(_SUFFIX)


def missing_in_module(
    folder: BaselineFolder, module: Path, functions: Collection[str]
) -> dict[str, list[str]]:
    """Return the models of a module's baselines that do not exist any more, with their tests.

    Raises:
        BaselineError: A file cannot be read.
    """
    name = _relative(module, folder.base)
    found: dict[str, list[str]] = {}
    for path in sorted(folder.path.glob("*")):
        content = read_stored(folder.path, path / module_file(PurePosixPath(name)))
        for test, entry in (content.tests if content else {}).items():
            if test.partition("[")[0] in functions:
                model = NamedBaseline(folder.base, name, test, model_of(entry)).missing_model()
                if model:
                    found.setdefault(model, []).append(test)
    return found


def baselines_of(
    folder: BaselineFolder, module: Path, model: Path
) -> list[Entry | AnswerEntry | MetricsEntry]:
    """Return the baselines of a module that are of a model, which need not exist any more.

    Raises:
        BaselineError: A file cannot be read.
    """
    name, wanted = _relative(module, folder.base), _relative(model, folder.base)
    return [
        entry
        for path in sorted(folder.path.glob("*"))
        for content in [read_stored(folder.path, path / module_file(PurePosixPath(name)))]
        for test, entry in (content.tests if content else {}).items()
        if NamedBaseline(folder.base, name, test, model_of(entry)).names(wanted)
    ]


def read_stored(root: Path, path: Path) -> AnyFile | None:
    """Return the content of a file below the folder of all baselines; None if it does not exist.

    Raises:
        BaselineError: It cannot be read.
    """
    text = read_text(path)
    return None if text is None else parse_stored(root, path, text)


def parse_stored(root: Path, path: Path, text: bytes) -> AnyFile:
    """Return what such a file holds, given its bytes: those of the last commit, for instance.

    Raises:
        BaselineError: It is not valid, or of another format.
    """
    name, fix = as_typed(path), partial(how_to_restore, path)
    if is_of_metrics(root, path):
        return parse_metrics(text, name, fix=fix)
    if path.relative_to(root).parts[0] == ANSWERS:
        return parse_answers(text, name, fix=fix)
    return parse_baselines(text, name, fix=fix)


def _below(path: str, folder: str) -> str | None:
    """Return a path relative to a folder, "" if it is that one; None if it is elsewhere."""
    if path == folder:
        return ""
    return path.removeprefix(f"{folder}/") if path.startswith(f"{folder}/") else None


def _relative(path: Path, base: Path) -> str:
    return Path(os.path.relpath(path, base)).as_posix()


def moved_folder(old: str, new: str) -> tuple[str, str]:
    """Return the folders of which one became the other when a model was moved, or the models."""
    a, b = PurePosixPath(old), PurePosixPath(new)
    while a.name == b.name and a.parent.parts and b.parent.parts:
        a, b = a.parent, b.parent
    return str(a), str(b)
