"""Stored answers: the FP32 reference outputs for a test's inputs, recorded and accepted.

Each test module has two files below the folder `answers`: a JSON file for review (model, inputs,
producer), and an `.npz` with the arrays, named by digest. Equal arrays give equal bytes: members
are sorted, uncompressed, and have no timestamps.
"""

from __future__ import annotations

import hashlib
import io
import json
import math
import shlex
import zipfile
from collections.abc import Collection, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any, ClassVar, Literal, TypeAlias

import numpy as np
import numpy.typing as npt

from pytest_trt.baseline.entry import check_time
from pytest_trt.baseline.file import (
    ANSWERS,
    Fix,
    cannot_write,
    content_of,
    read_file,
)
from pytest_trt.diagnostics import BaselineError, Remedy, as_typed
from pytest_trt.files import LFS_POINTER, LFS_PULL, atomic_open, atomic_write, open_regular
from pytest_trt.git import is_unmerged
from pytest_trt.records import RecordError, parse_json, to_data

#: Target of answers in file names: they are the same on all devices.
TARGET: Mapping[str, str] = {"kind": ANSWERS}

#: Arrays of one output by name: "values", or the parts of a sketch.
Arrays: TypeAlias = Mapping[str, npt.NDArray[Any]]

#: Arrays of outputs by their digest.
Data: TypeAlias = Mapping[str, Arrays]

#: Nesting levels of a file that start a new line: down to the outputs of an answer.
_LEVELS = 6

#: Hexadecimal digits of a digest in a file.
_DIGITS = 20


