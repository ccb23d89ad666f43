"""Baseline files: one for each target and test module, made to be reviewed as a diff.

Tests are sorted and numbers rounded, and what belongs together stands on one line, so that a
change of one test is a change of a few lines.
"""

from __future__ import annotations

import json
import os
import re
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any

from pytest_trt.baseline.entry import Entry
from pytest_trt.errors import BaselineError

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
    tests: Mapping[str, Entry] = field(default_factory=dict)


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
        raise _damaged(path, str(error)) from error
    try:
        return _parse(path, json.loads(text))
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise _damaged(path, f"{type(error).__name__}: {error}") from error


def _parse(path: Path, content: Mapping[str, Any]) -> BaselineFile:
    schema = content["schema"]
    if not isinstance(schema, int) or schema > BASELINE_SCHEMA:
        raise BaselineError(
            f"the baseline file {path} has format {schema}; this version of pytest-trt reads up to "
            f"{BASELINE_SCHEMA}.",
            fix="update pytest-trt here, or record the baselines with this version: --trt-update.",
        )
    return BaselineFile(
        target={str(k): str(v) for k, v in content["target"].items()},
        tests={str(test): Entry.from_dict(data) for test, data in content["tests"].items()},
    )


def _damaged(path: Path, why: str) -> BaselineError:
    if "<<<<<<<" in path.read_text(encoding="utf-8", errors="replace"):
        why = "it holds the markers of a merge conflict"
    return BaselineError(
        f"{path} is no whole baseline file: {why}.",
        fix="restore it from version control (git checkout), or record it again: --trt-update.",
    )


def write_baselines(path: Path, baselines: BaselineFile) -> None:
    """Write a baseline file, whole or not at all.

    Raises:
        BaselineError: It cannot be written; the file that was there is as it was.
    """
    text = as_text(baselines)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
        try:
            with os.fdopen(descriptor, "w", encoding="utf-8") as file:
                file.write(text)
                file.flush()
                os.fsync(file.fileno())
            # A temporary file is private; a baseline is as readable as the files beside it.
            os.chmod(name, 0o666 & ~_umask())  # noqa: PTH101
            os.replace(name, path)  # noqa: PTH105
        except BaseException:
            Path(name).unlink(missing_ok=True)
            raise
    except OSError as error:
        raise BaselineError(
            f"the baseline file {path} cannot be written: {error.strerror}.",
            fix="free space or make the folder writable; or name another with --trt-baseline-dir.",
        ) from error


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


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


def _entry(entry: Entry) -> str:
    data = entry.to_dict()
    runs = ",\n".join(_run(run) for run in data["runs"])
    labels = [label for label in ("mode", "spec", "engine", "noise") if label in data]
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
