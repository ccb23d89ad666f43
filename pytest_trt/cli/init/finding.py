"""The ONNX models and data files of a project."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING
from zipfile import BadZipFile, ZipFile

from pytest_trt.diagnostics import PytestTrtError

if TYPE_CHECKING:
    from pytest_trt.onnx.file import OnnxModel
    from pytest_trt.precision.samples import Sample

#: Folders whose models are those of others, or made from those of the project.
_SKIPPED = frozenset({"__pycache__", "build", "dist", "node_modules", "site-packages"})

#: Files that mark a folder as a virtual environment, or as a cache.
#: Source: https://bford.info/cachedir/
_MARKS = ("pyvenv.cfg", "CACHEDIR.TAG")

#: Folders below folders that are searched.
_DEEPEST = 8

#: Larger data files are no samples of a quick test.
_LARGEST_BYTES = 16 << 20

#: Samples of one model.
_MOST_SAMPLES = 8


@dataclass(frozen=True, slots=True)
class Found:
    """What a folder has.

    Attributes:
        models: The models, sorted.
        data: The files of arrays that are small enough, sorted.
        too_deep: Folders that are nested too deeply, and were not searched.
    """

    models: list[Path] = field(default_factory=list)
    data: list[Path] = field(default_factory=list)
    too_deep: list[Path] = field(default_factory=list)


def find_files(root: Path, baselines: Path) -> Found:
    """Return the models and data files below a folder, but for those of caches and the like."""
    found = Found()
    for name, folders, files in os.walk(root):
        folder = Path(name)
        folders[:] = sorted(one for one in folders if not _is_skipped(folder / one, baselines))
        if len(folder.relative_to(root).parts) == _DEEPEST:
            found.too_deep.extend(folder / one for one in folders)
            folders.clear()
        for file in sorted(folder / one for one in files):
            suffix = file.suffix.lower()
            if suffix == ".onnx":
                found.models.append(file)
            elif suffix == ".npz" and file.is_file() and file.stat().st_size <= _LARGEST_BYTES:
                found.data.append(file)
    return found


def _is_skipped(folder: Path, baselines: Path) -> bool:
    name = folder.name
    if name.startswith(".") or name in _SKIPPED or folder.absolute() == baselines:
        return True
    return any((folder / mark).is_file() for mark in _MARKS)


def names_of(file: Path) -> set[str]:
    """Return the names of a file's arrays; none if it cannot be read."""
    with suppress(OSError, BadZipFile):
        return {one.removesuffix(".npy") for one in ZipFile(file).namelist()}
    return set()


def samples_of(model: OnnxModel, data: Sequence[Path]) -> Iterator[tuple[Path, Sample]]:
    """Yield the files that have arrays for all inputs of a model, and what they hold.

    A model without inputs has none.
    """
    from pytest_trt.precision.samples import read_samples

    names = {f"{spec.name}.npy" for spec in model.inputs}
    number = 0
    for file in data:
        with suppress(PytestTrtError, OSError, BadZipFile):
            if names and number < _MOST_SAMPLES and names <= set(ZipFile(file).namelist()):
                yield file, read_samples(file, model.inputs)[0]
                number += 1
