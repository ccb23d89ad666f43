"""The models that a test's markers name: one, or several, once for each of which the test runs."""

from __future__ import annotations

import glob
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeGuard

from pytest_trt.diagnostics import ConfigurationError, Remedy
from pytest_trt.plugin.planning.keywords import NAMING, PER_MODEL, expect, invalid, listed, names_in
from pytest_trt.plugin.planning.stale_entries import StaleEntry
from pytest_trt.wording import known_names

if TYPE_CHECKING:
    import pytest

MODEL_MARKER = "trt_model"


@dataclass(frozen=True, slots=True)
class NamedModel:
    """One of the models that a test's markers name.

    Attributes:
        id: Its path relative to the folder of the test file, its key in a mapping, or the name of
            its fixture.
        path: The file, which may be missing; None where a fixture has not given it yet.
        given: The path as messages name it.
        fixture: The fixture that gives the path; empty if the marker does.
    """

    id: str
    path: Path | None
    given: str
    fixture: str = ""

    @property
    def names(self) -> tuple[str, ...]:
        """What `per_model` may call it."""
        return (self.id,) if self.path is None else (self.id, self.given, str(self.path))


@dataclass(frozen=True, slots=True)
class NamedModels:
    """The models that a test's markers name.

    Attributes:
        models: The models, in the order in which tests are.
        several: Whether they are given as a list, a mapping or a pattern: ids of tests then name
            the model, even a single one, so that a second one renames no test.
    """

    models: tuple[NamedModel, ...] = ()
    several: bool = False


def named_models(marks: Iterable[pytest.Mark], test_file: Path) -> NamedModels:
    """Return the models that the closest marker with a model names.

    Raises:
        ConfigurationError: No trt_model marker names a model, or one names something else.
    """
    marks = model_marks(marks)
    if not marks:
        return NamedModels()
    closest = next(filter(_names_model, reversed(marks)), marks[0])
    if "fixture" in closest.kwargs:
        return NamedModels((_of_fixture(closest),))
    value = closest.args[0] if closest.args else closest.kwargs.get("model")
    if value is None:
        raise ConfigurationError(
            "trt_model names no model",
            fix='name it first: trt_model("models/classifier.onnx", ...).',
            code="TRT151",
            facts={"marker": MODEL_MARKER},
        )
    if isinstance(value, Mapping):
        _require_some(value)
        return NamedModels(tuple(_of_mapping(value, test_file)), several=True)
    if _is_path(value) and _pattern(value, test_file) is None:
        return NamedModels((model_of(value, test_file),))
    several = value if isinstance(value, list | tuple) else [value]
    _require_some(several)
    return NamedModels(tuple(_of_list(several, test_file)), several=True)


def model_marks(marks: Iterable[pytest.Mark]) -> list[pytest.Mark]:
    """Return the `trt_model` markers of a test that count, the closest last.

    A marker that names a model discards the outer ones, except those outside of every model.
    """
    counting: list[pytest.Mark] = []
    for_all: list[pytest.Mark] | None = None
    for mark in reversed([mark for mark in marks if mark.name == MODEL_MARKER]):
        if _names_model(mark):
            for_all = counting if for_all is None else for_all
            counting = [*for_all]
        counting.append(mark)
    return counting


def _names_model(mark: pytest.Mark) -> bool:
    return bool(mark.args) or any(name in mark.kwargs for name in NAMING)


def _of_fixture(mark: pytest.Mark) -> NamedModel:
    fixture = mark.kwargs["fixture"]
    if mark.args or "model" in mark.kwargs:
        raise invalid(
            MODEL_MARKER,
            "trt_model was given a model and fixture=, but a test has one source of its model",
            "give one of them.",
        )
    expect(
        isinstance(fixture, str) and fixture.isidentifier(),
        MODEL_MARKER,
        "fixture",
        fixture,
        "the name of a fixture that returns the path of an ONNX file",
    )
    return NamedModel(fixture, None, "", fixture)


