"""Faults of a backend that are known, and that no check of a model's own numbers explains."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from pytest_trt.diagnostics import Remedy
from pytest_trt.extras import upgrade_onnxruntime

#: Where Linux lists the CPU's instructions.
CPUINFO = Path("/proc/cpuinfo")

#: The first ONNX Runtime that computes INT8 correctly on CPUs with AMX.
_INT8_ON_AMX = (1, 25)


@dataclass(frozen=True, slots=True)
class KnownFault:
    """A fault of a backend on this machine.

    Attributes:
        text: What is wrong, with the version.
        remedy: What avoids it.
    """

    text: str
    remedy: Remedy


def known_fault(product: str, version: str, precision: str = "int8") -> KnownFault | None:
    """Return the fault that affects engines of a precision on this CPU; None for none."""
    found = re.match(r"(\d+)\.(\d+)", version)
    old = found is not None and (int(found[1]), int(found[2])) < _INT8_ON_AMX
    if product != "ONNX Runtime" or precision not in ("int8", "mixed") or not old or not _has_amx():
        return None
    return KnownFault(
        f"ONNX Runtime before 1.25 (here {version}) computes INT8 incorrectly on CPUs with AMX, "
        "as this one",
        Remedy(
            "Upgrade ONNX Runtime to 1.25 or later, which needs Python 3.11:",
            (f"python -m {upgrade_onnxruntime('1.25')}",),
        ),
    )


def _has_amx() -> bool:
    try:
        return re.search(r"\bamx_int8\b", CPUINFO.read_text("utf-8", errors="replace")) is not None
    except OSError:  # of another system
        return False
