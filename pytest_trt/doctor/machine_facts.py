"""The NVIDIA side of this machine: hardware, driver, GPUs and how they are doing.

To be asked in a process of its own: a driver in trouble may hang or crash who asks it.
"""

from __future__ import annotations

import ctypes
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from pytest_trt.backends.devices.nvml import list_gpus, nvml_started
from pytest_trt.backends.devices.probe import DeviceProbe, Gpu, probe_devices
from pytest_trt.backends.devices.state import ClockReason, DeviceState, Severity, device_state
from pytest_trt.diagnostics import BackendUnavailableError

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
