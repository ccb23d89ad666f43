"""Findings about the backends: whether each can be imported and fits the GPUs and the driver."""

from __future__ import annotations

import platform
import re
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from pytest_trt.backends.devices.driver import cuda_version
from pytest_trt.doctor.finding import Finding, Level
from pytest_trt.doctor.machine import MachineFacts
from pytest_trt.doctor.modules import ModuleFacts, import_fix
from pytest_trt.terms import RTX_ARCHS, compute_capability

#: What is asked of, and how people call it.
MODULES = {
    "tensorrt": "TensorRT",
    "tensorrt_rtx": "TensorRT-RTX",
    "onnxruntime": "ONNX Runtime",
    "cuda.bindings.runtime": "cuda-bindings",
}

INSTALL_RTX = "pip install 'pytest-trt[rtx]'"

#: Behind what to type where nothing asks for it.
IF_WANTED = "(if wanted)"

_INSTALL_ORT = "pip install --force-reinstall onnxruntime"


def product_findings(
    modules: Mapping[str, ModuleFacts],
    machine: MachineFacts,
    python: tuple[int, int] = sys.version_info[:2],
) -> Iterator[Finding]:
    """Yield what there is to say of every backend, and of CUDA's bindings where they are used.

    Args:
        modules: What is known of each of `MODULES`, by name.
        machine: The GPUs and their driver.
        python: Version of this Python.
    """
    archs = sorted({gpu.arch for gpu in machine.probe.gpus})
    install = install_tensorrt(machine.driver_cuda, archs, python)
    yield _onnxruntime(modules["onnxruntime"])
    yield _tensorrt(modules["tensorrt"], machine, archs, install)
    yield _rtx(modules["tensorrt_rtx"], machine)
    runs = modules["tensorrt"].works or modules["tensorrt_rtx"].works
    yield from _bindings(modules["cuda.bindings.runtime"], machine, runs=runs, install=install)


def _finding(
    facts: ModuleFacts, level: Level, what: str, *, why: str = "", fix: str = ""
) -> Finding:
    return Finding("backends", MODULES[facts.module], level, what, why, fix)


def _onnxruntime(facts: ModuleFacts) -> Finding:
    if not facts.found:
        return _finding(facts, Level.ERROR, "not installed", fix="pip install onnxruntime")
    if facts.problem:
        return _broken(facts, Level.ERROR, import_fix(facts, _INSTALL_ORT))
    kinds = [name for name in facts.distributions if name.startswith("onnxruntime")]
    if len(kinds) > 1:
        names = " and ".join(name.replace("_", "-") for name in kinds)
        return _finding(
            facts,
            Level.WARN,
            f"{facts.version}, of one of {names}",
            why="they write into the same folder, so which one is imported is chance",
            fix=f"pip uninstall -y {' '.join(name.replace('_', '-') for name in kinds)} && "
            "pip install onnxruntime",
        )
    return _finding(facts, Level.OK, f"{facts.version}, builds and runs on the CPU")


def _tensorrt(
    facts: ModuleFacts, machine: MachineFacts, archs: Sequence[str], install: str
) -> Finding:
    # Without options tests run on the GPU at hand, and there TensorRT is what is taken first.
    asked = Level.ERROR if archs else Level.WARN
    if not facts.found:
        if not archs:
            why = "it builds and runs on an NVIDIA GPU, and there is none to use"
            return _finding(facts, Level.NOTE, "not installed", why=why)
        return _finding(facts, Level.WARN, "not installed", fix=install)
    if facts.problem:
        return _broken(facts, asked, import_fix(facts, install))
    here = _versions(facts)
    if (0, 0) < release(facts.version) < OLDEST:
        return _finding(facts, asked, here, why="pytest-trt needs 8.6 or newer", fix=install)
    refused = [why for arch in archs if (why := unserved(facts.version, arch))]
    if refused:
        return _finding(facts, Level.ERROR, here, why="; ".join(refused), fix=install)
    return _misfit(facts, machine) or _finding(
        facts,
        Level.OK,
        here if archs else f"{here}, importable; it needs a GPU to build and to run",
    )


