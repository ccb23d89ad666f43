"""External data: which bytes of which files a model's tensors refer to, and whether it may.

Source: https://onnx.ai/onnx/repo-docs/ExternalData.html
"""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from pytest_trt.diagnostics import ModelError
from pytest_trt.onnx.proto import StoredTensor
from pytest_trt.tensors.spec import stored_bytes

_COPY_FIX = "copy the model again with all of its data files, or export it again."


@dataclass(frozen=True, slots=True)
class Region:
    """Bytes of an external data file that at least one tensor refers to.

    Attributes:
        location: The file as the model spells it, "./" and doubled slashes taken out.
        path: The same file, absolute.
        offset: First byte.
        length: Number of bytes.
    """

    location: str
    path: Path
    offset: int
    length: int


@dataclass(frozen=True, slots=True)
class _DataFile:
    location: str
    path: Path
    size_bytes: int


def external_regions(model_path: Path, tensors: Sequence[StoredTensor]) -> tuple[Region, ...]:
    """Return the regions that these tensors refer to, merged.

    Regions that overlap or touch become one, so that no byte is read twice however many tensors
    share it, and the order in which tensors are stored does not matter. The files keep the order
    of first use; within a file, regions ascend.

    Raises:
        ModelError: A location is not allowed, or a file is missing or too short.
    """
    files: dict[str, _DataFile] = {}
    spans: dict[str, list[tuple[int, int]]] = {}
    for tensor in tensors:
        location = _location(model_path, tensor)
        if location not in files:
            files[location] = _data_file(model_path, tensor, location)
            spans[location] = []
        spans[location].append(_span(model_path, tensor, files[location]))
    return tuple(
        Region(location, files[location].path, start, end - start)
        for location in files
        for start, end in _merged(spans[location])
    )


def _merged(spans: Iterable[tuple[int, int]]) -> list[tuple[int, int]]:
    merged: list[tuple[int, int]] = []
    for start, end in sorted(spans):
        if merged and start <= merged[-1][1]:
            merged[-1] = merged[-1][0], max(end, merged[-1][1])
        else:
            merged.append((start, end))
    return merged


def _location(model_path: Path, tensor: StoredTensor) -> str:
    """Return the tensor's location in its shortest spelling.

    ONNX disallows ".." in locations. It is refused wherever it stands, because "a/../b" is not
    "b" when "a" is a link. Backslashes and drive letters are how Windows leaves a folder.
    """
    location = (tensor.external or {}).get("location", "")
    parts = re.split(r"[/\\]", location)
    if not location or "\0" in location or set(parts) <= {"", "."}:
        raise ModelError(
            f"{_named(tensor)} of {model_path} has external data at {location!r}, which names no "
            "file.",
            fix="export the model again.",
        )
    if ".." in parts or location[0] in "/\\" or re.match("[A-Za-z]:", location):
        raise _outside(model_path, tensor, location)
    return str(PurePosixPath(location))


def _data_file(model_path: Path, tensor: StoredTensor, location: str) -> _DataFile:
    path = model_path.parent / location
    try:
        real = Path(os.path.realpath(path))
        # A download cache keeps every file as a link into one folder of blobs: the model's real
        # folder is then as much its own as the one that it was opened in.
        homes = Path(os.path.realpath(model_path.parent)), Path(os.path.realpath(model_path)).parent
        if not any(real.is_relative_to(home) for home in homes):
            raise _outside(model_path, tensor, location, real)
        status = path.stat()
    except FileNotFoundError as error:
        raise ModelError(
            f"{_named(tensor)} of {model_path} has its data in {path}, which does not exist.",
            fix=f"put {location} next to the model, where the export wrote it.",
        ) from error
    except OSError as error:
        raise ModelError(
            f"{_named(tensor)} of {model_path} has its data in {path}, which cannot be read: "
            f"{error.strerror}.",
            fix="make the file readable for this user, or " + _COPY_FIX,
        ) from error
    if not stat.S_ISREG(status.st_mode):
        raise ModelError(
            f"{_named(tensor)} of {model_path} has its data in {path}, which is not a regular "
            "file.",
            fix=_COPY_FIX,
        )
    return _DataFile(location, path, status.st_size)


def _span(model_path: Path, tensor: StoredTensor, file: _DataFile) -> tuple[int, int]:
    """Return the tensor's first byte and the one after its last.

    Without a length (or with 0, which ONNX Runtime treats as none) the region reaches to the end
    of the file, which must then at least hold the tensor.
    """
    offset = _count(model_path, tensor, "offset")
    length = _count(model_path, tensor, "length")
    needed = length or stored_bytes(tensor.data_type, tensor.dims) or 0
    if offset + needed > file.size_bytes:
        raise ModelError(
            f"{_named(tensor)} of {model_path} is bytes {offset:,} to {offset + needed:,} of "
            f"{file.path}, which has {file.size_bytes:,}.",
            fix=f"{file.location} is cut short or belongs to another export: {_COPY_FIX}",
        )
    return offset, offset + length if length else file.size_bytes


def _count(model_path: Path, tensor: StoredTensor, key: str) -> int:
    written = (tensor.external or {}).get(key, "0")
    # 19 digits are all that a 64-bit offset can have.
    if not re.fullmatch("[0-9]{1,19}", written):
        raise ModelError(
            f"{_named(tensor)} of {model_path} has external data with {key} {written[:40]!r}, "
            "which is not a number of bytes.",
            fix="export the model again.",
        )
    return int(written)


def _outside(
    model_path: Path, tensor: StoredTensor, location: str, real: Path | None = None
) -> ModelError:
    leads = f", a link to {real}" if real else ""
    return ModelError(
        f"{_named(tensor)} of {model_path} has external data at {location!r}{leads}: data files "
        "must lie in the model's own folder.",
        fix="move the data file next to the model and export or save the model with that name; do "
        "not use the model at all if you do not know where it comes from.",
    )


def _named(tensor: StoredTensor) -> str:
    return f"tensor {tensor.name!r}" if tensor.name else "a tensor without a name"
