"""What can be tested here, architecture by architecture: the plugin's own choice, put to all."""

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
        backend: What builds them; empty where nothing does.
        why: What is there, or what is missing.
        option: What has to be said for it beside `--trt-arch`; empty for nothing.
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
    """Return what can be tested for every known architecture, and for the CPU.

    Args:
        probe: The GPUs of this machine.
        modules: What is known of each vendor's module.
        refused: Products that can be imported, but that do not fit the GPUs or the driver here.
    """
    archs = sorted({*EXAMPLES, *(gpu.arch for gpu in probe.gpus)}, key=compute_capability)
    usable = {name for name, facts in modules.items() if facts.works} - {*refused}
    cpu = Ability(CPU, True, True, "onnxruntime", "always at hand")
    if "onnxruntime" not in usable:
        cpu = Ability(CPU, False, False, "", "ONNX Runtime cannot be imported")
    return (cpu, *(_ability(arch, probe, modules, usable) for arch in archs))


def _ability(
    arch: str,
    probe: DeviceProbe,
    modules: Mapping[str, ModuleFacts],
    usable: Collection[str],
) -> Ability:
    # What this release of TensorRT-RTX cannot build for, it is not there for.
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
    why = chosen.why if runs else "no such GPU here to run them on"
    return Ability(chosen.arch, True, runs, chosen.backend, why, option)


def _missing(arch: str, probe: DeviceProbe, error: PytestTrtError, *, broken: bool) -> str:
    if probe.first(arch) is not None and broken:
        return f"{probe.first(arch)} is here, but the TensorRT that is installed cannot be used"
    if probe.first(arch) is not None:
        return error.message.rstrip(".")
    return "no such GPU here, and nothing installed here cross-builds for it"
