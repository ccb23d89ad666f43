"""The NVIDIA side of this machine, hardware, driver and GPUs: its state, and findings about it."""

from __future__ import annotations

import ctypes
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from pytest_trt import units
from pytest_trt.backends.devices.driver import cuda_version
from pytest_trt.backends.devices.gpu import DeviceProbe, Gpu
from pytest_trt.backends.devices.nvml import list_gpus, nvml_started
from pytest_trt.backends.devices.probe import probe_devices
from pytest_trt.backends.devices.state import ClockReason, DeviceState, Severity, device_state
from pytest_trt.backends.devices.watch import BUSY_PCT
from pytest_trt.diagnostics import BackendUnavailableError
from pytest_trt.doctor.finding import Finding, Level

_PCI_DEVICES = Path("/sys/bus/pci/devices")

#: PCI's number of NVIDIA, and the class of displays and accelerators of 3D.
#: Source: PCI Code and ID Assignment Specification, class 03h.
_NVIDIA = "0x10de"
_DISPLAY_CLASS = "0x03"


@dataclass(frozen=True, slots=True)
class MachineFacts:
    """What is known of a machine's GPUs and their driver.

    Attributes:
        probe: The GPUs that this process could use, or why there are none.
        listed: How many whole GPUs NVML lists, those included that are hidden from CUDA.
        on_bus: How many GPUs are on the PCI bus, whether there is a driver for them or not.
        driver: The driver's version; empty where nothing tells.
        driver_cuda: The CUDA version that it serves, 13000 for 13.0; 0 where nothing tells.
        nvml_problem: Why NVML cannot be used, and what to do; both empty where it can.
        states: How each GPU is doing, by UUID.
        state_problems: Why that is not known of others.
        problem: Why nothing is known: looking for GPUs crashed, or came to no end.
    """

    probe: DeviceProbe
    listed: int = 0
    on_bus: int = 0
    driver: str = ""
    driver_cuda: int = 0
    nvml_problem: tuple[str, str] = ("", "")
    states: Mapping[str, DeviceState] = field(default_factory=dict)
    state_problems: Mapping[str, str] = field(default_factory=dict)
    problem: str = ""


def machine_facts() -> MachineFacts:
    """Look at the machine; never raises, and creates no CUDA context."""
    probe = probe_devices()
    driver, listed, nvml_problem = "", 0, ("", "")
    try:
        with nvml_started() as nvml:
            driver = nvml.text("nvmlSystemGetDriverVersion")
            listed = sum(not gpu.uuid.startswith("MIG-") for gpu in list_gpus())
    except BackendUnavailableError as error:
        nvml_problem = (error.message, error.fix)
    states, problems = {}, {}
    for gpu in probe.gpus if not nvml_problem[0] else ():
        try:
            states[gpu.uuid] = device_state(gpu.uuid)
        except BackendUnavailableError as error:
            problems[gpu.uuid] = error.message
    return MachineFacts(
        probe, listed, _on_bus(), driver, _driver_cuda(), nvml_problem, states, problems
    )


def machine_facts_json() -> dict[str, Any]:
    """Return `machine_facts`, JSON-simple."""
    return asdict(machine_facts())


def facts_from_json(data: Mapping[str, Any]) -> MachineFacts:
    """Return the facts that `machine_facts_json` told."""
    gpus = tuple(Gpu(**gpu) for gpu in data["probe"]["gpus"])
    states = {uuid: _state(state) for uuid, state in data["states"].items()}
    what, fix = data["nvml_problem"]
    probe = DeviceProbe(gpus, data["probe"]["reason"])
    return MachineFacts(**{**data, "probe": probe, "states": states, "nvml_problem": (what, fix)})


def _state(data: Mapping[str, Any]) -> DeviceState:
    reasons, others = data["clock_reasons"], data["other_processes"]
    known = reasons and tuple(ClockReason(r["name"], Severity(r["severity"])) for r in reasons)
    return DeviceState(
        **{
            **data,
            "clock_reasons": None if reasons is None else known or (),
            "other_processes": None if others is None else tuple(others),
        }
    )


def _driver_cuda() -> int:
    """Return the CUDA version that the driver serves, which it tells without being started."""
    version = ctypes.c_int()
    try:
        status = ctypes.CDLL("libcuda.so.1").cuDriverGetVersion(ctypes.byref(version))
    except (OSError, AttributeError):
        return 0
    return 0 if status else version.value


def _on_bus() -> int:
    count = 0
    for device in _PCI_DEVICES.glob("*"):
        try:
            vendor = (device / "vendor").read_text().strip()
            kind = (device / "class").read_text().strip()
        except OSError:
            continue
        count += vendor == _NVIDIA and kind.startswith(_DISPLAY_CLASS)
    return count