def check_per_model(
    marks: Sequence[pytest.Mark], models: Sequence[NamedModel], several_of: Path | None = None
) -> list[StaleEntry]:
    """Refuse keywords for a model that the markers do not name: they would have no effect.

    Args:
        marks: The test's marks.
        models: The models that they name.
        several_of: The test's file if the models are a list, a mapping or a pattern: a model may
            have been removed or left out since, and its entry is returned.

    Raises:
        ConfigurationError: There are some, or they are given twice for one model.
    """
    counting = [*model_marks(marks), *(mark for mark in marks if mark.name != MODEL_MARKER)]
    found: list[StaleEntry] = []
    for mark in counting:
        given = names_in(mark)
        known = {name: model.id for model in models for name in model.names} if given else {}
        for name in given:
            where = f"{mark.name}: {PER_MODEL} names {name!r}"
            if name not in known:
                free = [model.id for model in models if not set(model.names) & set(given)]
                stale = several_of and StaleEntry.of(name, mark.name, free, several_of)
                if stale:
                    found.append(stale)
                    continue
                raise invalid(
                    mark.name,
                    f"{where}, which is not a model of the test",
                    known_names("model", name, free or [model.id for model in models]),
                )
            several = [model.id for model in models if name in model.names]
            if len(several) > 1:
                raise invalid(
                    mark.name,
                    f"{where}, which is several: {listed(several)}",
                    "name one by its id.",
                )
            if any(known[name] == known.get(other) for other in given if other != name):
                raise invalid(
                    mark.name, f"{where} and the same model by another name", "name it once."
                )
    return found


def _of_mapping(value: Mapping[Any, Any], test_file: Path) -> Iterator[NamedModel]:
    for key, path in value.items():
        if not isinstance(key, str) or not key:
            raise invalid(
                MODEL_MARKER, f"trt_model: {key!r} is not an id of a model", "give non-empty text."
            )
        yield model_of(path, test_file, key)


def _of_list(values: Sequence[Any], test_file: Path) -> Iterator[NamedModel]:
    found: dict[str, NamedModel] = {}
    plain: list[str] = []
    for value in values:
        pattern = _pattern(value, test_file) if _is_path(value) else None
        if pattern is None:
            one = model_of(value, test_file)
            plain.append(one.id)
            found[one.id] = one
        else:  # patterns may overlap
            matched = (model_of(path, test_file) for path in _matches(pattern, test_file))
            found.update({one.id: one for one in matched})
    twice = [model for model in dict.fromkeys(plain) if plain.count(model) > 1]
    if twice:
        raise invalid(
            MODEL_MARKER, f"trt_model names a model twice: {listed(twice)}", "name each once."
        )
    yield from found.values()


def _require_some(values: Sequence[Any] | Mapping[Any, Any]) -> None:
    if not values:
        raise invalid(
            MODEL_MARKER,
            f"trt_model: {values!r} names no model",
            "give at least one path of an ONNX file.",
        )


def _is_path(value: object) -> TypeGuard[str | Path]:
    return isinstance(value, str | Path)


def _pattern(value: str | Path, test_file: Path) -> str | None:
    """Return a path as a pattern; None for one without wildcards, or of a file that has such."""
    text = str(value)
    if not glob.has_magic(text) or os.path.lexists(test_file.parent / text):
        return None
    return text


def _matches(pattern: str, test_file: Path) -> list[str]:
    start = test_file.parent
    # Unlike Path.glob, it takes absolute patterns and leaves out hidden files.
    found = glob.glob(pattern, root_dir=start, recursive=True)  # noqa: PTH207
    files = sorted(path for path in found if (start / path).is_file())
    if files:
        return files
    models = models_in(start / Path(pattern).parent, start) or models_in(start, start)
    where = "correct the pattern, which is relative to the test file"
    raise ConfigurationError(
        f"no model matches the pattern {pattern}",
        fix=Remedy(f"{where}. Models there:" if models else f"{where}.", alternatives=models),
        code="TRT156",
        facts={"model": pattern, "path": str(start)},
    )


def models_in(folder: Path, start: Path) -> tuple[str, ...]:
    """Return the first models in a folder, relative to another one."""
    found = sorted(folder.glob("*.onnx"))[:5] if folder.is_dir() else []
    return tuple(Path(os.path.relpath(path, start)).as_posix() for path in found)


def model_of(value: object, test_file: Path, name: str = "") -> NamedModel:
    """Return the model of a path that a marker gives, and its id in a mapping.

    Raises:
        ConfigurationError: The value is not a path.
    """
    if not _is_path(value):
        raise invalid(
            MODEL_MARKER,
            f"trt_model: {value!r} is not a path",
            "give the path of an ONNX file.",
        )
    path = Path(os.path.normpath(test_file.parent / value))
    relative = Path(os.path.relpath(path, test_file.parent)).as_posix()
    return NamedModel(name or relative, path, str(value))
