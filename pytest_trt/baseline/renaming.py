"""Baselines under another name: of a test or model that was renamed, or of a module that moved.

The new place is written before the old one is cleared, each file atomically. Whoever is interrupted
in between has both, and completes it by doing the same again.
"""

from __future__ import annotations

import re
import shlex
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from difflib import SequenceMatcher
from functools import partial
from pathlib import Path, PurePosixPath
from typing import Any, TypeVar

from pytest_trt.baseline.answers import (
    AnswerEntry,
    AnswerFile,
    answer_files,
    read_answers,
    read_data,
    write_answers,
)
from pytest_trt.baseline.entry import Entry
from pytest_trt.baseline.file import (
    ANSWERS,
    BaselineFile,
    baseline_files,
    is_of_metrics,
    module_file,
    module_of,
    read_file,
    write_baselines,
)
from pytest_trt.baseline.metrics import (
    MetricsEntry,
    MetricsFile,
    metrics_files,
)
from pytest_trt.baseline.models import (
    NamedBaseline,
    model_of,
    moved_folder,
    read_stored,
    with_model,
)
from pytest_trt.baseline.staged import only_writer
from pytest_trt.diagnostics import BaselineError, Remedy, as_typed

_AnyEntry = TypeVar("_AnyEntry", Entry, AnswerEntry, MetricsEntry)
_OnTarget = TypeVar("_OnTarget", BaselineFile, MetricsFile)


@dataclass(frozen=True, slots=True)
class Move:
    """The baselines of one file that get other names.

    Attributes:
        source: The file.
        target: The file that they move to, perhaps the same.
        tests: The new name of each test.
        models: The new name of each test's model, where it was renamed.
        replaced: New names under which there is another baseline, which is replaced.
    """

    source: Path
    target: Path
    tests: Mapping[str, str]
    models: Mapping[str, str] = field(default_factory=dict)
    replaced: tuple[str, ...] = ()

    def entry(self, test: str, entry: _AnyEntry) -> _AnyEntry:
        """Return the entry of a test as it is after the renaming."""
        return with_model(entry, self.models[test]) if self.models.get(test) else entry


def is_of_models(name: str) -> bool:
    """Whether a name is that of a model or a folder of models: no node id, no test module."""
    return "::" not in name and PurePosixPath(name).suffix != ".py"


def planned_moves(
    root: Path, old: str, new: str, base: Path | None = None, *, replacing: bool = False
) -> list[Move]:
    """Return what a renaming moves: speeds of every target, answers and task metrics.

    Args:
        root: The folder of all baselines.
        old: A node id, whose parameters and methods are meant too, a module, a model, or a folder
            of models.
        new: Another one of the same kind. If it has parameters, the one test is meant.
        base: The folder that modules and models are named relative to; by default the one that the
            folder of all baselines is in.
        replacing: Whether baselines that have the new name are replaced.

    Raises:
        BaselineError: A file cannot be read, nothing has the old name, or a baseline would be
            overwritten.
    """
    paths = (*baseline_files(root), *answer_files(root), *metrics_files(root))
    if is_of_models(old):
        found = [_of_models(root, path, old, new, base or root.parent) for path in paths]
    else:
        found = [_of_tests(root, path, old, new) for path in paths]
    moves = [one for one in found if one.tests]
    others = [one for one in moves if _slug_of(root, one.source) != ANSWERS]
    if others and _adds_parameters(old, new):
        moves = others  # answers have no precision in their names: theirs may be the same
    if not moves:
        raise BaselineError(
            f"there is no baseline of {old}",
            fix=Remedy(
                "Name a test, a module or a model that has one:", ("pytest-trt baseline list",)
            ),
            code="TRT630",
            facts={"name": old},
        )
    moves = [replace(move, replaced=tuple(_overwritten(root, move))) for move in moves]
    for move in () if replacing else moves:
        for name in move.replaced:
            raise _would_overwrite(move.target, name, old, new)
    return moves


