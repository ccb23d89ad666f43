"""Calibration data, read one sample at a time: a list, files, a generator, a function.

What is hashed is what is used: each further reading has to give the same samples.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import tempfile
import traceback
import weakref
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from pytest_trt.diagnostics import (
    Fact,
    InputError,
    ModelError,
    PytestTrtError,
    Remedy,
    as_typed,
    in_context,
)
from pytest_trt.files import LFS_PULL, FileStamp, is_lfs_pointer, open_regular
from pytest_trt.tensors.array_files import SUFFIXES, read_arrays
from pytest_trt.tensors.calibration import CalibrationGatherer, CalibrationStatistics
from pytest_trt.tensors.checks import check_inputs, example_feed, type_name
from pytest_trt.tensors.containers import items_of
from pytest_trt.tensors.foreign import named_arrays
from pytest_trt.tensors.npz import read_npy
from pytest_trt.tensors.seeded import inputs_digest, memory_bytes
from pytest_trt.tensors.spec import Tensors, TensorSpec
from pytest_trt.tensors.stored import StoredSamples, write_sample
from pytest_trt.wording import count

#: Yields where each sample is from, beside its number, and the sample.
_Source: TypeAlias = Callable[[], Iterator[tuple[str, Any]]]

_ARRAY = ".npy"
_SUFFIXES = (*SUFFIXES, _ARRAY)


class CalibrationData:
    """Samples that engines are calibrated on.

    Iterating reads them again, one at a time.

    Attributes:
        digest: Hex SHA-256 of all samples in order: quantisers that average depend on it.
        statistics: Ranges and counts.

    Args:
        given: What trt_calibration returned: an iterable of {input: array}, a function without
            arguments that returns one, the path of a folder of .npz, .npy and Polygraphy's .json
            files, or of one such file. An iterator is stored in a temporary file, as it can be
            read once only.
        inputs: The model's inputs.

    Raises:
        InputError: It is something else, is empty, or a sample does not fit the model or holds NaN
            or infinite values, which no INT8 range can span; or reading it failed.
    """

    def __init__(self, given: object, inputs: Sequence[TensorSpec]) -> None:
        self._source = _source_of(given, inputs)
        state, gatherer = hashlib.sha256(), CalibrationGatherer(inputs)
        for sample in _checked(self._source(), inputs):
            digest = bytes.fromhex(inputs_digest(sample))
            state.update(digest)
            gatherer.add(sample, digest)
        self.digest, self.statistics = state.hexdigest(), gatherer.statistics()

    @classmethod
    def of(cls, given: object, inputs: Sequence[TensorSpec]) -> CalibrationData:
        """Return calibration data as it is, and anything else as calibration data."""
        return given if isinstance(given, cls) else cls(given, inputs)

    statistics: CalibrationStatistics

    def __len__(self) -> int:
        return self.statistics.samples

    def __iter__(self) -> Iterator[Tensors]:
        """Yield the samples.

        Raises:
            ModelError: At the end: they are not those that were hashed.
        """
        state = hashlib.sha256()
        for _, sample in self._source():
            yield sample
            # Afterwards: what was used is what is hashed, whoever else writes to the array.
            state.update(bytes.fromhex(inputs_digest(sample)))
        if state.hexdigest() != self.digest:
            raise ModelError(
                "the calibration inputs were changed while an engine was built",
                fix="Return arrays from trt_calibration that nothing writes to, files that nobody "
                "changes, and the same samples from a function each time.",
                code="TRT207",
                facts={"model": "", "samples": len(self)},
            )


def checked(samples: Iterable[Tensors], inputs: Sequence[TensorSpec]) -> Iterator[Tensors]:
    """Yield samples, each after it was checked.

    Raises:
        InputError: See `CalibrationData`.
    """
    return _checked((("", sample) for sample in samples), inputs)


def _checked(samples: Iterable[tuple[str, Any]], inputs: Sequence[TensorSpec]) -> Iterator[Tensors]:
    number = -1
    for number, (place, sample) in enumerate(samples):
        where = f"calibration sample {number}{place}"
        if not isinstance(sample, Mapping):
            raise unusable(
                f"{where} must be a mapping of input names to arrays; got a {type_name(sample)}",
                _form(inputs),
                sample=number,
            )
        try:
            check_inputs(inputs, sample)
        except InputError as error:
            raise in_context(error, where) from error
        for name, array in items_of(sample, inputs).tensors.items():
            if not array.size:
                raise unusable(
                    f"{where}: input {name!r} has 0 elements (shape {list(array.shape)}), so it "
                    "sets no INT8 range",
                    _form(inputs),
                    sample=number,
                    tensor=name,
                )
            _require_finite(where, number, name, array)
        yield sample
    if number < 0:
        raise unusable(
            "int8 needs calibration data, but trt_calibration returned no samples", _form(inputs)
        )


def unusable(message: str, fix: str | Remedy, **facts: Fact) -> InputError:
    """Return the error of calibration data that nothing can be calibrated on."""
    return InputError(message, fix=fix, code="TRT225", facts=facts)


def _form(inputs: Sequence[TensorSpec]) -> str:
    return f"return a list of samples, such as [{example_feed(inputs)}, ...]."


def _require_finite(where: str, sample: int, name: str, array: npt.NDArray[Any]) -> None:
    # Types that numpy itself lacks, such as bfloat16, are of kind V.
    if array.dtype.kind not in "fcV":
        return
    if array.dtype.kind == "f" and np.isfinite([array.min(), array.max()]).all():
        return  # NaN is the minimum and the maximum of any array that has one
    nan, infinite = int(np.isnan(array).sum()), int(np.isinf(array).sum())
    found = [f"{nan} NaN"] * bool(nan) + [f"{infinite} infinite"] * bool(infinite)
    if found:
        raise unusable(
            f"{where}: input {name!r} has {' and '.join(found)} values of {array.size:,}",
            "return finite values from the trt_calibration fixture: they set the INT8 ranges.",
            sample=sample,
            tensor=name,
            nan=nan,
            infinite=infinite,
        )


class Spooled:
    """What an iterator yields: stored as it is read for the first time, and read from there then.

    Args:
        given: The iterator.
    """

    def __init__(self, given: Iterator[object]) -> None:
        self._given: Iterator[Any] | None = given
        self._stored: StoredSamples | None = None
        descriptor, name = tempfile.mkstemp(prefix="calibration-")
        weakref.finalize(self, os.close, descriptor)
        self._path, link = Path(name), Path(f"/proc/self/fd/{descriptor}")
        if link.exists():  # nothing is left behind by a process that is killed
            self._path.unlink()
            self._path = link
        else:
            weakref.finalize(self, self._path.unlink, missing_ok=True)

    def __iter__(self) -> Iterator[Any]:
        if self._stored is not None:
            yield from self._stored
            return
        given, self._given = self._given, None
        if given is None:
            raise unusable(
                "the iterator that trt_calibration returned was read in part before, and failed",
                "correct that failure first; a list, or a function that returns a generator, can "
                "be read again.",
            )
        empty = True
        with self._path.open("wb") as file:
            for sample in given:
                yield sample
                write_sample(file, sample)
                empty = False
        self._stored = StoredSamples(self._path) if not empty else None


def _source_of(given: object, inputs: Sequence[TensorSpec]) -> _Source:
    """Return what reads samples.

    Raises:
        InputError: It is nothing that has samples.
    """
    if isinstance(given, str | os.PathLike) and isinstance(os.fspath(given), str):
        path = Path(given)
        return lambda: _from_files(path, inputs)
    if isinstance(given, Iterator):
        given = Spooled(given)
    has_samples = isinstance(given, Iterable) or callable(given)
    if not has_samples or isinstance(given, Mapping | np.ndarray | bytes | type):
        hint = " A fixture that yields samples gives the first one alone: return a generator."
        raise unusable(
            "trt_calibration must return a list of {input: array}, a path, a generator or a "
            f"function; got a {type_name(given)}",
            _form(inputs) + hint * isinstance(given, Mapping),
        )
    return lambda: _from_iterable(given, inputs)


def _from_iterable(given: Any, inputs: Sequence[TensorSpec]) -> Iterator[tuple[str, Any]]:
    number = 0
    try:
        samples = given if isinstance(given, Iterable) else given()
        if not isinstance(samples, Iterable) or isinstance(samples, Mapping | str | np.ndarray):
            raise unusable(
                f"the function that trt_calibration returned gave a {type_name(samples)}",
                _form(inputs),
            )
        for sample in samples:
            yield "", sample
            number += 1
    except (PytestTrtError, GeneratorExit):
        raise
    except Exception as error:
        frame = traceback.extract_tb(error.__traceback__)[-1]
        raise InputError(
            f"trt_calibration raised {type(error).__name__} after {count(number, 'sample')}: "
            f"{error}",
            fix="correct it there.",
            code="TRT225",
            facts={"samples": number, "error": type(error).__name__},
            details=[f"at {frame.filename}:{frame.lineno}"],
        ) from error


def _from_files(path: Path, inputs: Sequence[TensorSpec]) -> Iterator[tuple[str, Any]]:
    for file in _files(path):
        shown = as_typed(file)
        try:
            if file.suffix == _ARRAY:
                name = _only_input(shown, inputs)
                found: Sequence[Any] = [{name: read_npy(file, memory_bytes() // 2)}]
            else:
                found = read_arrays(file)
            samples = [named_arrays(arrays, inputs) for arrays in found]
        except (ValueError, OSError) as error:
            reason = error.strerror if isinstance(error, OSError) else str(error)
            pointer = is_lfs_pointer(file)
            raise unusable(
                f"the calibration file {shown} cannot be read: "
                f"{'it is a Git LFS pointer' if pointer else reason}",
                LFS_PULL
                if pointer
                else "write it with numpy.savez or numpy.save, without Python objects.",
                path=shown,
            ) from error
        for number, sample in enumerate(samples):
            where = f", iteration {number}" if len(samples) > 1 else ""
            yield f" ({shown}{where})", sample


def file_stamps(path: Path) -> tuple[FileStamp, ...]:
    """Return the stamps of all files of calibration data; none where one cannot be read."""
    stamps = []
    with contextlib.suppress(OSError, InputError):
        for one in _files(path):
            with open_regular(one) as file:
                stamps.append(FileStamp.of(one, file))
        return tuple(stamps)
    return ()


def _only_input(file: str, inputs: Sequence[TensorSpec]) -> str:
    if len(inputs) != 1:
        names = ", ".join(one.name for one in inputs)
        raise unusable(
            f"the calibration file {file} holds one array, and the model has {len(inputs)} inputs: "
            f"{names}",
            "write .npz files, whose arrays have the names of the inputs: numpy.savez(file, "
            f"{inputs[0].name}=array, ...)."
            if inputs
            else "remove int8 from precision=.",
            path=file,
        )
    return inputs[0].name


def _files(path: Path) -> list[Path]:
    """Return the files of samples, by name; hidden files are none.

    Raises:
        InputError: There are none, or others among them.
    """
    shown = as_typed(path.absolute())
    if path.is_file() and path.suffix in _SUFFIXES:
        return [path.absolute()]
    if not path.is_dir():
        what = "is neither .npz, .npy nor .json" if path.exists() else "does not exist"
        raise unusable(
            f"the calibration data {shown} {what}",
            "return the path of a folder of .npz or .npy files, or of one .npz file.",
            path=shown,
        )
    files = sorted(one for one in path.absolute().iterdir() if not one.name.startswith("."))
    others = [one.name for one in files if one.suffix not in _SUFFIXES or not one.is_file()]
    if others:
        more = f" and {count(len(others) - 1, 'other')}" if len(others) > 1 else ""
        raise unusable(
            f"the calibration folder {shown} holds {others[0]}{more}, which is no .npz, .npy or "
            ".json file",
            "move it elsewhere: every file of the folder is a sample.",
            path=shown,
            others=others,
        )
    if not files:
        raise unusable(
            f"the calibration folder {shown} is empty",
            "store samples in it: numpy.savez(file, INPUT=array).",
            path=shown,
        )
    return files
