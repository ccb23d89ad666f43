"""Findings about the backends: whether each can be imported and fits the GPUs and the driver."""

from __future__ import annotations

import platform
import re
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from pytest_trt.backends.devices.driver import cuda_version
from pytest_trt.diagnostics import Remedy
from pytest_trt.doctor.finding import NO_REMEDY, Finding, Level
from pytest_trt.doctor.machine import MachineFacts
from pytest_trt.doctor.modules import ModuleFacts, import_remedy
from pytest_trt.engine.known_faults import known_fault
from pytest_trt.extras import INSTALL_TENSORRT, install_command
from pytest_trt.terms import RTX_ARCHS, compute_capability

#: The examined modules, with their names in findings.
MODULES = {
    "tensorrt": "TensorRT",
    "tensorrt_rtx": "TensorRT-RTX",
    "onnxruntime": "ONNX Runtime",
    "cuda.bindings.runtime": "cuda-bindings",
}

_INSTALL_RTX = Remedy(commands=(install_command("rtx"),))
_INSTALL_ORT = Remedy(commands=("pip install onnxruntime",))
_REINSTALL_ORT = Remedy(commands=("pip install --force-reinstall onnxruntime",))


def product_findings(
    modules: Mapping[str, ModuleFacts],
    machine: MachineFacts,
    python: tuple[int, int] = sys.version_info[:2],
) -> Iterator[Finding]:
    """Yield findings about every backend, and about cuda-bindings if they are used."""
    archs = sorted({gpu.arch for gpu in machine.probe.gpus})
    install = install_tensorrt(machine.driver_cuda, archs, python)
    yield _onnxruntime(modules["onnxruntime"])
    yield _tensorrt(modules["tensorrt"], machine, archs, install)
    yield _rtx(modules["tensorrt_rtx"], machine)
    runs = modules["tensorrt"].works or modules["tensorrt_rtx"].works
    yield from _bindings(modules["cuda.bindings.runtime"], machine, runs=runs, install=install)


def _finding(
    facts: ModuleFacts,
    level: Level,
    what: str,
    *,
    why: str = "",
    remedy: Remedy = NO_REMEDY,
    code: str = "",
) -> Finding:
    return Finding(
        "backends",
        MODULES[facts.module],
        level,
        what,
        why,
        remedy,
        code,
        {"module": facts.module, "version": facts.version},
    )


def _missing(facts: ModuleFacts, level: Level, remedy: Remedy, why: str = "") -> Finding:
    code = "TRT751" if level in (Level.WARN, Level.ERROR) else ""
    return _finding(facts, level, "not installed", why=why, remedy=remedy, code=code)


def _inconsistent(facts: ModuleFacts, level: Level, what: str, why: str, remedy: Remedy) -> Finding:
    return _finding(facts, level, what, why=why, remedy=remedy, code="TRT752")


def _onnxruntime(facts: ModuleFacts) -> Finding:
    if not facts.found:
        return _missing(facts, Level.ERROR, _INSTALL_ORT)
    if facts.problem:
        return _broken(facts, Level.ERROR, import_remedy(facts, _REINSTALL_ORT))
    kinds = [name.replace("_", "-") for name in facts.distributions]
    if len(kinds) > 1:
        return _inconsistent(
            facts,
            Level.WARN,
            f"{facts.version}, of one of {' and '.join(kinds)}",
            "they install into the same folder, so which one is imported is undefined",
            Remedy(commands=(f"pip uninstall -y {' '.join(kinds)}", *_INSTALL_ORT.commands)),
        )
    fault = known_fault("ONNX Runtime", facts.version)
    if fault is not None:
        return _inconsistent(
            facts,
            Level.WARN,
            f"{facts.version}, wrong in int8 on this CPU",
            fault.text,
            fault.remedy,
        )
    return _finding(facts, Level.OK, f"{facts.version}, builds and runs on the CPU")


def _tensorrt(
    facts: ModuleFacts, machine: MachineFacts, archs: Sequence[str], install: Remedy
) -> Finding:
    # Without options, tests run on the GPU of the machine, with TensorRT as the first choice.
    level = Level.ERROR if archs else Level.WARN
    if not facts.found:
        if not archs:
            why = "it builds and runs on an NVIDIA GPU, and none is usable"
            return _missing(facts, Level.NOTE, NO_REMEDY, why)
        return _missing(facts, Level.WARN, install)
    if facts.problem:
        return _broken(facts, level, import_remedy(facts, install))
    here = _versions(facts)
    if (0, 0) < release(facts.version) < OLDEST:
        return _inconsistent(facts, level, here, "pytest-trt needs 8.6 or newer", install)
    refused = [why for arch in archs if (why := unserved(facts.version, arch))]
    if refused:
        return _inconsistent(facts, Level.ERROR, here, "; ".join(refused), install)
    return _misfit(facts, machine) or _finding(
        facts,
        Level.OK,
        here if archs else f"{here}, importable; it needs a GPU to build and to run",
    )


