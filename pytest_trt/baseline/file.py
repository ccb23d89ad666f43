"""Baseline files: one for each target and test module, made to be reviewed as a diff.

Tests are sorted and numbers rounded, and what belongs together stands on one line, so that a
change of one test is a change of a few lines.
"""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path, PurePosixPath
from typing import Any, ClassVar, Protocol, TypeAlias, TypeVar

from pytest_trt.baseline.entry import Entry
from pytest_trt.diagnostics import BaselineError, Remedy, as_typed, git_restore_commands
from pytest_trt.files import LFS_POINTER, LFS_PULL, atomic_write, open_regular
from pytest_trt.git import is_unmerged, was_committed
from pytest_trt.records import RecordError, from_data, parse_json, schema_of, to_data


class _Format(Protocol):
    #: The number of the format; files of any other format are refused.
    SCHEMA: ClassVar[int]


class _OnTarget(Protocol):
    @property
    def tests(self) -> Mapping[str, Any]: ...

    @property
    def text(self) -> str: ...


_File = TypeVar("_File", bound=_Format)

#: Returns what to do about an invalid file; called for such a file alone, as it may run git.
Fix: TypeAlias = Callable[[], Remedy]

_MARKER = re.compile(b"^<<<<<<< ", flags=re.MULTILINE)

#: Returns JSON on one line.
dumps = partial(json.dumps, ensure_ascii=False)

#: The folder of stored answers, beside the folders of targets; see `answers`.
ANSWERS = "answers"

#: How the folders of task metrics begin, one for each architecture; see `metrics`.
METRICS = "metrics"

#: Stands for ".." in paths of baseline files: a test module outside the folder that modules are
#: relative to.
_UP = "__up__"


@dataclass(frozen=True, slots=True)
class BaselineFile:
    """The baselines of one test module on one target.

    Attributes:
        target: What they were measured on: arch, and the device by label.
        tests: Entries by test, its name after the module's path: "TestSpeed::test_p99[fp16]".
    """

    SCHEMA: ClassVar[int] = 1

    target: Mapping[str, str]
    tests: Mapping[str, Entry]

    @property
    def text(self) -> str:
        """The file's text: sorted, with what belongs together on one line."""
        tests = {name: _entry(entry) for name, entry in self.tests.items()}
        return file_text(self.SCHEMA, self.target, tests)


def baseline_path(root: Path, target: Mapping[str, str], module: PurePosixPath) -> Path:
    """Return where the baselines of a test module are stored.

    Args:
        root: The folder of all baselines.
        target: What they are measured on: "arch" first, then the device.
        module: The test module, "tests/test_speed.py"; relative, also with "..".
    """
    slug = "-".join(_slug(value) for value in target.values() if value)
    return root / slug / module_file(module)


def module_file(module: PurePosixPath) -> PurePosixPath:
    """Return the file of a test module below the folder of a target; see `module_of`."""
    parts = [_UP if part == ".." else part for part in module.parts]
    return PurePosixPath(*parts).with_suffix(".json")


def _slug(text: str) -> str:
    return re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-")


def module_of(root: Path, path: Path) -> str:
    """Return the test module that a file below the folder of all baselines belongs to."""
    parts = [".." if part == _UP else part for part in path.relative_to(root).parts[1:]]
    return PurePosixPath(*parts).with_suffix(".py").as_posix()


def baseline_files(root: Path) -> list[Path]:
    """Return every file of speed baselines below the folder of all baselines, sorted."""
    found = (path for path in root.glob("*/**/*.json") if not path.name.startswith("."))
    return sorted(
        path
        for path in found
        if path.relative_to(root).parts[0] != ANSWERS and not is_of_metrics(root, path)
    )


def is_of_metrics(root: Path, path: Path) -> bool:
    """Whether a file below the folder of all baselines is of task metrics."""
    folder = path.relative_to(root).parts[0]
    return folder.partition("-")[0] == METRICS and not path.name.startswith(".")


def read_text(path: Path) -> bytes | None:
    """Return the bytes of a file of baselines, or None if it does not exist.

    Raises:
        BaselineError: It cannot be read.
    """
    try:
        with open_regular(path) as file:
            return file.readall()
    except FileNotFoundError:
        return None
    except OSError as error:
        raise BaselineError(
            f"baseline file {as_typed(path)} cannot be read: {error.strerror}",
            fix="Make it readable for this user.",
            code="TRT601",
            facts={"file": str(path)},
        ) from error


def content_of(kind: type[_File], text: bytes, name: str, *, fix: Fix) -> _File:
    """Return what a file of baselines holds.

    Raises:
        BaselineError: It is not valid, or of another format.
    """
    if _MARKER.search(text):
        raise _invalid(name, "it contains merge conflict markers", fix())
    if text.startswith(LFS_POINTER):
        raise _invalid(name, "it is a Git LFS pointer", LFS_PULL)
    try:
        data = parse_json(text)
        schema = schema_of(data)
        if schema != kind.SCHEMA:
            remedy = fix()
            raise BaselineError(
                f"the baseline file has format {schema}, but this version of pytest-trt reads "
                f"format {kind.SCHEMA}: {name}",
                fix=replace(
                    remedy, text=f"Use the version of pytest-trt that wrote it. {remedy.text}"
                ),
                code="TRT603",
                facts={"file": name, "schema": schema, "expected": kind.SCHEMA},
            )
        return from_data(kind, {field: data[field] for field in data if field != "schema"})
    except RecordError as error:
        raise _invalid(name, str(error), fix()) from error