def gpu_findings(machine: MachineFacts) -> Iterator[Finding]:
    """Yield what there is to say of the driver and of every GPU."""
    yield from _driver(machine)
    if not machine.probe.gpus:
        yield _no_gpu(machine)
    for gpu in machine.probe.gpus:
        mig = ", MIG" if gpu.mig else ""
        yield Finding(
            "gpu",
            f"GPU {gpu.index}",
            Level.OK,
            f"{gpu}, {units.size(gpu.memory_bytes)}, {gpu.sm_count} multiprocessors{mig}",
        )
        if gpu.uuid in machine.states:
            yield _state_finding(gpu, machine.states[gpu.uuid])
        elif problem := machine.state_problems.get(gpu.uuid):
            yield Finding("gpu", f"GPU {gpu.index} now", Level.WARN, "not known", why=problem)


def disturbance(state: DeviceState) -> str:
    """Return what makes speed that is measured on a GPU now worthless; empty where nothing does."""
    held = [one.name for one in state.clock_reasons or () if one.severity is Severity.REFUSE]
    told = [f"it is held back ({', '.join(held)})"] if held else []
    busy_pct = state.utilization_pct or 0
    if busy_pct >= BUSY_PCT:
        told.append(f"something computes on it {busy_pct}% of the time")
    return " and ".join(told)


def _driver(machine: MachineFacts) -> Iterator[Finding]:
    serves = f"serves CUDA {cuda_version(machine.driver_cuda)}" if machine.driver_cuda else ""
    told = ", ".join(filter(None, [machine.driver, serves]))
    what, fix = machine.nvml_problem
    # Without a driver at all, that NVML is not there says nothing new.
    has_driver = bool(machine.driver_cuda or machine.driver)
    if has_driver and what:
        why = f"{what.rstrip('.')}; clocks, heat and other processes are not seen"
        yield Finding("gpu", "driver", Level.WARN, told, why, fix)
    elif has_driver:
        yield Finding("gpu", "driver", Level.OK, told)


def _no_gpu(machine: MachineFacts) -> Finding:
    reason = machine.probe.reason
    if machine.problem:
        # The plugin looks for GPUs as well, in every run that has a model to test.
        fix = "run `nvidia-smi`; if it fails too, reboot, or restart the container."
        return Finding("gpu", "GPU", Level.ERROR, "not known", reason, fix)
    if "CUDA_VISIBLE_DEVICES" in reason:
        fix = "unset CUDA_VISIBLE_DEVICES, or name a GPU in it (`nvidia-smi -L`)."
        return Finding("gpu", "GPU", Level.WARN, "none to use", reason, fix)
    if machine.driver or machine.driver_cuda or machine.listed:
        return Finding("gpu", "GPU", Level.WARN, "none to use", reason, "look at `nvidia-smi`.")
    if machine.on_bus:
        fix = "install the NVIDIA driver, or start the container with --gpus all."
        there = f"{machine.on_bus} NVIDIA GPUs are on the PCI bus, but {reason}"
        return Finding("gpu", "GPU", Level.WARN, "none to use", there, fix)
    return Finding("gpu", "GPU", Level.NOTE, "none", reason)


def _state_finding(gpu: Gpu, state: DeviceState) -> Finding:
    disturbed = disturbance(state)
    return Finding(
        "gpu",
        f"GPU {gpu.index} now",
        Level.WARN if disturbed else Level.OK,
        ", ".join(_told(state)) or "its driver tells nothing of it",
        why=disturbed and f"{disturbed}: speed cannot be measured now",
        fix=disturbed
        and "let it cool, end what runs on it, or wait; `nvidia-smi -q -d PERFORMANCE` and "
        "`nvidia-smi` say more.",
    )


def _told(state: DeviceState) -> Iterator[str]:
    if state.sm_clock_mhz is not None:
        most = f" of {state.max_sm_clock_mhz}" if state.max_sm_clock_mhz else ""
        yield f"{state.sm_clock_mhz}{most} MHz"
    if state.power_w is not None:
        most = f" of {state.power_limit_w:.0f}" if state.power_limit_w else ""
        yield f"{state.power_w:.0f}{most} W"
    if state.temperature_c is not None:
        yield f"{state.temperature_c} C"
    if state.performance_state is not None:
        yield f"P{state.performance_state}"
    if state.utilization_pct is not None:
        yield f"{state.utilization_pct}% busy"
    if state.other_processes:
        yield f"{len(state.other_processes)} processes have contexts on it"
    if state.clock_reasons:
        yield f"clocks: {', '.join(one.name for one in state.clock_reasons)}"
    if state.persistence is False:
        yield "persistence mode off"
