"""What the first bytes of a plan say: product, version, size, architectures. Loads nothing.

Layout, little-endian, the same 28 bytes in TensorRT and TensorRT-RTX: magic at 0, serialisation
format (0) at 4, number of archive entries at 8, size of the whole plan at 16, version bytes at 24.
TensorRT-RTX goes on: magic again at 28, bit mask of compute capabilities at 32.
Source: trtexec `--getPlanVersionOnly` (NVIDIA/TensorRT, samples/common) for tag and version; the
rest was read off plans of TensorRT 8.6 and TensorRT-RTX 1.4 to 1.7.
"""

from __future__ import annotations

import json
import struct
from dataclasses import dataclass
from pathlib import Path

from pytest_trt.diagnostics import EngineLoadError
from pytest_trt.terms import RTX_ARCHS

_COMMON = struct.Struct("<4sIQQ4B")
_RTX = struct.Struct("<4sQ")

#: Large enough for a header behind the metadata that Ultralytics writes in front of a plan.
_READ_BYTES = 1 << 20

_PRODUCTS = {b"ftrt": "TensorRT", b"vtrt": "TensorRT-RTX"}

_REBUILD = "build it again: `pytest-trt cache clear`, or copy the plan again if it came from afar."


@dataclass(frozen=True, slots=True)
class PlanHeader:
    """What a plan says of itself.

    Attributes:
        product: "TensorRT" or "TensorRT-RTX".
        version: major.minor.patch.build of the builder.
        size_bytes: Size of the plan, metadata in front of it excluded.
        archs: Architectures that it runs on, where the header tells (TensorRT-RTX), else None.
        offset: Where the plan starts in its file; other than 0 behind Ultralytics metadata.
    """

    product: str
    version: str
    size_bytes: int
    archs: tuple[str, ...] | None
    offset: int = 0


def read_plan_header(path: Path) -> PlanHeader:
    """Return the header of a plan file.

    Raises:
        EngineLoadError: The file is no plan, or is shorter or longer than its header says.
    """
    try:
        with path.open("rb") as file:
            start = file.read(_READ_BYTES)
        file_bytes = path.stat().st_size
    except OSError as exc:
        raise EngineLoadError(f"plan {path} cannot be read: {exc}", fix=_REBUILD) from exc
    return parse_plan_header(start, file_bytes, str(path))


def parse_plan_header(start: bytes, file_bytes: int, name: str = "plan") -> PlanHeader:
    """Return the header in a plan's first bytes.

    Args:
        start: At least the first 64 bytes, behind whatever metadata precedes them.
        file_bytes: Size of the whole file.
        name: How messages call the plan.

    Raises:
        EngineLoadError: As `read_plan_header`.
    """
    offset = _metadata_bytes(start)
    head = start[offset:]
    if len(head) < _COMMON.size:
        raise EngineLoadError(
            f"{name} is truncated: {file_bytes} bytes, and a plan's header alone has "
            f"{_COMMON.size}.",
            fix=_REBUILD,
        )
    magic, layout, _entries, size_bytes, *version = _COMMON.unpack_from(head)
    if magic not in _PRODUCTS or layout != 0:
        raise EngineLoadError(
            f"{name} is no plan of TensorRT or TensorRT-RTX: it starts with {head[:8]!r}.",
            fix="give a plan file (.engine, .plan); an ONNX model must be built first.",
        )
    product = _PRODUCTS[magic]
    actual_bytes = file_bytes - offset
    if size_bytes != actual_bytes:
        problem = "is truncated" if actual_bytes < size_bytes else "has something appended"
        raise EngineLoadError(
            f"{name} {problem}: its {product} header says {size_bytes} bytes, the file has "
            f"{actual_bytes}.",
            fix=_REBUILD,
        )
    archs = _rtx_archs(head) if product == "TensorRT-RTX" else None
    return PlanHeader(product, ".".join(map(str, version)), size_bytes, archs, offset)


def _rtx_archs(head: bytes) -> tuple[str, ...] | None:
    if len(head) < _COMMON.size + _RTX.size:
        return None
    magic, mask = _RTX.unpack_from(head, _COMMON.size)
    if _PRODUCTS.get(magic) != "TensorRT-RTX":
        return None
    # A mask set by default ends with a bit that means "later ones too": higher bits have no name.
    return tuple(arch for bit, arch in enumerate(RTX_ARCHS) if mask >> bit & 1)


def _metadata_bytes(start: bytes) -> int:
    """Return how much precedes the plan: Ultralytics writes an int32 length and that much JSON."""
    if start[:4] in _PRODUCTS or len(start) < 5 or start[4:5] != b"{":
        return 0
    end = 4 + int.from_bytes(start[:4], "little")
    if end > len(start):
        return 0
    try:
        json.loads(start[4:end])
    except ValueError:
        return 0
    return end
