"""Reference outputs on disk: computed once for a model and its inputs, then read.

The content of a file begins with JSON, behind its length: name, element type, dtype and shape of
each output. Their bytes follow, each at a multiple of 64. No archive of NumPy's: it takes several
times as long to read, and its checksums cover neither names nor shapes.
"""

from __future__ import annotations

import contextlib
import json
import os
import struct
from collections.abc import Callable
from pathlib import Path

import numpy as np
import numpy.typing as npt

from pytest_trt.hashing import LabelledHash
from pytest_trt.sealed import SealError, read_sealed, write_sealed
from pytest_trt.tensors.elements import as_bits, dtype_name, from_bits
from pytest_trt.tensors.spec import Tensors

#: Part of every key. Raise the number when reference outputs are computed differently.
_SCHEMA = "pytest-trt reference 4"

_KIND = "reference"

#: How the length of the JSON is written.
_LENGTH = "<Q"

#: Arrays begin at multiples of this, as NumPy's own do.
_ALIGNMENT = 64

#: Outputs up to this size are retained until others are needed.
_SMALL_BYTES = 1 << 20

#: Kinds of dtype whose bytes are their values.
_PLAIN_KINDS = frozenset("biufc")


def reference_key(*, model_digest: str, inputs_digest: str, producer: str) -> str:
    """Return the name under which reference outputs are stored."""
    state = LabelledHash(_SCHEMA)
    state.add("model", model_digest)
    state.add("inputs", inputs_digest)
    state.add("producer", producer)
    return state.hexdigest()


class ReferenceStore:
    """A folder of reference outputs by key.

    A file that is damaged, or was stored under another key, is computed again.
    A store that cannot be written computes every time.

    Args:
        folder: Where they are.
        stored: Called with every new file.
        damaged: Called with every file that is damaged, and why.
    """

    def __init__(
        self,
        folder: Path,
        stored: Callable[[Path], None] = lambda path: None,
        damaged: Callable[[Path, str], None] = lambda path, reason: None,
    ) -> None:
        self.folder = folder
        self._stored, self._damaged = stored, damaged
        # The last outputs, if they are small: many tests run an engine twice on the same inputs.
        self._last: tuple[str, dict[str, npt.NDArray[np.generic]]] = ("", {})

    def get(
        self, key: str, compute: Callable[[], dict[str, npt.NDArray[np.generic]]]
    ) -> dict[str, npt.NDArray[np.generic]]:
        """Return the outputs of a key, computing and storing them where they are missing."""
        __tracebackhide__ = True
        last, outputs = self._last  # at once: another thread may replace it
        if key != last:
            outputs = self._found(key, compute)
            if not _is_small(outputs):
                return outputs
            self._last = key, outputs
        return {name: array.copy() for name, array in outputs.items()}

    def _found(
        self, key: str, compute: Callable[[], dict[str, npt.NDArray[np.generic]]]
    ) -> dict[str, npt.NDArray[np.generic]]:
        __tracebackhide__ = True
        path = self.folder / f"{key}.outputs"
        try:
            return _read(path, key)
        except OSError:
            pass
        except (SealError, ValueError, KeyError, TypeError) as error:
            self._damaged(path, str(error))
        outputs = compute()
        if _write(path, key, outputs):
            self._stored(path)
        return outputs


def _is_small(outputs: Tensors) -> bool:
    """Whether outputs are arrays that are copied sooner than read."""
    arrays = [one for one in outputs.values() if _is_plain(one)]
    return len(arrays) == len(outputs) and sum(one.nbytes for one in arrays) <= _SMALL_BYTES


def _is_plain(value: object) -> bool:
    return isinstance(value, np.ndarray) and not value.dtype.hasobject


def _read(path: Path, key: str) -> dict[str, npt.NDArray[np.generic]]:
    content = read_sealed(path, _KIND, key).content
    (length,) = struct.unpack_from(_LENGTH, content)
    begin, outputs = struct.calcsize(_LENGTH) + length, {}
    for name, element, dtype, shape in json.loads(bytes(content[begin - length : begin])):
        begin += -begin % _ALIGNMENT
        array = np.ndarray(shape, dtype, content, begin)
        begin += array.nbytes
        outputs[name] = from_bits(np.require(array, requirements="A"), element)
    with contextlib.suppress(OSError):
        os.utime(path)  # the cache evicts what was not used for longest
    return outputs


def _write(path: Path, key: str, outputs: Tensors) -> bool:
    # Sequences and maps are no arrays, and text is of variable length: both are computed again.
    if not all(isinstance(array, np.ndarray) for array in outputs.values()):
        return False
    stored = [np.asarray(as_bits(array), order="C") for array in outputs.values()]
    if not all(array.dtype.kind in _PLAIN_KINDS for array in stored):
        return False
    fields = [
        (name, dtype_name(output.dtype), array.dtype.str, array.shape)
        for (name, output), array in zip(outputs.items(), stored, strict=True)
    ]
    header = json.dumps(fields).encode()
    parts: list[bytes | memoryview] = [struct.pack(_LENGTH, len(header)) + header]
    size_bytes = len(parts[0])
    for array in stored:
        parts += [bytes(-size_bytes % _ALIGNMENT), array.reshape(-1).view(np.uint8).data]
        size_bytes += len(parts[-2]) + array.nbytes
    # A full or read-only disk costs only the time to compute the outputs again.
    with contextlib.suppress(OSError):
        write_sealed(path, _KIND, key, *parts)
        return True
    return False