def _rtx(facts: ModuleFacts, machine: MachineFacts) -> Finding:
    if not facts.found:
        why = f"it cross-builds for {' '.join(RTX_ARCHS)} without such a GPU"
        if platform.machine() not in ("x86_64", "AMD64"):
            return _missing(facts, Level.NOTE, NO_REMEDY, f"it needs x86_64; {why}")
        return _missing(facts, Level.NOTE, _INSTALL_RTX, why)
    if facts.problem:
        return _broken(facts, Level.WARN, import_remedy(facts, _INSTALL_RTX))
    return _misfit(facts, machine) or _finding(
        facts, Level.OK, f"{_versions(facts)}, builds for {' '.join(facts.archs)}"
    )


def _misfit(facts: ModuleFacts, machine: MachineFacts) -> Finding | None:
    """Return what is wrong with the installation of a product that can be imported."""
    here = _versions(facts)
    if len(set(facts.distributions.values())) > 1:
        parts = {name.replace("_", "-"): version for name, version in facts.distributions.items()}
        return _inconsistent(
            facts,
            Level.WARN,
            here,
            "its parts have different versions: "
            + ", ".join(f"{name} {version}" for name, version in parts.items()),
            Remedy(commands=(f"pip install --upgrade {' '.join(parts)}",)),
        )
    if len(facts.cuda_lines) > 1:
        product = facts.module.replace("_", "-")
        extra = "rtx" if product == "tensorrt-rtx" else f"tensorrt-{facts.cuda_lines[-1]}"
        old = facts.cuda_lines[0]
        return _inconsistent(
            facts,
            Level.WARN,
            here,
            "it is installed for two CUDA versions, which use the same folder",
            Remedy(
                commands=(
                    f"pip uninstall -y {product}-{old} {product}-{old}-bindings "
                    f"{product}-{old}-libs",
                    install_command(extra, "--force-reinstall"),
                )
            ),
        )
    major = int(facts.cuda_lines[0].removeprefix("cu")) if facts.cuda_lines else 0
    if machine.probe.gpus and 0 < machine.driver_cuda // 1000 < major:
        return _inconsistent(
            facts,
            Level.ERROR if facts.module == "tensorrt" else Level.WARN,
            here,
            f"it needs CUDA {major}, but the driver supports {cuda_version(machine.driver_cuda)}",
            _older_line(facts, machine),
        )
    return None


def _older_line(facts: ModuleFacts, machine: MachineFacts) -> Remedy:
    if facts.module != "tensorrt" or machine.driver_cuda < 12000:
        return Remedy("update the NVIDIA driver (580 or newer for CUDA 13, 525 for CUDA 12).")
    names = " ".join(name.replace("_", "-") for name in facts.distributions)
    return Remedy(commands=(f"pip uninstall -y {names}", install_command("tensorrt-cu12")))


def _bindings(
    facts: ModuleFacts, machine: MachineFacts, *, runs: bool, install: Remedy
) -> Iterator[Finding]:
    """Yield a finding about cuda-bindings, which only running engines needs."""
    if not machine.probe.gpus:
        if facts.works:
            yield _finding(facts, Level.OK, _bindings_version(facts))
        return
    level = Level.ERROR if runs else Level.WARN
    major = release(facts.version)[0]
    if not facts.found:
        yield _missing(facts, level, install, "engines run through it")
    elif facts.problem:
        yield _broken(facts, level, import_remedy(facts, install))
    elif 0 < machine.driver_cuda // 1000 < major:
        yield _inconsistent(
            facts,
            level,
            _bindings_version(facts),
            f"the driver supports only CUDA {cuda_version(machine.driver_cuda)}",
            Remedy(commands=("pip install 'cuda-bindings>=12.6,<13'",)),
        )
    else:
        yield _finding(facts, Level.OK, _bindings_version(facts))