def _of_tests(root: Path, path: Path, old: str, new: str) -> Move:
    (old_module, _, old_test), (new_module, _, new_test) = old.partition("::"), new.partition("::")
    target = root / _slug_of(root, path) / module_file(PurePosixPath(new_module))
    if module_of(root, path) != PurePosixPath(old_module).as_posix():
        return Move(path, target, {})
    content = read_stored(root, path)
    names = content.tests if content else {}
    found = {test: _renamed(test, old_test, new_test) for test in names}
    return Move(path, target, {test: name for test, name in found.items() if name})


def _of_models(root: Path, path: Path, old: str, new: str, base: Path) -> Move:
    tests: dict[str, str] = {}
    models: dict[str, str] = {}
    content, module = read_stored(root, path), module_of(root, path)
    for test, entry in (content.tests if content else {}).items():
        found = NamedBaseline(base, module, test, model_of(entry)).renamed(old, new)
        if found is not None:
            tests[test], models[test] = found
    return Move(path, path, tests, models)


def _renamed(test: str, old: str, new: str) -> str:
    """Return the new name of a test of the module; empty if it keeps its name."""
    if not old:
        return test
    rest = test.removeprefix(old)
    if rest and "[" in new:  # the test without parameters alone
        return ""
    return new + rest if test.startswith(old) and (not rest or rest[0] in "[:") else ""


def _adds_parameters(old: str, new: str) -> bool:
    """Whether two node ids are of one test, of which the new one has further parameters."""
    (test, ids), (new_test, new_ids) = _parts(old), _parts(new)
    before, now = (Counter(one.removesuffix("]").split("-")) for one in (ids, new_ids))
    return test == new_test and ids != new_ids and before - Counter([""]) <= now


def _slug_of(root: Path, path: Path) -> str:
    return path.relative_to(root).parts[0]


def _overwritten(root: Path, move: Move) -> Iterator[str]:
    """Yield the new names under which there is another baseline."""
    source, target = read_stored(root, move.source), read_stored(root, move.target)
    if source is None or target is None:
        return
    for test, name in move.tests.items():
        there = target.tests.get(name) if name != test or move.source != move.target else None
        entry: Any = source.tests[test]
        # An interrupted renaming has left the same there.
        if there is not None and there != move.entry(test, entry):
            yield name


def _would_overwrite(target: Path, name: str, old: str, new: str) -> BaselineError:
    keep_old = shlex.join(["pytest-trt", "baseline", "rename", "--replace", old, new])
    return BaselineError(
        f"{as_typed(target)} has another baseline of {name}; nothing was renamed",
        fix=Remedy(
            "To replace it with the old one:",
            (keep_old,),
            (
                f"to compare it first: `pytest-trt baseline show {shlex.quote(name)}`",
                "to keep it and remove the old one: `pytest-trt baseline prune`",
            ),
        ),
        code="TRT652",
        facts={"file": str(target), "test": name, "command": keep_old},
    )


def rename_baselines(
    root: Path, old: str, new: str, base: Path | None = None, *, replacing: bool = False
) -> list[Move]:
    """Rename baselines, and return what was moved; see `planned_moves`.

    Raises:
        BaselineError: As there; or a file cannot be written, and no baseline is lost.
    """
    plan = partial(planned_moves, root, old, new, base, replacing=replacing)
    folders = {one.parent for move in plan() for one in (move.source, move.target)}
    with ExitStack() as held:
        for folder in sorted(folders):  # sorted, so that two renamings cannot block each other
            held.enter_context(only_writer(folder))
        moves = plan()  # as it is now that nobody else writes
        for move in moves:
            if _slug_of(root, move.source) == ANSWERS:
                _move_answers(move)
            elif is_of_metrics(root, move.source):
                _move(move, MetricsFile)
            else:
                _move(move, BaselineFile)
    return moves


def _move(move: Move, kind: type[_OnTarget]) -> None:
    source = read_file(kind, move.source)
    assert source is not None  # planned while nobody else writes
    moved, left = _split(source.tests, move)
    if move.source == move.target:
        write_baselines(move.source, replace(source, tests={**left, **moved}))
        return
    target = read_file(kind, move.target) or replace(source, tests={})
    write_baselines(move.target, replace(target, tests={**target.tests, **moved}))
    write_baselines(move.source, replace(source, tests=left))


