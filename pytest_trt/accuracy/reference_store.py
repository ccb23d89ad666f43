"""Reference outputs on disk: computed once for a model and its inputs, then read."""

from __future__ import annotations

import contextlib
import os
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from pytest_trt.files import PRIVATE, atomic_open
from pytest_trt.hashing import LabelledHash
from pytest_trt.tensors.elements import as_bits, dtype_name, from_bits
from pytest_trt.tensors.spec import Tensors

#: Part of every key. Raise the number when reference outputs are computed differently.
_SCHEMA = "pytest-trt reference 2"

#: Kinds of dtype that `numpy.save` writes without pickling.
_PLAIN_KINDS = frozenset("biufc")

_NAMES, _TYPES = "names", "types"


def reference_key(*, model_digest: str, inputs_digest: str, producer: str) -> str:
    """Return the name under which reference outputs are stored.

    Args:
        model_digest: Digest of the model that computes them.
        inputs_digest: Digest of its inputs.
        producer: Product, version and settings that run it.
    """
    state = LabelledHash(_SCHEMA)
    state.add("model", model_digest)
    state.add("inputs", inputs_digest)
    state.add("producer", producer)
    return state.hexdigest()


class ReferenceStore:
    """A folder of reference outputs by key.

    A file that cannot be read completely (the archive's checksums are verified) is computed again.
    A store that cannot be written computes every time.

    Args:
        folder: Where they are.
        stored: Called with every new file.
    """

    def __init__(self, folder: Path, stored: Callable[[Path], None] = lambda path: None) -> None:
        self.folder = folder
        self._stored = stored

    def get(
        self, key: str, compute: Callable[[], dict[str, npt.NDArray[np.generic]]]
    ) -> dict[str, npt.NDArray[np.generic]]:
        """Return the outputs of a key, computing and storing them where they are missing."""
        path = self.folder / f"{key}.npz"
        stored = _read(path)
        if stored is not None:
            return stored
        outputs = compute()
        if _write(path, outputs):
            self._stored(path)
        return outputs


def _read(path: Path) -> dict[str, npt.NDArray[np.generic]] | None:
    try:
        # Opened here: numpy leaves a file that is no archive open.
        with path.open("rb") as file, np.load(file, allow_pickle=False) as archive:
            outputs = {
                str(name): from_bits(archive[str(i)], str(archive[_TYPES][i]))
                for i, name in enumerate(archive[_NAMES])
            }
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile):
        return None
    with contextlib.suppress(OSError):
        os.utime(path)  # the cache evicts what was not used for longest
    return outputs


def _write(path: Path, outputs: Tensors) -> bool:
    # Sequences and maps are no arrays, and text is of variable length: both are computed again.
    if not all(isinstance(array, np.ndarray) for array in outputs.values()):
        return False
    stored = [as_bits(array) for array in outputs.values()]
    if not all(array.dtype.kind in _PLAIN_KINDS for array in stored):
        return False
    fields: dict[str, Any] = {
        _NAMES: np.array(list(outputs), dtype=str),
        _TYPES: np.array([dtype_name(array.dtype) for array in outputs.values()], dtype=str),
        **{str(i): array for i, array in enumerate(stored)},
    }
    # A full or read-only disk costs only the time to compute the outputs again.
    with contextlib.suppress(OSError), atomic_open(path, mode=PRIVATE, sync=False) as file:
        np.savez(file, **fields)
        return True
    return False
