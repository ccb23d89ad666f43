"""The source of a first test module, as formatters leave it."""

from __future__ import annotations

import os
import re
import textwrap
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pytest_trt.diagnostics import Diagnostic
from pytest_trt.escaping import terminal
from pytest_trt.precision.marker_edit import literal
from pytest_trt.tensors.profiles import profile_to_json
from pytest_trt.wording import count

if TYPE_CHECKING:
    from pytest_trt.precision.first_test import FirstTest

#: Columns of a line, as common formatters have them.
_WIDTH = 88

_DOCSTRING = '''"""Engines give the answers of their models.

Each run is compared with the model in FP32, and with the answers that the first run
stored: engines that differ from their model fail, and so do models that have changed.
Written by `pytest-trt init`; edit it freely.
"""
'''

_READ = """
FOLDER = Path(__file__).parent


def read(file: str, names: Sequence[str]) -> dict[str, NDArray[Any]]:
    with np.load(FOLDER / file) as arrays:
        return {name: arrays[name] for name in names}
"""


@dataclass(frozen=True, slots=True)
class Tested:
    """A model that the module tests.

    Attributes:
        path: Its file.
        test: What was measured of it.
        data: The files that it was measured on; () for seeded inputs.
    """

    path: Path
    test: FirstTest
    data: tuple[Path, ...] = ()


@dataclass(frozen=True, slots=True)
class _Call:
    """A call in the source: its function, and its arguments by name, "" for positional ones."""

    function: str
    arguments: Mapping[str, object] = field(default_factory=dict)


class _Name(str):
    """A variable in the source."""


def module_source(
    tested: Sequence[Tested],
    left_out: Mapping[Path, Diagnostic],
    *,
    folder: Path,
    measured_with: str,
) -> str:
    """Return the source of a test module."""
    seeded = [one for one in tested if not one.data]
    on_data = [one for one in tested if one.data]
    parts = [_head(on_data=bool(on_data))]
    parts += [
        "\n" + _comment(f"Left out: {_relative(path, folder)}: {why.headline}")
        for path, why in left_out.items()
    ]
    parts += [_READ] if on_data else []
    if seeded:
        parts += ["\n\n" if on_data else "\n", *_seeded(seeded, folder, measured_with)]
    names: set[str] = set()
    for one in on_data:
        stem = re.sub(r"\W+", "_", one.path.stem.lower()).strip("_")
        while stem in names:
            stem += "_"
        names.add(stem)
        parts += ["\n\n", *_on_data(one, stem, folder, measured_with)]
    return "".join(parts)


def _head(*, on_data: bool) -> str:
    lines = [_DOCSTRING]
    if on_data:
        lines += ["from collections.abc import Sequence", "from pathlib import Path"]
    lines += ["from typing import Any", ""]
    lines += ["import numpy as np"] if on_data else []
    lines += ["import pytest", "from numpy.typing import NDArray", "from pytest_trt import Session"]
    return "\n".join(lines) + "\n"


def _seeded(tested: Sequence[Tested], folder: Path, measured_with: str) -> Iterator[str]:
    """Yield the tests of models without data: one function for all of them."""
    names = [_relative(one.path, folder) for one in tested]
    settings = [_settings(one) for one in tested]
    limits = [_limits(one) for one in tested]
    if len(tested) == 1:
        model: dict[str, object] = {"": names[0], **settings[0]}
        consistency = limits[0]
    else:
        common = {"precision": ("fp32", "fp16")}
        own = {
            name: {key: value for key, value in one.items() if common.get(key) != value}
            for name, one in zip(names, settings, strict=True)
        }
        own = {name: one for name, one in own.items() if one}
        model = {"": names, **common, **({"per_model": own} if own else {})}
        consistency = {"per_model": dict(zip(names, limits, strict=True))}
    yield from _notes(tested, folder)
    yield f"MODELS = {_source(_Call('pytest.mark.trt_model', model), 0, len('MODELS = '))}\n\n\n"
    yield _comment(
        f"About twice what {_samples(tested)} of seeded inputs needed with {measured_with}. They "
        "are random numbers, not representative ones: `pytest-trt suggest tolerance` measures on "
        "real inputs with --data."
    )
    yield "@MODELS\n"
    yield _decorator("trt_consistency", {"against": "both", **consistency})
    yield "def test_same_answers(\n    trt_session: Session, trt_inputs: dict[str, NDArray[Any]]\n"
    yield ") -> None:\n    trt_session.run(trt_inputs)\n"


