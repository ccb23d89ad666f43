"""Inputs that precisions are measured on: from files, or seeded."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy.typing as npt

from pytest_trt.diagnostics import InputError, Remedy, as_typed
from pytest_trt.files import LFS_PULL, is_lfs_pointer
from pytest_trt.onnx.file import OnnxModel
from pytest_trt.tensors.array_files import SUFFIXES, read_arrays
from pytest_trt.tensors.checks import check_inputs
from pytest_trt.tensors.foreign import named_arrays
from pytest_trt.tensors.profile_choice import shapes_at
from pytest_trt.tensors.profiles import Profile, ShapeRange, needs_profile
from pytest_trt.tensors.seeded import seeded_inputs
from pytest_trt.tensors.spec import Tensors, TensorSpec
from pytest_trt.wording import known_names

#: Seeded samples where there is no data.
SEEDED_SAMPLES = 8


@dataclass(frozen=True, slots=True)
class Sample:
    """One sample.

    Attributes:
        inputs: The inputs of the model.
        others: Further arrays of its file, such as labels.
        origin: Where it comes from, as messages name it.
    """

    inputs: Tensors
    others: Mapping[str, npt.NDArray[Any]] = field(default_factory=dict)
    origin: str = ""


def read_samples(path: Path, specs: Sequence[TensorSpec]) -> tuple[Sample, ...]:
    """Return the samples of a file, or of all that a folder has, in the order of names.

    A file is an `.npz` with one sample, or JSON that Polygraphy saved, with any number.

    Args:
        path: The file or folder. An array has the name of its input.
        specs: The model's inputs.

    Raises:
        InputError: There is none, one is damaged, or its arrays do not fit the model.
    """
    files = [path]
    if path.is_dir():
        files = sorted(file for file in path.iterdir() if file.suffix in SUFFIXES)
    if not files:
        raise _unusable(path, "has no .npz files")
    return tuple(sample for file in files for sample in _read(file, specs))


def _read(file: Path, specs: Sequence[TensorSpec]) -> Iterator[Sample]:
    try:
        found = [named_arrays(arrays, specs) for arrays in read_arrays(file)]
    except (ValueError, OSError) as error:
        if is_lfs_pointer(file):
            raise _unusable(file, "is a Git LFS pointer", LFS_PULL) from error
        reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        raise _unusable(file, f"cannot be read: {reason}") from error
    for number, arrays in enumerate(found):
        where = f", iteration {number}" if len(found) > 1 else ""
        yield _sample(file, f"{as_typed(file)}{where}", arrays, specs)


def _sample(file: Path, origin: str, arrays: dict[str, Any], specs: Sequence[TensorSpec]) -> Sample:
    names = [spec.name for spec in specs]
    missing = [name for name in names if name not in arrays]
    if missing:
        found = ", ".join(arrays) or "nothing"
        raise _unusable(
            file,
            f"has no array {missing[0]!r}; it has {found}",
            known_names("array", missing[0], arrays) if arrays else "",
        )
    inputs = {name: arrays.pop(name) for name in names}
    check_inputs(specs, inputs)
    return Sample(inputs, arrays, origin)


def _unusable(path: Path, problem: str, hint: str | Remedy = "") -> InputError:
    return InputError(
        f"the data {as_typed(path)} {problem}",
        fix=hint or "write one .npz file per sample: numpy.savez(file, INPUT=array, ...).",
        code="TRT225",
        facts={"path": str(path)},
    )


def seeded_samples(model: OnnxModel, profiles: Sequence[Profile]) -> tuple[Sample, ...]:
    """Return seeded samples, of the shapes that a profile is tuned for.

    Raises:
        ConfigurationError: An input is dynamic and has no profile, or cannot be generated.
    """
    shapes = shapes_at(model.inputs, profiles[0] if profiles else None, "opt")
    return tuple(
        Sample(seeded_inputs(model, shapes, seed=seed), origin=f"seed {seed}")
        for seed in range(SEEDED_SAMPLES)
    )


def profile_of(specs: Sequence[TensorSpec], samples: Sequence[Sample]) -> tuple[Profile, ...]:
    """Return the profile that covers samples, tuned for the first; () if none needs one."""
    dynamic = [spec.name for spec in specs if needs_profile(spec)]
    if not dynamic:
        return ()
    return ({name: _range([one.inputs[name].shape for one in samples]) for name in dynamic},)


def _range(shapes: Sequence[tuple[int, ...]]) -> ShapeRange:
    by_axis = list(zip(*shapes, strict=True))
    return ShapeRange(tuple(map(min, by_axis)), shapes[0], tuple(map(max, by_axis)))
