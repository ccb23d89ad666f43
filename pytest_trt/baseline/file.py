"""Baseline files: one for each target and test module, made to be reviewed as a diff.

Tests are sorted and numbers rounded, and what belongs together stands on one line, so that a
change of one test is a change of a few lines.
"""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path, PurePosixPath
from typing import Any, TypeAlias, TypeVar

from pytest_trt.baseline.entry import Entry
from pytest_trt.diagnostics import BaselineError, Remedy, as_typed, git_restore_commands
from pytest_trt.files import atomic_write, open_regular
from pytest_trt.git import is_unmerged, was_committed
from pytest_trt.records import RecordError, from_data, parse_json, schema_of, to_data

_T = TypeVar("_T")

#: Returns what to do about an invalid file; called for such a file alone, as it may run git.
Fix: TypeAlias = Callable[[], Remedy]

_MARKER = re.compile(b"^<<<<<<< ", flags=re.MULTILINE)

#: Format of baseline files; files of any other format are refused.
BASELINE_SCHEMA = 1

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

    target: Mapping[str, str]
    tests: Mapping[str, Entry]


@dataclass(frozen=True, slots=True)
class _Content(BaselineFile):
    """The content of a file of this format."""

    schema: int


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


def read_baselines(path: Path) -> BaselineFile | None:
    """Return the baselines in a file, or None if it does not exist.

    Raises:
        BaselineError: It cannot be read, is invalid, or of another format.
    """
    text = read_text(path)
    fix = partial(how_to_restore, path)
    return None if text is None else parse_baselines(text, as_typed(path), fix=fix)


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


def parse_baselines(text: bytes, name: str, *, fix: Fix) -> BaselineFile:
    """Return the baselines that a file holds.

    Args:
        text: The file's bytes.
        name: The file's name in errors.
        fix: What to do if it is invalid.

    Raises:
        BaselineError: It is not a valid baseline file, or of another format.
    """
    content = content_of(_Content, text, name, BASELINE_SCHEMA, fix=fix)
    return BaselineFile(content.target, content.tests)


def content_of(kind: type[_T], text: bytes, name: str, format_: int, *, fix: Fix) -> _T:
    """Return what a file of baselines holds.

    Args:
        kind: The dataclass of its content.
        text: The file's bytes.
        name: The file's name in errors.
        format_: The number that its `schema` must be.
        fix: What to do if it is invalid.

    Raises:
        BaselineError: It is not valid, or of another format.
    """
    if _MARKER.search(text):
        raise _invalid(name, "it contains merge conflict markers", fix())
    try:
        data = parse_json(text)
        schema = schema_of(data)
        if schema != format_:
            remedy = fix()
            raise BaselineError(
                f"the baseline file has format {schema}, but this version of pytest-trt reads "
                f"format {format_}: {name}",
                fix=replace(
                    remedy, text=f"Use the version of pytest-trt that wrote it. {remedy.text}"
                ),
                code="TRT603",
                facts={"file": name, "schema": schema, "expected": format_},
            )
        return from_data(kind, data)
    except RecordError as error:
        raise _invalid(name, str(error), fix()) from error


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


def write_baselines(path: Path, baselines: BaselineFile) -> None:
    """Write a baseline file atomically.

    Raises:
        BaselineError: It cannot be written; the old file is unchanged.
    """
    try:
        atomic_write(path, as_text(baselines))
    except OSError as error:
        raise cannot_write(path, error) from error


def write_or_remove(path: Path, baselines: BaselineFile) -> None:
    """Write a baseline file, or remove it where it has no test any more.

    Raises:
        BaselineError: It can be neither written nor removed.
    """
    if baselines.tests:
        write_baselines(path, baselines)
        return
    try:
        path.unlink()
    except OSError as error:
        raise cannot_write(path, error) from error


def cannot_write(path: Path, error: OSError) -> BaselineError:
    """Return the error of a baseline file that can be neither written nor removed."""
    return BaselineError(
        f"baseline file {as_typed(path)} cannot be written: {error.strerror}",
        fix="Free space or make the folder writable, or name another with --trt-baseline-dir.",
        code="TRT604",
        facts={"file": str(path)},
    )


def as_text(baselines: BaselineFile) -> str:
    """Return a baseline file's text: sorted, with what belongs together on one line."""
    tests = ",\n".join(
        f"    {json.dumps(name)}: {_entry(baselines.tests[name])}"
        for name in sorted(baselines.tests)
    )
    target = json.dumps(dict(baselines.target), ensure_ascii=False)
    return (
        "{\n"
        f'  "schema": {BASELINE_SCHEMA},\n'
        f'  "target": {target},\n'
        f'  "tests": {{\n{tests}\n  }}\n'
        "}\n"
    )


#: Fields of an entry that have a line each.
_ON_A_LINE = ("mode", "spec", "engine", "noise", "accepted")

#: Those that are left out where there is nothing to say.
_OPTIONAL = ("noise", "accepted")


def _entry(entry: Entry) -> str:
    data = to_data(entry)
    runs = ",\n".join(_run(run) for run in data["runs"])
    labels = [label for label in _ON_A_LINE if data[label] or label not in _OPTIONAL]
    lines = [f'      "{label}": {_line(data[label])}' for label in labels]
    if data["layers"]:
        rows = ",\n".join(f"        {_line(row)}" for row in data["layers"])
        lines.append(f'      "layers": [\n{rows}\n      ]')
    return "{\n" + ",\n".join([*lines, f'      "runs": [\n{runs}\n      ]']) + "\n    }"


#: Fields of a run that have a line each.
_OF_RUN = ("recorded", "reason", "toolchain", "environment", "calls")


def _run(run: dict[str, Any]) -> str:
    rounds = run["rounds"]
    lines = [f'          "{label}": {_line(run[label])}' for label in _OF_RUN]
    listed = ",\n".join(f'            "{metric}": {_line(v)}' for metric, v in rounds.items())
    return (
        "        {\n" + ",\n".join([*lines, f'          "rounds": {{\n{listed}\n          }}'])
    ) + "\n        }"


def _line(value: object) -> str:
    return json.dumps(value, ensure_ascii=False)
