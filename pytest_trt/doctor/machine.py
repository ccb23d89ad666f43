"""The NVIDIA side of this machine, hardware, driver and GPUs: facts, and findings about them.

The facts are collected in a child process: a defective driver may hang or crash its caller.
"""

from __future__ import annotations

import ctypes
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pytest_trt import units
from pytest_trt.backends.devices.driver import cuda_version
from pytest_trt.backends.devices.gpu import DeviceProbe, Gpu
from pytest_trt.backends.devices.nvml import list_gpus, nvml_started
from pytest_trt.backends.devices.probe import probe_devices
from pytest_trt.backends.devices.state import DeviceState, Severity, device_state
from pytest_trt.backends.devices.watch import BUSY_PCT
from pytest_trt.diagnostics import BackendUnavailableError, Remedy
from pytest_trt.doctor.finding import Finding, Level, Problem
from pytest_trt.records import to_data
from pytest_trt.wording import count

_PCI_DEVICES = Path("/sys/bus/pci/devices")

#: PCI's number of NVIDIA, and the class of displays and accelerators of 3D.
#: Source: PCI Code and ID Assignment Specification, class 03h.
_NVIDIA = "0x10de"
_DISPLAY_CLASS = "0x03"

_CALM_DOWN = Remedy(
    "let the GPU cool, stop what runs on it, or wait. For details:",
    commands=("nvidia-smi -q -d PERFORMANCE",),
)


@dataclass(frozen=True, slots=True)
class MachineFacts:
    """The GPUs of a machine and their driver.

    Attributes:
        probe: The GPUs that this process can use, or why there are none.
        listed: Number of whole GPUs that NVML lists, including those hidden from CUDA.
        on_bus: Number of GPUs on the PCI bus, with or without a driver.
        driver: The driver's version; empty if unknown.
        driver_cuda: The CUDA version that it supports, 13000 for 13.0; 0 if unknown.
        nvml_problem: Why NVML cannot be used; None if it can.
        states: The state of each GPU, by UUID.
        state_problems: Why the state of the others is unknown.
        problem: Why nothing is known: looking for GPUs crashed, or did not end.
    """

    probe: DeviceProbe
    listed: int = 0
    on_bus: int = 0
    driver: str = ""
    driver_cuda: int = 0
    nvml_problem: Problem | None = None
    states: Mapping[str, DeviceState] = field(default_factory=dict)
    state_problems: Mapping[str, str] = field(default_factory=dict)
    problem: str = ""


def machine_facts() -> MachineFacts:
    """Return the facts of this machine; never raises, and creates no CUDA context."""
    probe = probe_devices()
    driver, listed, nvml_problem = "", 0, None
    try:
        with nvml_started() as nvml:
            driver = nvml.text("nvmlSystemGetDriverVersion")
            listed = sum(not gpu.uuid.startswith("MIG-") for gpu in list_gpus())
    except BackendUnavailableError as error:
        nvml_problem = Problem(error.message, error.diagnostic.remedy)
    states, problems = {}, {}
    for gpu in () if nvml_problem else probe.gpus:
        try:
            states[gpu.uuid] = device_state(gpu.uuid)
        except BackendUnavailableError as error:
            problems[gpu.uuid] = error.message
    return MachineFacts(
        probe, listed, _on_bus(), driver, _driver_cuda(), nvml_problem, states, problems
    )


def machine_facts_data() -> dict[str, Any]:
    """Return `machine_facts` as JSON-simple data."""
    data: dict[str, Any] = to_data(machine_facts())
    return data


def _driver_cuda() -> int:
    """Return the CUDA version that the driver supports, without starting it; 0 if unknown."""
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
    """Yield findings about the driver and every GPU."""
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
            yield _state(gpu, machine.states[gpu.uuid])
        elif problem := machine.state_problems.get(gpu.uuid):
            yield Finding(
                "gpu",
                f"GPU {gpu.index} now",
                Level.WARN,
                "unknown",
                problem,
                code="TRT743",
                facts={"device": gpu.uuid},
            )


def disturbance(state: DeviceState) -> str:
    """Return why times on a GPU would be inconclusive now; empty if they would not."""
    throttled = [one.name for one in state.clock_reasons or () if one.severity is Severity.REFUSE]
    found = [f"it is throttled ({', '.join(throttled)})"] if throttled else []
    busy_pct = state.utilization_pct or 0
    if busy_pct >= BUSY_PCT:
        found.append(f"another process computes on it {busy_pct}% of the time")
    return " and ".join(found)


def speed_problem(machine: MachineFacts) -> Finding | None:
    """Return the finding if times on a GPU of this machine would be inconclusive, or None."""
    problems, code = [], "TRT741"
    for gpu in machine.probe.gpus:
        state = machine.states.get(gpu.uuid)
        problem = disturbance(state) if state else "its state is unknown"
        problems += [f"GPU {gpu.index}: {problem}"] if problem else []
        code = code if state else "TRT743"
    if not problems:
        return None
    return Finding(
        "gpu", "speed", Level.ERROR, "a GPU is disturbed", "; ".join(problems), _CALM_DOWN, code
    )


def _driver(machine: MachineFacts) -> Iterator[Finding]:
    cuda = f"supports CUDA {cuda_version(machine.driver_cuda)}" if machine.driver_cuda else ""
    what = ", ".join(filter(None, [machine.driver, cuda]))
    # Without a driver, NVML cannot work either.
    has_driver = bool(machine.driver_cuda or machine.driver)
    if has_driver and machine.nvml_problem:
        why = f"{machine.nvml_problem.what}; clocks, temperature and other processes are unknown"
        yield Finding("gpu", "driver", Level.WARN, what, why, machine.nvml_problem.remedy, "TRT743")
    elif has_driver:
        yield Finding("gpu", "driver", Level.OK, what)


def _no_gpu(machine: MachineFacts) -> Finding:
    reason, remedy = machine.probe.reason, machine.probe.remedy
    smi = Remedy("check the driver:", commands=("nvidia-smi",))
    if machine.problem:
        # The plugin looks for GPUs too, in every run that has a model to test.
        remedy = Remedy(
            "reboot or restart the container if this fails too:", commands=("nvidia-smi",)
        )
        return Finding("gpu", "GPU", Level.ERROR, "unknown", reason, remedy, "TRT750")
    if machine.probe.is_masked or machine.driver or machine.driver_cuda or machine.listed:
        return Finding("gpu", "GPU", Level.WARN, "none usable", reason, remedy or smi, "TRT750")
    if machine.on_bus:
        remedy = Remedy("install the NVIDIA driver, or start the container with --gpus all.")
        why = f"{count(machine.on_bus, 'NVIDIA GPU')} on the PCI bus, none usable: {reason}"
        return Finding("gpu", "GPU", Level.WARN, "none usable", why, remedy, "TRT750")
    return Finding("gpu", "GPU", Level.NOTE, "none", reason)


def _state(gpu: Gpu, state: DeviceState) -> Finding:
    name, what = f"GPU {gpu.index} now", ", ".join(_described(state)) or "no values reported"
    if problem := disturbance(state):
        why = f"{problem}: speed cannot be measured now"
        facts = {"device": gpu.uuid}
        return Finding("gpu", name, Level.WARN, what, why, _CALM_DOWN, "TRT741", facts)
    return Finding("gpu", name, Level.OK, what)


def _described(state: DeviceState) -> Iterator[str]:
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
        yield f"contexts of other processes: {len(state.other_processes)}"
    if state.clock_reasons:
        yield f"clocks: {', '.join(one.name for one in state.clock_reasons)}"
    if state.persistence is False:
        yield "persistence mode off"