def read_file(kind: type[_File], path: Path) -> _File | None:
    """Return what a file of baselines holds, or None if it does not exist.

    Raises:
        BaselineError: It cannot be read, is invalid, or of another format.
    """
    text = read_text(path)
    fix = partial(how_to_restore, path)
    return None if text is None else content_of(kind, text, as_typed(path), fix=fix)


parse_baselines = partial(content_of, BaselineFile)
read_baselines = partial(read_file, BaselineFile)


def _invalid(name: str, problem: str, fix: Remedy) -> BaselineError:
    return BaselineError(
        f"invalid baseline file {name}: {problem}",
        fix=fix,
        code="TRT602",
        facts={"file": name, "problem": problem},
    )


def how_to_restore(path: Path) -> Remedy:
    """Return how to get a usable file again without losing the one that cannot be used."""
    file, aside = shlex.quote(as_typed(path)), shlex.quote(f"{as_typed(path)}.broken")
    again = "pytest --trt-update-new"
    if is_unmerged(path):
        # Answers are two files, which belong together.
        data = path.with_suffix(".npz")
        both = f"{file} {shlex.quote(as_typed(data))}" if data.exists() else file
        return Remedy(
            "It is part of an unfinished merge. Take one side (--ours or --theirs), and record "
            "again what that lacks:",
            (f"git checkout --theirs -- {both}", again),
        )
    if _has_markers(path):
        return Remedy(
            "Restore it from a commit that has no markers, and record again what that lacks:",
            (*git_restore_commands(path), again),
        )
    if not was_committed(path):
        return Remedy(
            "No commit has it. Move it away and record again:", (f"mv {file} {aside}", again)
        )
    return Remedy(
        "Restore the file from git:",
        (f"git checkout -- {file}",),
        (f"Move it away and record again: `mv {file} {aside}`, then `{again}`",),
    )


def _has_markers(path: Path) -> bool:
    try:
        return _MARKER.search(read_text(path) or b"") is not None
    except BaselineError:
        return False


def write_baselines(path: Path, baselines: _OnTarget) -> None:
    """Write a file of baselines atomically, or remove it where it has no test any more.

    Raises:
        BaselineError: It can be neither written nor removed; the old file is unchanged.
    """
    try:
        if baselines.tests:
            atomic_write(path, baselines.text)
        else:
            path.unlink(missing_ok=True)
    except OSError as error:
        raise cannot_write(path, error) from error


def remove_tests(kind: type[_File], path: Path, tests: Collection[str]) -> None:
    """Remove the baselines of tests, and the file once it has no test any more.

    Raises:
        BaselineError: The file cannot be read or written.
    """
    found: Any = read_file(kind, path)
    if found is not None:
        left = {test: entry for test, entry in found.tests.items() if test not in tests}
        write_baselines(path, replace(found, tests=left))


def cannot_write(path: Path, error: OSError, option: str = "--trt-baseline-dir") -> BaselineError:
    """Return the error of a baseline file that can be neither written nor removed.

    Args:
        path: The file.
        error: Why.
        option: The option that names its folder.
    """
    return BaselineError(
        f"baseline file {as_typed(path)} cannot be written: {error.strerror}",
        fix=f"Free space or make the folder writable, or name another with {option}.",
        code="TRT604",
        facts={"file": str(path)},
    )


def file_text(schema: int, target: Mapping[str, str], tests: Mapping[str, str]) -> str:
    """Return the text of a file, given that of its entries."""
    entries = ",\n".join(f"    {json.dumps(name)}: {tests[name]}" for name in sorted(tests))
    return (
        f'{{\n  "schema": {schema},\n  "target": {dumps(dict(target))},\n'
        f'  "tests": {{\n{entries}\n  }}\n}}\n'
    )


#: Fields of an entry that have a line each.
_ON_A_LINE = ("mode", "spec", "engine", "noise", "accepted")

#: Those that are left out where there is nothing to say.
_OPTIONAL = ("noise", "accepted")


def _entry(entry: Entry) -> str:
    data = to_data(entry)
    runs = ",\n".join(_run(run) for run in data["runs"])
    labels = [label for label in _ON_A_LINE if data[label] or label not in _OPTIONAL]
    lines = [f'      "{label}": {dumps(data[label])}' for label in labels]
    if data["layers"]:
        rows = ",\n".join(f"        {dumps(row)}" for row in data["layers"])
        lines.append(f'      "layers": [\n{rows}\n      ]')
    return "{\n" + ",\n".join([*lines, f'      "runs": [\n{runs}\n      ]']) + "\n    }"


#: Fields of a run that have a line each.
_OF_RUN = ("recorded", "reason", "toolchain", "environment", "calls")


def _run(run: dict[str, Any]) -> str:
    rounds = run["rounds"]
    lines = [f'          "{label}": {dumps(run[label])}' for label in _OF_RUN]
    listed = ",\n".join(f'            "{metric}": {dumps(v)}' for metric, v in rounds.items())
    return (
        "        {\n" + ",\n".join([*lines, f'          "rounds": {{\n{listed}\n          }}'])
    ) + "\n        }"