@dataclass(frozen=True, slots=True)
class StoredOutput:
    """What is stored of one output.

    Attributes:
        dtype: Its element type.
        shape: Its shape.
        stored: Whether all elements are stored, or a sketch of them.
        data: Digest of the arrays in the `.npz`.
        figures: For review: smallest, largest and mean element, to five digits.
    """

    dtype: str
    shape: tuple[int, ...]
    stored: Literal["all", "sketch"]
    data: str
    figures: Mapping[str, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        _check_digest(self.data, "data")
        if any(length < 0 for length in self.shape):
            raise RecordError("expected lengths of 0 or more", "shape")


@dataclass(frozen=True, slots=True)
class StoredAnswer:
    """The reference outputs for one set of inputs.

    Attributes:
        inputs: Digest of the inputs.
        shapes: Element type and shape of each input, for review: "float32 [8, 3, 32, 32]".
        outputs: The outputs by name.
    """

    inputs: str
    shapes: Mapping[str, str]
    outputs: Mapping[str, StoredOutput]

    def __post_init__(self) -> None:
        _check_digest(self.inputs, "inputs")
        if not self.outputs:
            raise RecordError("empty", "outputs")


@dataclass(frozen=True, slots=True)
class AnswerEntry:
    """The stored answers of one test.

    Attributes:
        model: The model that computed them, relative to the folder of the tests.
        model_digest: Digest of its bytes.
        producer: What ran it.
        recorded: When, ISO 8601 in UTC.
        answers: The outputs for each set of inputs, in the order of the test's runs.
        reason: Why they were accepted, as given with `--trt-update-reason`; empty for none.
        errors: Largest absolute error of each output when they were stored, by architecture and
            precision ("sm86 fp16"); `drift=` compares with it.
    """

    model: str
    model_digest: str
    producer: str
    recorded: str
    answers: tuple[StoredAnswer, ...]
    reason: str = ""
    errors: Mapping[str, Mapping[str, float]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        check_time(self.recorded)
        for engine, errors in self.errors.items():
            for output, error in errors.items():
                if not math.isfinite(error) or error < 0:
                    raise RecordError("expected 0 or more", "errors", engine, output)
        if not self.answers:
            raise RecordError("empty", "answers")
        digests = [one.inputs for one in self.answers]
        if len(set(digests)) != len(digests):
            raise RecordError("expected each set of inputs once", "answers")

    def answer(self, inputs: str) -> StoredAnswer | None:
        """Return the answer to inputs with a digest, or None if there is none."""
        return next((one for one in self.answers if one.inputs == inputs), None)

    def is_same(self, other: AnswerEntry) -> bool:
        """Whether another entry has the same answers of the same model."""
        return other == replace(
            self, recorded=other.recorded, reason=other.reason, errors=other.errors
        )

    @property
    def data(self) -> set[str]:
        """The digests of all arrays."""
        return {one.data for answer in self.answers for one in answer.outputs.values()}


@dataclass(frozen=True, slots=True)
class AnswerFile:
    """The stored answers of one test module.

    Attributes:
        tests: Entries by test, its name after the module's path.
    """

    SCHEMA: ClassVar[int] = 1

    tests: Mapping[str, AnswerEntry]

    @property
    def data(self) -> set[str]:
        """The digests of all arrays."""
        return {digest for entry in self.tests.values() for digest in entry.data}


parse_answers = partial(content_of, AnswerFile)
read_answers = partial(read_file, AnswerFile)


def short_digest(digest: str) -> str:
    """Return a digest as the files have it."""
    return digest[:_DIGITS]


def _check_digest(digest: str, name: str) -> None:
    if len(digest) != _DIGITS or not set(digest) <= set("0123456789abcdef"):
        raise RecordError(f"expected a digest of {_DIGITS} hexadecimal digits", name)


def answer_files(root: Path) -> list[Path]:
    """Return every JSON file of answers below the folder of all baselines, sorted."""
    found = (root / ANSWERS).glob("**/*.json")
    return sorted(path for path in found if not path.name.startswith("."))


def data_path(path: Path) -> Path:
    """Return the `.npz` that belongs to a JSON file."""
    return path.with_suffix(".npz")


def holds_answers(text: bytes) -> bool:
    """Whether a JSON file, valid or not, holds answers rather than other baselines."""
    try:
        data = parse_json(text)
    except RecordError:
        return False
    tests = data.get("tests") if isinstance(data, dict) else None
    entries = tests.values() if isinstance(tests, dict) else ()
    return any(isinstance(one, dict) and "answers" in one for one in entries)


def read_data(path: Path, digests: Iterable[str]) -> dict[str, dict[str, npt.NDArray[Any]]]:
    """Return arrays of a JSON file's `.npz`, each checked against its digest.

    Raises:
        BaselineError: The `.npz` lacks them, is damaged, or cannot be read.
    """
    name, fix = as_typed(data_path(path)), partial(how_to_restore_data, path)
    try:
        with open_regular(data_path(path)) as file:
            return parse_data(file, digests, name, fix=fix)
    except OSError as error:
        raise data_error(name, error.strerror or str(error), fix()) from error


def read_intact(path: Path, digests: Iterable[str]) -> dict[str, dict[str, npt.NDArray[Any]]]:
    """Return those arrays of a JSON file's `.npz` that are neither missing nor damaged.

    Raises:
        BaselineError: The `.npz` exists and cannot be read, or is a Git LFS pointer.
    """
    wanted = set(digests)
    if not data_path(path).exists():
        return {}
    try:
        return read_data(path, wanted) if wanted else {}
    except BaselineError as error:
        if error.diagnostic.code != "TRT673" or isinstance(error.__cause__, OSError):
            raise
    found: dict[str, dict[str, npt.NDArray[Any]]] = {}
    for one in wanted:
        with suppress(BaselineError):
            found |= read_data(path, [one])
    return found


def parse_data(
    file: Any, digests: Iterable[str] | None, name: str, *, fix: Fix
) -> dict[str, dict[str, npt.NDArray[Any]]]:
    """Return arrays of an open `.npz`, each checked against its digest.

    Args:
        file: The open file.
        digests: What to read; None for everything.
        name: The file's name in errors.
        fix: What to do if it lacks them or is damaged.

    Raises:
        BaselineError: It lacks them, is damaged, or a Git LFS pointer.
    """
    if file.read(len(LFS_POINTER)) == LFS_POINTER:
        raise BaselineError(
            f"stored answers {name} are a Git LFS pointer, not the numbers",
            fix=LFS_PULL,
            code="TRT674",
            facts={"file": name},
        )
    try:
        with zipfile.ZipFile(file) as archive:
            members: dict[str, list[zipfile.ZipInfo]] = {}
            for info in archive.infolist():
                members.setdefault(info.filename.partition("/")[0], []).append(info)
            wanted = members if digests is None else set(digests)
            return {one: _arrays(archive, members.get(one, []), one) for one in wanted}
    except _DamagedError as error:
        raise data_error(name, str(error), fix()) from error
    # zipfile and numpy raise many exception types for damaged files.
    except Exception as error:
        raise data_error(name, "it is damaged, or not an .npz file", fix()) from error


class _DamagedError(Exception):
    """Arrays are not what was stored; the text says how."""


def _arrays(
    archive: zipfile.ZipFile, members: list[zipfile.ZipInfo], digest: str
) -> dict[str, npt.NDArray[Any]]:
    arrays = {}
    for info in members:
        # What is compressed could be of any size in memory.
        if info.compress_type != zipfile.ZIP_STORED:
            raise _DamagedError(f"{info.filename} is compressed")
        with archive.open(info) as file:
            name = info.filename.partition("/")[2].removesuffix(".npy")
            arrays[name] = np.lib.format.read_array(io.BytesIO(file.read()), allow_pickle=False)
    if not arrays:
        raise _DamagedError(f"it lacks the answers {digest}")
    if data_digest(arrays) != digest:
        raise _DamagedError(f"the answers {digest} are damaged")
    return arrays


def how_to_restore_data(path: Path) -> Remedy:
    """Return how to get usable numbers of a JSON file again."""
    file, data = (shlex.quote(as_typed(one)) for one in (path, data_path(path)))
    again = "pytest --trt-update-new"
    if is_unmerged(data_path(path)):
        # git refuses to restore it, and leaves the numbers of one side in place.
        return Remedy(
            "It is part of an unfinished merge, and has the numbers of one side. Record again what "
            "it lacks, before you commit the merge:",
            (again,),
        )
    return Remedy(
        "Record again what is missing or damaged:",
        (again,),
        (
            "Restore both files from a commit in which they belong together: "
            f"`git log -- {data}`, then `git checkout COMMIT -- {file} {data}`",
        ),
    )


def data_error(name: str, problem: str, fix: Remedy) -> BaselineError:
    """Return the error of an `.npz` that cannot be used."""
    return BaselineError(
        f"stored answers {name}: {problem}",
        fix=fix,
        code="TRT673",
        facts={"file": name, "problem": problem},
    )


def data_digest(arrays: Arrays) -> str:
    """Return the digest of the arrays of an output: names, dtypes, shapes and bytes."""
    state = hashlib.sha256()
    for name, array in sorted(arrays.items()):
        state.update(f"{name} {array.dtype.str} {list(array.shape)}\n".encode())
        state.update(np.ascontiguousarray(array).tobytes())
    return state.hexdigest()[:_DIGITS]


def data_bytes(data: Data) -> bytes:
    """Return arrays as the bytes of an `.npz`: the same for the same arrays."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_STORED) as archive:
        for digest, arrays in sorted(data.items()):
            for name, array in sorted(arrays.items()):
                content = io.BytesIO()
                # Not ascontiguousarray, which turns a scalar into a vector.
                ordered = np.asarray(array, order="C")
                np.lib.format.write_array(content, ordered, allow_pickle=False)
                # The first moment that zip can hold.
                info = zipfile.ZipInfo(f"{digest}/{name}.npy", (1980, 1, 1, 0, 0, 0))
                archive.writestr(info, content.getvalue())
    return buffer.getvalue()


def write_answers(path: Path, answers: AnswerFile, data: Data) -> None:
    """Write the files of a test module in an order that is safe against crashes.

    The `.npz` holds the old arrays and the new ones until the JSON file names the new ones.

    Raises:
        BaselineError: A file cannot be written; what was stored is still valid.
    """
    needed = answers.data
    old = read_answers(path) if path.exists() else None
    both = dict(data)
    if old is not None and old.data - needed:
        with suppress(BaselineError):  # lost already
            both |= read_data(path, old.data - needed)
    try:
        if not needed:
            path.unlink(missing_ok=True)
            data_path(path).unlink(missing_ok=True)
            return
        _write_data(path, both)
        atomic_write(path, as_text(answers))
        if both.keys() - needed:
            _write_data(path, {digest: both[digest] for digest in needed})
    except OSError as error:
        raise cannot_write(path, error) from error


def remove_answers(path: Path, tests: Collection[str]) -> None:
    """Remove the answers of tests, and the files once they are empty.

    Raises:
        BaselineError: A file cannot be read or written.
    """
    found = read_answers(path)
    if found is None:
        return
    left = AnswerFile({test: one for test, one in found.tests.items() if test not in tests})
    write_answers(path, left, read_data(path, left.data) if left.tests else {})


def _write_data(path: Path, data: Data) -> None:
    content = data_bytes(data)
    target = data_path(path)
    target.parent.mkdir(parents=True, exist_ok=True)
    with suppress(OSError), open_regular(target) as file:
        if file.readall() == content:
            return
    with atomic_open(target) as draft:
        draft.write(content)


def as_text(answers: AnswerFile) -> str:
    """Return a JSON file's content: one output per line, tests sorted."""
    tests = {test: to_data(entry) for test, entry in sorted(answers.tests.items())}
    return _laid_out({"schema": AnswerFile.SCHEMA, "tests": tests}, _LEVELS) + "\n"


def _laid_out(value: object, levels: int, indent: str = "\n") -> str:
    """Return data as JSON; values without nesting, or below `levels`, are on one line."""
    nested = value.values() if isinstance(value, dict) else value
    if not levels or not isinstance(value, dict | list) or not any(map(_is_nested, nested)):  # type: ignore[call-overload]
        return json.dumps(value, ensure_ascii=False)
    inner = f"{indent}  "
    if isinstance(value, list):
        parts = [_laid_out(one, levels - 1, inner) for one in value]
        return f"[{inner}{f',{inner}'.join(parts)}{indent}]"
    parts = [
        f"{json.dumps(name, ensure_ascii=False)}: {_laid_out(one, levels - 1, inner)}"
        for name, one in value.items()
    ]
    return f"{{{inner}{f',{inner}'.join(parts)}{indent}}}"


def _is_nested(value: object) -> bool:
    return isinstance(value, dict | list)
