"""Which line installs TensorRT for a machine, and which GPUs a TensorRT serves."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from pytest_trt.terms import compute_capability

#: The first release that does not serve GPUs below a compute capability any more.
#: Source: TensorRT release notes, 8.5.2 ("Maxwell ... will be dropped in TensorRT 9.0"), 10.5.0
#: ("NVIDIA Volta Support Removed"); support matrix of 10.1 ("SM 7.0 or higher").
_DROPPED = (((6, 0), (9, 0)), ((7, 0), (10, 0)), ((7, 5), (10, 5)))

#: The first release that serves GPUs from a compute capability on; single ones of that family came
#: later still. Source: TensorRT release notes, 10.8.0 ("supports NVIDIA Blackwell GPUs").
_ADDED = (((10, 0), (10, 8)),)

#: The oldest release that this package works with.
OLDEST = (8, 6)


@dataclass(frozen=True, slots=True)
class _Line:
    """What to type for GPUs from a compute capability on.

    Attributes:
        lowest: The compute capability.
        newest_python: The newest Python that these releases have wheels for.
            Source: wheels on PyPI up to TensorRT 11.4.
        command: What to type; `{cuda}` is the CUDA major version.
    """

    lowest: tuple[int, int]
    newest_python: tuple[int, int]
    command: str


_LINES = (
    _Line((7, 5), (3, 14), "pip install 'pytest-trt[tensorrt-cu{cuda}]'"),
    _Line((7, 0), (3, 12), "pip install 'pytest-trt[tensorrt-cu12]' 'tensorrt-cu12<10.5'"),
    _Line((6, 0), (3, 11), "pip install tensorrt==8.6.1 'cuda-bindings>=12.6,<13' nvidia-ml-py"),
)

#: CUDA majors that there are wheels for. CUDA 13 itself begins at compute capability 7.5.
_CUDA_MAJORS = (12, 13)


def install_tensorrt(driver_cuda: int, archs: Sequence[str], python: tuple[int, int]) -> str:
    """Return what to type, or to change first, to have a TensorRT that serves these GPUs.

    Args:
        driver_cuda: The CUDA version that the driver serves, 13000 for 13.0; 0 if unknown.
        archs: Architectures of the GPUs; the oldest decides.
        python: Version of the Python to install into.
    """
    if 0 < driver_cuda < _CUDA_MAJORS[0] * 1000:
        return "update the NVIDIA driver to 525 or newer: TensorRT's wheels need CUDA 12 or 13."
    cuda = min(driver_cuda // 1000, _CUDA_MAJORS[-1]) or _CUDA_MAJORS[0]
    oldest = min((compute_capability(arch) for arch in archs), default=_LINES[0].lowest)
    line = next((line for line in _LINES if oldest >= line.lowest), None)
    if line is None:
        return "use a GPU of compute capability 6.0 or higher: no TensorRT on PyPI serves this one."
    if python > line.newest_python:
        newest = ".".join(map(str, line.newest_python))
        here = ".".join(map(str, python))
        return f"use Python {newest} or older: TensorRT has no wheels for Python {here} here."
    command = line.command.format(cuda=cuda)
    return command if driver_cuda or "{" not in line.command else f"{command} (or tensorrt-cu13)"


def release(version: str) -> tuple[int, int]:
    """Return (major, minor) of a version; (0, 0) where it tells none."""
    found = re.match(r"(\d+)\.(\d+)", version)
    return (int(found[1]), int(found[2])) if found else (0, 0)


def unserved(version: str, arch: str) -> str:
    """Return why a TensorRT does not serve a GPU's architecture; empty where it does."""
    wanted, here = compute_capability(arch), release(version)
    for below, first_without in _DROPPED:
        if wanted < below and here >= first_without:
            last = "8.6" if below < (7, 5) else "10.4"
            return f"TensorRT {version} has dropped {arch}; the last one that serves it is {last}"
    for start, first_with in _ADDED:
        if wanted >= start and (0, 0) < here < first_with:
            need = ".".join(map(str, first_with))
            return f"TensorRT {version} does not know {arch} yet; {need} is the first that might"
    return ""
