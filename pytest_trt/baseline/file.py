"""Baseline files: one for each target and test module, made to be reviewed as a diff.

Tests are sorted and numbers rounded, and what belongs together stands on one line, so that a
change of one test is a change of a few lines.
"""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from dataclasses import field as default
from pathlib import Path, PurePosixPath
from typing import Any

from pytest_trt.baseline.checks import MalformedError, checked_entry, field
from pytest_trt.baseline.entry import Entry
from pytest_trt.diagnostics import BaselineError
from pytest_trt.files import atomic_write

# History of the format:
#   1  first version; "noise" stands only in entries that were calibrated
#: Format of baseline files. A newer one is refused; an older one is migrated when it is read.
BASELINE_SCHEMA = 1


@dataclass(frozen=True, slots=True)
class BaselineFile:
    """The baselines of one test module on one target.

    Attributes:
        target: What they were measured on: arch, and the device by label.
        tests: Entries by test, its name behind the module's path: "TestSpeed::test_p99[fp16]".
    """

    target: Mapping[str, str]
    tests: Mapping[str, Entry] = default(default_factory=dict)


def baseline_path(root: Path, target: Mapping[str, str], module: str) -> Path:
    """Return where the baselines of a test module are kept.

    Args:
        root: The folder of all baselines.
        target: What they are measured on: "arch" first, then the device.
        module: The test module's path below pytest's root, "tests/test_speed.py".
    """
    slug = "-".join(_slug(value) for value in target.values() if value)
    return root / slug / PurePosixPath(module).with_suffix(".json")


def _slug(text: str) -> str:
    return re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-")


def module_of(root: Path, path: Path) -> str:
    """Return the test module that a file below the folder of all baselines belongs to."""
    return PurePosixPath(*path.relative_to(root).parts[1:]).with_suffix(".py").as_posix()


def baseline_files(root: Path) -> list[Path]:
    """Return every baseline file below the folder of all baselines, sorted."""
    return sorted(path for path in root.glob("*/**/*.json") if not path.name.startswith("."))


def read_baselines(path: Path) -> BaselineFile | None:
    """Return the baselines in a file, or None if there is none.

    Raises:
        BaselineError: It cannot be read, is no baseline file, or of a newer format.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        return None
    except OSError as error:
        raise BaselineError(
            f"the baseline file {path} cannot be read: {error.strerror}.",
            fix="make it readable for this user.",
        ) from error
    except UnicodeDecodeError as error:
        raise _damaged(str(path), str(error), how_to_restore(path)) from error
    return parse_baselines(text, str(path), fix=how_to_restore(path))


def parse_baselines(text: str, name: str, *, fix: str) -> BaselineFile:
    """Return the baselines that a file's text holds.

    Args:
        text: The text.
        name: What the file is called in errors.
        fix: What to do where it is broken.

    Raises:
        BaselineError: It is no baseline file, not whole, or of a newer format.
    """
    if re.search("^<<<<<<< ", text, flags=re.MULTILINE):
        raise _damaged(name, "it holds the markers of a merge conflict", fix)
    try:
        content = json.loads(text)
    except ValueError as error:
        raise _damaged(name, f"it is not JSON ({error})", fix) from error
    try:
        schema = field(content, "schema", int, "")
        if schema <= BASELINE_SCHEMA:
            target = field(content, "target", dict, "")
            tests = {
                test: _entry_of(test, data)
                for test, data in field(content, "tests", dict, "").items()
            }
            return BaselineFile({str(k): str(v) for k, v in target.items()}, tests)
    except MalformedError as error:
        raise _damaged(name, str(error), fix) from error
    raise BaselineError(
        f"the baseline file {name} has format {schema}; this version of pytest-trt reads up to "
        f"{BASELINE_SCHEMA}.",
        fix=f"update pytest-trt here; or {fix}",
    )


def _entry_of(test: str, data: object) -> Entry:
    try:
        return Entry.from_dict(checked_entry(data))
    except MalformedError as error:
        raise MalformedError(f"of the test {test!r}, {error}") from error


def _damaged(name: str, why: str, fix: str) -> BaselineError:
    return BaselineError(f"{name} is no whole baseline file: {why}.", fix=fix)


def how_to_restore(path: Path) -> str:
    """Return what to type to have a baseline again where one cannot be read; nothing is lost."""
    there, aside = shlex.quote(str(path)), shlex.quote(f"{path}.broken")
    return (
        f"restore it (`git checkout -- {there}`), or set it aside (`mv {there} {aside}`) and "
        "record it again (`pytest --trt-update-new`)."
    )


def write_baselines(path: Path, baselines: BaselineFile) -> None:
    """Write a baseline file, whole or not at all.

    Raises:
        BaselineError: It cannot be written; the file that was there is as it was.
    """
    try:
        atomic_write(path, as_text(baselines))
    except OSError as error:
        raise BaselineError(
            f"the baseline file {path} cannot be written: {error.strerror}.",
            fix="free space or make the folder writable; or name another with --trt-baseline-dir.",
        ) from error


def as_text(baselines: BaselineFile) -> str:
    """Return a baseline file's text: sorted, and a line for what belongs together."""
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


def _entry(entry: Entry) -> str:
    data = entry.to_dict()
    runs = ",\n".join(_run(run) for run in data["runs"])
    labels = [label for label in _ON_A_LINE if label in data]
    lines = [f'      "{label}": {_line(data[label])}' for label in labels]
    if data["layers"]:
        rows = ",\n".join(f"        {_line(row)}" for row in data["layers"])
        lines.append(f'      "layers": [\n{rows}\n      ]')
    return "{\n" + ",\n".join([*lines, f'      "runs": [\n{runs}\n      ]']) + "\n    }"


def _run(run: dict[str, Any]) -> str:
    rounds = run.pop("rounds")
    lines = [f'          "{label}": {_line(value)}' for label, value in run.items()]
    listed = ",\n".join(f'            "{metric}": {_line(v)}' for metric, v in rounds.items())
    return (
        "        {\n" + ",\n".join([*lines, f'          "rounds": {{\n{listed}\n          }}'])
    ) + "\n        }"


def _line(value: object) -> str:
    return json.dumps(value, ensure_ascii=False)
