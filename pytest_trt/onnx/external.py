"""External data: which bytes of which files a model's tensors refer to, with checks.

Source: https://onnx.ai/onnx/repo-docs/ExternalData.html
"""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from pytest_trt.diagnostics import Fact, ModelError
from pytest_trt.onnx.proto import StoredTensor
from pytest_trt.tensors.elements import stored_bytes

_COPY_FIX = "copy the model again with all of its data files, or export it again."
_EXPORT_FIX = "export the model again."


@dataclass(frozen=True, slots=True)
class Region:
    """Bytes of an external data file that at least one tensor refers to.

    Attributes:
        location: The file as written in the model, without "./" and doubled slashes.
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

    Regions that overlap or touch are merged, so that no byte is read twice and the order of tensors
    does not matter. Files are in order of first use; within a file, regions ascend.

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

    ONNX disallows ".." in locations. It is refused anywhere, because "a/../b" is not "b" if "a" is
    a link. Backslashes and drive letters leave the folder on Windows.
    """
    location = (tensor.external or {}).get("location", "")
    parts = re.split(r"[/\\]", location)
    if not location or "\0" in location or set(parts) <= {"", "."}:
        raise _refused(
            model_path,
            tensor,
            f"has external data at {location!r}, which is not a file name",
            _EXPORT_FIX,
            location=location,
        )
    if ".." in parts or location[0] in "/\\" or re.match("[A-Za-z]:", location):
        raise _outside(model_path, tensor, location)
    return str(PurePosixPath(location))


def _data_file(model_path: Path, tensor: StoredTensor, location: str) -> _DataFile:
    path = model_path.parent / location
    try:
        real = Path(os.path.realpath(path))
        # Download caches store every file as a link into one folder of blobs, so the folder of the
        # model's link and that of its target are both the model's own.
        homes = Path(os.path.realpath(model_path.parent)), Path(os.path.realpath(model_path)).parent
        if not any(real.is_relative_to(home) for home in homes):
            raise _outside(model_path, tensor, location, real)
        status = path.stat()
    except FileNotFoundError as error:
        raise _refused(
            model_path,
            tensor,
            f"has its data in {path}, which does not exist",
            f"put {location} next to the model, where the export wrote it.",
            location=location,
        ) from error
    except OSError as error:
        raise _refused(
            model_path,
            tensor,
            f"has its data in {path}, which cannot be read: {error.strerror}",
            f"make the file readable for this user, or {_COPY_FIX}",
            location=location,
        ) from error
    if not stat.S_ISREG(status.st_mode):
        raise _refused(
            model_path,
            tensor,
            f"has its data in {path}, which is not a regular file",
            _COPY_FIX,
            location=location,
        )
    return _DataFile(location, path, status.st_size)


def _span(model_path: Path, tensor: StoredTensor, file: _DataFile) -> tuple[int, int]:
    """Return the tensor's first byte and the one after its last.

    Without a length (or with 0, which ONNX Runtime treats as none) the region extends to the end of
    the file, which must be long enough for the tensor.
    """
    offset = _count(model_path, tensor, "offset")
    length = _count(model_path, tensor, "length")
    needed = length or stored_bytes(tensor.data_type, tensor.dims) or 0
    if offset + needed > file.size_bytes:
        raise _refused(
            model_path,
            tensor,
            f"is bytes {offset:,} to {offset + needed:,} of {file.path}, which has "
            f"{file.size_bytes:,}",
            f"{file.location} is truncated or belongs to another export: {_COPY_FIX}",
            location=file.location,
            needed_bytes=offset + needed,
            size_bytes=file.size_bytes,
        )
    return offset, offset + length if length else file.size_bytes


def _count(model_path: Path, tensor: StoredTensor, key: str) -> int:
    written = (tensor.external or {}).get(key, "0")
    # A 64-bit offset has at most 19 digits.
    if not re.fullmatch("[0-9]{1,19}", written):
        raise _refused(
            model_path,
            tensor,
            f"has external data with {key} {written[:40]!r}, which is not a number of bytes",
            _EXPORT_FIX,
        )
    return int(written)


def _outside(
    model_path: Path, tensor: StoredTensor, location: str, real: Path | None = None
) -> ModelError:
    target = f", a link to {real}" if real else ""
    return _refused(
        model_path,
        tensor,
        f"has external data at {location!r}{target}, outside the model's own folder",
        "move the data file next to the model and save the model with that name. Do not use the "
        "model if you do not trust its origin.",
        code="TRT203",
        location=location,
    )


def _refused(
    model_path: Path,
    tensor: StoredTensor,
    problem: str,
    fix: str,
    *,
    code: str = "TRT202",
    **facts: Fact,
) -> ModelError:
    return ModelError(
        f"{_named(tensor)} of {model_path} {problem}",
        fix=fix,
        code=code,
        facts={"model": str(model_path), "tensor": tensor.name, **facts},
    )


def _named(tensor: StoredTensor) -> str:
    return f"tensor {tensor.name!r}" if tensor.name else "a tensor without a name"
