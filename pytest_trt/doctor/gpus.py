"""Findings on the GPUs, their driver, and how they are doing."""

from __future__ import annotations

from collections.abc import Iterator

from pytest_trt import units
from pytest_trt.backends.devices.driver_errors import cuda_version
from pytest_trt.backends.devices.gpu import Gpu
from pytest_trt.backends.devices.state import DeviceState, Severity
from pytest_trt.backends.devices.watch import BUSY_PCT
from pytest_trt.doctor.finding import Finding, Level
from pytest_trt.doctor.machine_facts import MachineFacts


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
            yield _state(gpu, machine.states[gpu.uuid])
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


def _state(gpu: Gpu, state: DeviceState) -> Finding:
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