def _move_answers(move: Move) -> None:
    source = read_answers(move.source)
    assert source is not None  # planned while nobody else writes
    moved, left = (AnswerFile(one) for one in _split(source.tests, move))
    data = read_data(move.source, source.data)
    if move.source == move.target:
        both = AnswerFile({**left.tests, **moved.tests})
        write_answers(move.source, both, {digest: data[digest] for digest in both.data})
        return
    target = read_answers(move.target) or AnswerFile({})
    there = read_data(move.target, target.data) if target.tests else {}
    both, numbers = AnswerFile({**target.tests, **moved.tests}), {**there, **data}
    write_answers(move.target, both, {digest: numbers[digest] for digest in both.data})
    write_answers(move.source, left, {digest: data[digest] for digest in left.data})


def _split(
    tests: Mapping[str, _AnyEntry], move: Move
) -> tuple[dict[str, _AnyEntry], dict[str, _AnyEntry]]:
    """Return entries by their new names, and those that keep theirs."""
    names = move.tests
    moved = {names[one]: move.entry(one, entry) for one, entry in tests.items() if one in names}
    return moved, {test: entry for test, entry in tests.items() if test not in names}


# --- proposals


@dataclass(frozen=True, slots=True)
class Proposal:
    """A baseline without a test, that may be the one of a test without a baseline.

    Attributes:
        command: What moves it.
        old_model: The old name of the model, where that was renamed or moved; else empty.
        new_model: Its new name.
    """

    command: str
    old_model: str = ""
    new_model: str = ""

    @property
    def text(self) -> str:
        """What was renamed, and what to do."""
        if self.old_model:
            return (
                f"{self.old_model} was renamed to {self.new_model} (the same bytes). Move its "
                "baselines, and commit the files:"
            )
        return "If the test was renamed, move its baseline, and commit the files:"


def model_proposal(base: Path, missing: Collection[str], old: str, new: str) -> Proposal:
    """Return the renaming of a model, or of the folder where several were moved together.

    Args:
        base: The folder that models are named relative to.
        missing: All models that have baselines, and do not exist any more.
        old: One of them.
        new: What it is called now.
    """
    folder, now = moved_folder(old, new)
    moved = [
        one
        for one in missing
        if one.startswith(f"{folder}/") and (base / now / one.removeprefix(f"{folder}/")).exists()
    ]
    both = (folder, now) if len(moved) > 1 else (old, new)
    command = shlex.join(["pytest-trt", "baseline", "rename", *both])
    return Proposal(command, old, new)


def rename_command(nodeid: str, fitting: Iterable[str], exists: Callable[[str], bool]) -> str:
    """Return the command that moves a fitting baseline to a test that has none; empty for none.

    Args:
        nodeid: The test.
        fitting: Node ids of baselines, without a test, that are of the same inputs or spec.
        exists: Whether a test module still exists.
    """

    def likeness(other: str) -> tuple[bool, float]:
        same_name = other.partition("::")[2] == nodeid.partition("::")[2]
        return same_name, SequenceMatcher(a=other, b=nodeid, autojunk=False).ratio()

    old, new = max(fitting, key=likeness, default=""), nodeid
    if not old:
        return ""
    (old_test, old_parameters), (new_test, new_parameters) = map(_parts, (old, new))
    if old_parameters == new_parameters:
        old, new = old_test, new_test
    (module, _, name), (new_module, _, new_name) = old.partition("::"), new.partition("::")
    if name == new_name and not exists(module):
        old, new = module, new_module
    return f"pytest-trt baseline rename {shlex.quote(old)} {shlex.quote(new)}"


def _parts(nodeid: str) -> tuple[str, str]:
    test, _, parameters = nodeid.partition("[")
    return test, parameters


def is_mentioned(test: str, source: str) -> bool:
    """Whether the source of a test module has the words of a test's name: the test may exist.

    Args:
        test: The test's name in the module, with its classes and parameters.
        source: The module's source.
    """
    names = test.partition("[")[0].split("::")
    return all(re.search(rf"\b{re.escape(name)}\b", source) for name in names)