def _bindings_version(facts: ModuleFacts) -> str:
    runtime = f", CUDA runtime {facts.runtime_cuda}" if facts.runtime_cuda else ""
    return f"{facts.version}{runtime}"


def _broken(facts: ModuleFacts, level: Level, remedy: Remedy) -> Finding:
    what = f"{facts.version or 'found, but'} cannot be imported"
    why = " ".join(facts.problem.split())
    return _finding(facts, level, what, why=why, remedy=remedy, code="TRT751")


def _versions(facts: ModuleFacts) -> str:
    return ", ".join([facts.version or "of unknown version", *facts.cuda_lines])


#: The first release that no longer supports GPUs below a compute capability.
#: Source: TensorRT release notes, 8.5.2 ("Maxwell ... will be dropped in TensorRT 9.0"), 10.5.0
#: ("NVIDIA Volta Support Removed"); support matrix of 10.1 ("SM 7.0 or higher").
_DROPPED = (((6, 0), (9, 0)), ((7, 0), (10, 0)), ((7, 5), (10, 5)))

#: The first release that supports GPUs from a compute capability on; some of them came later.
#: Source: TensorRT release notes, 10.8.0 ("supports NVIDIA Blackwell GPUs").
_ADDED = (((10, 0), (10, 8)),)

#: The oldest release that this package works with.
OLDEST = (8, 6)


@dataclass(frozen=True, slots=True)
class _Line:
    """The command for GPUs from a compute capability on.

    Attributes:
        lowest: The lowest compute capability.
        newest_python: The newest Python that these releases have wheels for.
            Source: wheels on PyPI up to TensorRT 11.4.
        command: The command; empty for the extra of the driver's CUDA version.
    """

    lowest: tuple[int, int]
    newest_python: tuple[int, int]
    command: str


_LINES = (
    _Line((7, 5), (3, 14), ""),
    _Line((7, 0), (3, 12), install_command("tensorrt-cu12", below="10.5")),
    _Line((6, 0), (3, 11), "pip install tensorrt==8.6.1 'cuda-bindings>=12.6,<13' nvidia-ml-py"),
)

#: CUDA majors with wheels. CUDA 13 itself starts at compute capability 7.5.
_CUDA_MAJORS = (12, 13)


def install_tensorrt(driver_cuda: int, archs: Sequence[str], python: tuple[int, int]) -> Remedy:
    """Return how to install a TensorRT that supports these GPUs.

    Args:
        driver_cuda: The CUDA version that the driver supports, 13000 for 13.0; 0 if unknown.
        archs: Architectures of the GPUs; the oldest decides.
        python: Version of the Python to install into.
    """
    if 0 < driver_cuda < _CUDA_MAJORS[0] * 1000:
        return Remedy("update the NVIDIA driver to 525 or newer: TensorRT needs CUDA 12 or 13.")
    oldest = min((compute_capability(arch) for arch in archs), default=_LINES[0].lowest)
    line = next((line for line in _LINES if oldest >= line.lowest), None)
    if line is None:
        return Remedy(
            "use a GPU of compute capability 6.0 or higher: no TensorRT on PyPI supports this one."
        )
    if python > line.newest_python:
        newest, here = (".".join(map(str, version)) for version in (line.newest_python, python))
        return Remedy(
            f"use Python {newest} or older: this TensorRT has no wheels for Python {here}."
        )
    if line.command:
        return Remedy(commands=(line.command,))
    if not driver_cuda:
        return Remedy(commands=INSTALL_TENSORRT)
    cuda = min(driver_cuda // 1000, _CUDA_MAJORS[-1])
    return Remedy(commands=(install_command(f"tensorrt-cu{cuda}"),))


def release(version: str) -> tuple[int, int]:
    """Return (major, minor) of a version; (0, 0) if it has none."""
    found = re.match(r"(\d+)\.(\d+)", version)
    return (int(found[1]), int(found[2])) if found else (0, 0)


def unserved(version: str, arch: str) -> str:
    """Return why a version of TensorRT does not support an architecture; empty if it does."""
    wanted, here = compute_capability(arch), release(version)
    for below, first_without in _DROPPED:
        if wanted < below and here >= first_without:
            last = "8.6" if below < (7, 5) else "10.4"
            return f"TensorRT {version} has dropped {arch}, which {last} was the last to support"
    for start, first_with in _ADDED:
        if wanted >= start and (0, 0) < here < first_with:
            need = ".".join(map(str, first_with))
            return f"TensorRT {version} does not support {arch} yet; {need} is the first that may"
    return ""
