"""The header of a plan: product, version, size, architectures; nothing is loaded.

Layout, little-endian, the same 28 bytes in TensorRT and TensorRT-RTX: magic at 0, serialisation
format (0) at 4, number of archive entries at 8, size of the whole plan at 16, version bytes at 24.
TensorRT-RTX continues: magic again at 28, bit mask of compute capabilities at 32.
Source: trtexec `--getPlanVersionOnly` (NVIDIA/TensorRT, samples/common) for tag and version; the
rest was read off plans of TensorRT 8.6 and TensorRT-RTX 1.4 to 1.7.
"""

from __future__ import annotations

import json
import re
import struct
from dataclasses import dataclass
from pathlib import Path

from pytest_trt.diagnostics import EngineLoadError, Fact, Remedy
from pytest_trt.engine.protocols import Plan
from pytest_trt.terms import RTX_ARCHS

_COMMON = struct.Struct("<4sIQQ4B")
_RTX = struct.Struct("<4sQ")

#: Large enough for a header behind the metadata that Ultralytics writes in front of a plan.
_READ_BYTES = 1 << 20

_PRODUCTS = {b"ftrt": "TensorRT", b"vtrt": "TensorRT-RTX"}

_REBUILD = Remedy(
    "copy the plan again, or rebuild the engine:", commands=("pytest-trt cache clear",)
)


@dataclass(frozen=True, slots=True)
class PlanHeader:
    """The facts in a plan's header.

    Attributes:
        product: "TensorRT" or "TensorRT-RTX".
        version: major.minor.patch.build of the builder.
        size_bytes: Size of the plan, without metadata in front of it.
        archs: Architectures that it runs on (TensorRT-RTX), or None if the header has none.
        offset: Offset of the plan in its file; not 0 behind Ultralytics metadata.
    """

    product: str
    version: str
    size_bytes: int
    archs: tuple[str, ...] | None
    offset: int = 0


def same_version(header: str, installed: str) -> bool:
    """Whether versions agree in their common parts: plans of 8.6.0 have version 8.6.0.12.

    Plans of the early release 10.0.0b6 have version 10.0.0.6.
    """
    ours, its = (re.findall(r"\d+", version) for version in (installed, header))
    return all(a == b for a, b in zip(its, ours, strict=False))


def is_plan(start: bytes) -> bool:
    """Whether a file that begins with these bytes is a plan, metadata in front of it included."""
    offset = metadata_bytes(start)
    return start[offset : offset + 4] in _PRODUCTS


def read_plan_header(path: Path) -> PlanHeader:
    """Return the header of a plan file, see `header_of`."""
    return header_of(Plan(path))


def header_of(plan: Plan) -> PlanHeader:
    """Return the header of a plan.

    Raises:
        EngineLoadError: The file is not a plan, or its size differs from that in its header.
    """
    path = str(plan.path)
    try:
        start, file_bytes = plan.read(_READ_BYTES), plan.size_bytes
    except OSError as exc:
        raise _damaged(f"plan {path} cannot be read: {exc}", path=path) from exc
    return parse_plan_header(start, file_bytes, path)


def parse_plan_header(start: bytes, file_bytes: int, name: str = "plan") -> PlanHeader:
    """Return the header in a plan's first bytes.

    Args:
        start: At least the first 64 bytes of the plan, with the metadata in front of it.
        file_bytes: Size of the whole file.
        name: The plan, as messages name it.

    Raises:
        EngineLoadError: As `read_plan_header`.
    """
    offset = metadata_bytes(start)
    head = start[offset:]
    if len(head) < _COMMON.size:
        raise _damaged(
            f"{name} is truncated: {file_bytes} bytes, fewer than the {_COMMON.size} of a plan's "
            "header",
            path=name,
        )
    magic, layout, _entries, size_bytes, *version = _COMMON.unpack_from(head)
    if magic not in _PRODUCTS or layout != 0:
        raise EngineLoadError(
            f"{name} is not a plan of TensorRT or TensorRT-RTX: it starts with {head[:8]!r}",
            fix="name a plan file (.engine, .plan); an ONNX model must be built first.",
            code="TRT322",
            facts={"path": name},
        )
    product = _PRODUCTS[magic]
    actual_bytes = file_bytes - offset
    if size_bytes != actual_bytes:
        problem = "is truncated" if actual_bytes < size_bytes else "has trailing bytes"
        raise _damaged(
            f"{name} {problem}: {actual_bytes} bytes, but its {product} header states {size_bytes}",
            path=name,
            size_bytes=actual_bytes,
            expected_bytes=size_bytes,
        )
    archs = _rtx_archs(head) if product == "TensorRT-RTX" else None
    return PlanHeader(product, ".".join(map(str, version)), size_bytes, archs, offset)


def _damaged(message: str, **facts: Fact) -> EngineLoadError:
    return EngineLoadError(message, fix=_REBUILD, code="TRT322", facts=facts)


def _rtx_archs(head: bytes) -> tuple[str, ...] | None:
    if len(head) < _COMMON.size + _RTX.size:
        return None
    magic, mask = _RTX.unpack_from(head, _COMMON.size)
    if _PRODUCTS.get(magic) != "TensorRT-RTX":
        return None
    # A default mask ends with a bit that means "and later ones"; higher bits have no name.
    return tuple(arch for bit, arch in enumerate(RTX_ARCHS) if mask >> bit & 1)


def metadata_bytes(start: bytes) -> int:
    """Return the size of metadata in front: Ultralytics writes an int32 length and JSON."""
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
