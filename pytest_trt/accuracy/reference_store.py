"""Reference outputs on disk: computed once for a model and its inputs, then read.

A file has the BLAKE3 of the rest, a line of JSON with name, element type, dtype and shape of each
output, and their bytes. NumPy's archives take three times as long to write and read, which is most
of what a small model's reference costs.
"""

from __future__ import annotations

import contextlib
import json
import os
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

_DIGEST_BYTES = 32


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

    A file that cannot be read completely (its digest is verified) is computed again.
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
    try:
        with path.open("rb") as file:
            digest, header, data = file.read(_DIGEST_BYTES), file.readline(), file.read()
    except OSError:
        return None
    if _digest(header, data) != digest:
        return None
    with contextlib.suppress(OSError):
        os.utime(path)  # the cache evicts what was not used for longest
    outputs, offset = {}, 0
    for name, element, dtype, shape in json.loads(header):
        array = np.ndarray(shape, dtype, buffer=data, offset=offset).copy()
        outputs[name] = from_bits(array, element)
        offset += array.nbytes
    return outputs


def _write(path: Path, outputs: Tensors) -> bool:
    # Sequences and maps are no arrays, and text is of variable length: both are computed again.
    if not all(isinstance(array, np.ndarray) for array in outputs.values()):
        return False
    stored = {name: as_bits(array) for name, array in outputs.items()}
    if not all(array.dtype.kind in _PLAIN_KINDS for array in stored.values()):
        return False
    fields = [
        (name, dtype_name(outputs[name].dtype), array.dtype.str, array.shape)
        for name, array in stored.items()
    ]
    header = f"{json.dumps(fields)}\n".encode()
    data = b"".join(array.tobytes() for array in stored.values())
    # A full or read-only disk costs only the time to compute the outputs again.
    with contextlib.suppress(OSError), atomic_open(path, mode=PRIVATE, sync=False) as file:
        file.write(_digest(header, data) + header + data)
        return True
    return False


def _digest(header: bytes, data: bytes) -> bytes:
    from blake3 import blake3

    return blake3(header).update(data).digest()
