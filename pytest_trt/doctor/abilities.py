"""What can be tested on this machine, for every known architecture."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass

from pytest_trt.backends.devices.gpu import DeviceProbe
from pytest_trt.backends.selection import Selection, select
from pytest_trt.diagnostics import PytestTrtError
from pytest_trt.doctor.modules import ModuleFacts
from pytest_trt.terms import CPU, EXAMPLES, compute_capability


@dataclass(frozen=True, slots=True)
class Ability:
    """What can be tested for an architecture.

    Attributes:
        arch: The architecture, "sm86" or "cpu".
        builds: Whether engines for it can be built here.
        runs: Whether they can be run here.
        backend: The backend that builds them; empty if there is none.
        why: What is available, or what is missing.
        option: The option that is needed besides `--trt-arch`; empty if there is none.
    """

    arch: str
    builds: bool
    runs: bool
    backend: str
    why: str
    option: str = ""


def abilities(
    probe: DeviceProbe, modules: Mapping[str, ModuleFacts], refused: Collection[str] = ()
) -> tuple[Ability, ...]:
    """Return what can be tested for the CPU and every known architecture.

    Args:
        probe: The GPUs of this machine.
        modules: The vendor modules by name.
        refused: Products that can be imported but do not fit the GPUs or the driver.
    """
    archs = sorted({*EXAMPLES, *(gpu.arch for gpu in probe.gpus)}, key=compute_capability)
    usable = {name for name, facts in modules.items() if facts.works} - {*refused}
    cpu = Ability(CPU, True, True, "onnxruntime", "always available")
    if "onnxruntime" not in usable:
        cpu = Ability(CPU, False, False, "", "ONNX Runtime cannot be imported")
    return (cpu, *(_ability(arch, probe, modules, usable) for arch in archs))


def _ability(
    arch: str,
    probe: DeviceProbe,
    modules: Mapping[str, ModuleFacts],
    usable: Collection[str],
) -> Ability:
    # TensorRT-RTX is not available for architectures that this release does not build for.
    rtx_archs = modules["tensorrt_rtx"].archs
    known = {*usable} - (set() if arch in rtx_archs else {"tensorrt_rtx"})
    broken = modules["tensorrt"].found and "tensorrt" not in usable
    why = ""
    for backend in ("auto", "tensorrt_rtx"):
        try:
            (chosen,) = select(
                archs=(arch,), backend=backend, probe=probe, installed=known.__contains__
            )
        except PytestTrtError as error:
            why = why or _missing(arch, probe, error, broken=broken)
            continue
        return _from(chosen, probe, backend)
    return Ability(arch, False, False, "", why)


def _from(chosen: Selection, probe: DeviceProbe, backend: str) -> Ability:
    runs = probe.first(chosen.arch) is not None
    option = "" if backend == "auto" else f"--trt-backend={backend}"
    why = chosen.why if runs else "this machine has no such GPU to run them on"
    return Ability(chosen.arch, True, runs, chosen.backend, why, option)


def _missing(arch: str, probe: DeviceProbe, error: PytestTrtError, *, broken: bool) -> str:
    if probe.first(arch) is not None and broken:
        return f"found {probe.first(arch)}, but the installed TensorRT cannot be used"
    if probe.first(arch) is not None:
        return error.message
    return "this machine has no such GPU, and nothing installed cross-builds for it"