def _on_data(one: Tested, stem: str, folder: Path, measured_with: str) -> Iterator[str]:
    """Yield the test of a model with data."""
    files = [_relative(file, folder) for file in one.data]
    names = tuple(spec.name for spec in one.test.model.inputs)
    yield from _notes([one], folder)
    yield _comment(f"About twice what {_samples([one])} of data needed with {measured_with}.")
    yield _decorator("trt_model", {"": _relative(one.path, folder), **_settings(one)})
    yield _decorator("trt_consistency", {"against": "both", **_limits(one)})
    yield f"def test_{stem}_on_data(trt_session: Session) -> None:\n"
    yield f"    for file in {_source(files, 4, len('    for file in '))}:\n"
    call = _Call("read", {"": _Name("file"), "names": names})
    yield f"        inputs = {_source(call, 8, len('        inputs = '))}\n"
    yield "        trt_session.run(inputs)\n"


def _samples(tested: Sequence[Tested]) -> str:
    return count(max(one.test.samples for one in tested), "sample")


def _notes(tested: Sequence[Tested], folder: Path) -> Iterator[str]:
    for one in tested:
        for precision, why in one.test.left_out.items():
            name = _relative(one.path, folder)
            yield _comment(f"{precision} of {name} is left out: {why.headline}")


def _settings(one: Tested) -> dict[str, object]:
    """Return the arguments of trt_model for a model."""
    settings: dict[str, object] = {}
    precisions = tuple(one.test.tolerances)
    settings["precision"] = precisions if len(precisions) > 1 else precisions[0]
    if one.test.profile:
        settings["profiles"] = profile_to_json(one.test.profile)
    return settings


def _limits(one: Tested) -> dict[str, Any]:
    """Return the arguments of trt_consistency for a model."""
    by_precision = {
        precision: dict(*outputs.values())
        if len(outputs) == 1 and len(one.test.model.outputs) == 1
        else {"outputs": {name: dict(fields) for name, fields in outputs.items()}}
        for precision, outputs in one.test.tolerances.items()
        if outputs
    }
    if len(one.test.tolerances) == 1:
        return dict(*by_precision.values())
    return {"by_precision": by_precision} if by_precision else {}


def _relative(path: Path, folder: Path) -> str:
    return Path(os.path.relpath(path, folder)).as_posix()


# --- text


def _comment(text: str) -> str:
    line = terminal(" ".join(text.split()))
    wrapped = textwrap.wrap(line, _WIDTH - 2, break_long_words=False, break_on_hyphens=False)
    return "".join(f"# {one}\n" for one in wrapped)


def _decorator(mark: str, arguments: Mapping[str, object]) -> str:
    return f"@{_source(_Call(f'pytest.mark.{mark}', arguments), 0, 1)}\n"


def _source(value: object, indent: int, used: int) -> str:
    """Return the source of a value; what does not fit its line has a line for each element.

    Args:
        value: A literal or a call.
        indent: How far the line is indented.
        used: Columns of the line before the value.
    """
    flat = _flat(value)
    if used + len(flat) + 1 <= _WIDTH or not isinstance(value, _Call | dict | list | tuple):
        return flat
    if isinstance(value, _Call):
        opening, closing = f"{value.function}(", ")"
        elements = [(f"{name}=" if name else "", one) for name, one in value.arguments.items()]
    elif isinstance(value, dict):
        opening, closing = "{", "}"
        elements = [(f"{literal(name)}: ", one) for name, one in value.items()]
    else:
        opening, closing = "()" if isinstance(value, tuple) else "[]"
        elements = [("", one) for one in value]
    inner = " " * (indent + 4)
    lines = [
        f"{inner}{before}{_source(one, indent + 4, indent + 4 + len(before))},\n"
        for before, one in elements
    ]
    return f"{opening}\n{''.join(lines)}{' ' * indent}{closing}"


def _flat(value: object) -> str:
    if isinstance(value, _Name):
        return value
    if isinstance(value, _Call):
        arguments = (
            f"{name}={_flat(one)}" if name else _flat(one) for name, one in value.arguments.items()
        )
        return f"{value.function}({', '.join(arguments)})"
    if isinstance(value, dict):
        return f"{{{', '.join(f'{literal(key)}: {_flat(one)}' for key, one in value.items())}}}"
    if isinstance(value, tuple):
        return f"({', '.join(map(_flat, value))}{',' * (len(value) == 1)})"
    return literal(value)