def _rtx(facts: ModuleFacts, machine: MachineFacts) -> Finding:
    if not facts.found:
        what = "not installed"
        why = f"it cross-builds for {' '.join(RTX_ARCHS)} without such a GPU"
        if platform.machine() not in ("x86_64", "AMD64"):
            return _finding(facts, Level.NOTE, what, why=f"it is for x86_64; {why}")
        return _finding(facts, Level.NOTE, what, why=why, fix=f"{INSTALL_RTX} {IF_WANTED}")
    if facts.problem:
        return _broken(facts, Level.WARN, import_fix(facts, INSTALL_RTX))
    return _misfit(facts, machine) or _finding(
        facts, Level.OK, f"{_versions(facts)}, builds for {' '.join(facts.archs)}"
    )


def _misfit(facts: ModuleFacts, machine: MachineFacts) -> Finding | None:
    """Return what is wrong with how a product that can be imported was installed."""
    here = _versions(facts)
    if len(set(facts.distributions.values())) > 1:
        parts = ", ".join(
            f"{name.replace('_', '-')} {v}" for name, v in facts.distributions.items()
        )
        names = " ".join(name.replace("_", "-") for name in facts.distributions)
        return _finding(
            facts,
            Level.WARN,
            here,
            why=f"its parts are of different versions: {parts}",
            fix=f"pip install --upgrade {names}",
        )
    if len(facts.cuda_lines) > 1:
        product = facts.module.replace("_", "-")
        extra = "rtx" if product == "tensorrt-rtx" else f"tensorrt-{facts.cuda_lines[-1]}"
        old = facts.cuda_lines[0]
        return _finding(
            facts,
            Level.WARN,
            here,
            why="it is installed for two CUDA versions, which write into the same folder",
            fix=f"pip uninstall -y {product}-{old} {product}-{old}-bindings {product}-{old}-libs "
            f"&& pip install --force-reinstall 'pytest-trt[{extra}]'",
        )
    major = int(facts.cuda_lines[0].removeprefix("cu")) if facts.cuda_lines else 0
    if machine.probe.gpus and 0 < machine.driver_cuda // 1000 < major:
        return _finding(
            facts,
            Level.ERROR if facts.module == "tensorrt" else Level.WARN,
            here,
            why=f"it needs CUDA {major}, and the driver serves {cuda_version(machine.driver_cuda)}",
            fix=_older_line(facts, machine),
        )
    return None


def _older_line(facts: ModuleFacts, machine: MachineFacts) -> str:
    if facts.module != "tensorrt" or machine.driver_cuda < 12000:
        return "update the NVIDIA driver (580 or newer for CUDA 13, 525 for CUDA 12)."
    names = " ".join(name.replace("_", "-") for name in facts.distributions)
    return f"pip uninstall -y {names} && pip install 'pytest-trt[tensorrt-cu12]'"


def _bindings(
    facts: ModuleFacts, machine: MachineFacts, *, runs: bool, install: str
) -> Iterator[Finding]:
    """Yield a finding on cuda-bindings, which running engines needs and nothing else."""
    if not machine.probe.gpus:
        if facts.works:
            yield _finding(facts, Level.OK, _bindings_version(facts))
        return
    level = Level.ERROR if runs else Level.WARN
    major = release(facts.version)[0]
    if not facts.found or facts.problem:
        what = f"{facts.version or 'there, but'} cannot be imported" if facts.found else ""
        yield _finding(
            facts,
            level,
            what or "not installed",
            why=_one_line(facts.problem) or "engines are run through it",
            fix=install,
        )
    elif 0 < machine.driver_cuda // 1000 < major:
        yield _finding(
            facts,
            level,
            _bindings_version(facts),
            why=f"the driver serves CUDA {cuda_version(machine.driver_cuda)} only",
            fix="pip install 'cuda-bindings>=12.6,<13'",
        )
    else:
        yield _finding(facts, Level.OK, _bindings_version(facts))


def _bindings_version(facts: ModuleFacts) -> str:
    runtime = f", CUDA runtime {facts.runtime_cuda}" if facts.runtime_cuda else ""
    return f"{facts.version}{runtime}"


def _broken(facts: ModuleFacts, level: Level, fix: str) -> Finding:
    what = f"{facts.version or 'there, but'} cannot be imported"
    return _finding(facts, level, what, why=_one_line(facts.problem), fix=fix)


def _one_line(text: str) -> str:
    return " ".join(text.split())


def _versions(facts: ModuleFacts) -> str:
    return ", ".join([facts.version or "of unknown version", *facts.cuda_lines])


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
