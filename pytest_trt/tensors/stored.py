"""Inputs in a file, for another process of the same user. Nothing is pickled."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from pytest_trt.tensors.elements import as_bits, dtype_name, from_bits
from pytest_trt.tensors.spec import Tensors

#: The member of the archive that says where in each sample its arrays belong.
_LAYOUT = "layout"


def write_samples(path: Path, samples: Sequence[Tensors]) -> None:
    """Write sets of inputs: arrays, strings, sequences, maps, and None for an optional.

    Args:
        path: The file to write, in a folder that only this user can write to.
        samples: The sets; each has values by the name of the input.

    Raises:
        ValueError: A value is another object.
        OSError: The file cannot be written.
    """
    arrays: list[npt.NDArray[Any]] = []
    try:
        layout = json.dumps([_described(dict(sample), arrays) for sample in samples])
    except TypeError as error:
        raise ValueError(f"the inputs hold a Python object: {error}") from error
    members = {f"array_{place}": array for place, array in enumerate(arrays)}
    with path.open("wb") as file:  # by name, numpy would add a suffix
        np.savez(file, **{_LAYOUT: np.frombuffer(layout.encode(), np.uint8)}, **members)  # type: ignore[arg-type]


def read_samples(path: Path) -> list[Tensors]:
    """Return what `write_samples` wrote.

    Raises:
        ValueError: The file is damaged.
        OSError: It cannot be read.
    """
    with np.load(path, allow_pickle=False) as file:
        layout = json.loads(file[_LAYOUT].tobytes())
        return [_value(sample, file) for sample in layout]


def _described(value: object, arrays: list[npt.NDArray[Any]]) -> object:
    """Return a value as JSON-simple data, and add its arrays."""
    if isinstance(value, np.ndarray) and value.dtype.hasobject:
        return {"strings": value.reshape(-1).tolist(), "shape": value.shape}
    if isinstance(value, np.ndarray | np.generic):
        array = np.asarray(value)
        arrays.append(as_bits(array))
        return {"array": len(arrays) - 1, "dtype": dtype_name(array.dtype)}
    if isinstance(value, Mapping):
        entries = [
            [_described(key, arrays), _described(item, arrays)] for key, item in value.items()
        ]
        return {"entries": entries}
    if isinstance(value, list | tuple):
        return {"items": [_described(item, arrays) for item in value]}
    return value


def _value(described: Any, file: Mapping[str, npt.NDArray[Any]]) -> Any:
    if not isinstance(described, dict):
        return described
    if "array" in described:
        return from_bits(file[f"array_{described['array']}"], described["dtype"])
    if "strings" in described:
        return np.array(described["strings"], dtype=object).reshape(described["shape"])
    if "entries" in described:
        return {_value(key, file): _value(item, file) for key, item in described["entries"]}
    return [_value(item, file) for item in described["items"]]
