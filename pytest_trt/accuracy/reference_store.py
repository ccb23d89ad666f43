"""Reference outputs on disk: computed once for a model and its inputs, then read.

The first line of a file is the checksum of the second, which is JSON: name, element type, dtype,
shape and checksum of each output. Their bytes follow. The checksums are CRC-32, as in NumPy's
archives, which take several times as long to read.
"""

from __future__ import annotations

import contextlib
import json
import math
import os
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import numpy.typing as npt

from pytest_trt.files import PRIVATE, atomic_open
from pytest_trt.hashing import LabelledHash
from pytest_trt.tensors.elements import as_bits, dtype_name, from_bits
from pytest_trt.tensors.spec import Tensors

#: Part of every key. Raise the number when reference outputs are computed differently.
_SCHEMA = "pytest-trt reference 3"

#: Kinds of dtype whose bytes are their values.
_PLAIN_KINDS = frozenset("biufc")


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

    A file that cannot be read completely (its checksums are verified) is computed again.
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
        path = self.folder / f"{key}.outputs"
        stored = _read(path)
        if stored is not None:
            return stored
        outputs = compute()
        if _write(path, outputs):
            self._stored(path)
        return outputs


def _read(path: Path) -> dict[str, npt.NDArray[np.generic]] | None:
    outputs = {}
    try:
        with path.open("rb") as file:
            seal, header = file.readline(), file.readline()
            if seal != _seal(header):
                return None
            for name, element, dtype, shape, checksum in json.loads(header):
                array = np.fromfile(file, dtype, math.prod(shape))
                if zlib.crc32(array.data) != checksum:
                    return None
                outputs[name] = from_bits(array.reshape(shape), element)
    except (OSError, ValueError):
        return None
    with contextlib.suppress(OSError):
        os.utime(path)  # the cache evicts what was not used for longest
    return outputs


def _write(path: Path, outputs: Tensors) -> bool:
    # Sequences and maps are no arrays, and text is of variable length: both are computed again.
    if not all(isinstance(array, np.ndarray) for array in outputs.values()):
        return False
    stored = [np.asarray(as_bits(array), order="C") for array in outputs.values()]
    if not all(array.dtype.kind in _PLAIN_KINDS for array in stored):
        return False
    fields = [
        (name, dtype_name(output.dtype), array.dtype.str, array.shape, zlib.crc32(array.data))
        for (name, output), array in zip(outputs.items(), stored, strict=True)
    ]
    header = f"{json.dumps(fields)}\n".encode()
    # A full or read-only disk costs only the time to compute the outputs again.
    with contextlib.suppress(OSError), atomic_open(path, mode=PRIVATE, sync=False) as file:
        file.write(_seal(header) + header)
        for array in stored:
            file.write(array.data)
        return True
    return False


def _seal(header: bytes) -> bytes:
    return b"%08x\n" % zlib.crc32(header)
