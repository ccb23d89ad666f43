"""The current state of a GPU: clocks, throttling, temperature, and other processes."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Any

from pytest_trt.backends.devices.nvml import Nvml, nvml_started
from pytest_trt.diagnostics import BackendUnavailableError, Remedy


class Severity(str, Enum):
    """What a clock reason means to a measurement.

    `REFUSE`: the GPU is throttled, so its times say nothing about the engine. `WARN`: times may be
    longer than normal. `FINE`: times are normal.
    """

    REFUSE = "refuse"
    WARN = "warn"
    FINE = "fine"


@dataclass(frozen=True, slots=True)
class ClockReason:
    """Why a GPU runs at its current clocks.

    Attributes:
        name: The reason in a few words.
        severity: What it means to a measurement.
    """

    name: str
    severity: Severity


#: The reasons by their bit. Source: NVML API Reference, "NvmlClocksEventReasons"; the last two are
#: in nvidia-ml-py's older nvmlClocksThrottleReason constants.
_CLOCK_REASONS = {
    0x1: ClockReason("idle", Severity.FINE),
    0x2: ClockReason("clocks set by an application or locked", Severity.FINE),
    0x4: ClockReason("software power cap", Severity.WARN),
    0x8: ClockReason("hardware slowdown", Severity.REFUSE),
    0x10: ClockReason("synchronised boost", Severity.WARN),
    0x20: ClockReason("software thermal slowdown", Severity.REFUSE),
    0x40: ClockReason("hardware thermal slowdown", Severity.REFUSE),
    0x80: ClockReason("hardware power brake", Severity.REFUSE),
    0x100: ClockReason("clocks of the display", Severity.WARN),
    0x200: ClockReason("board limit", Severity.WARN),
    0x400: ClockReason("reliability limit", Severity.WARN),
}


def clock_reasons(mask: int) -> tuple[ClockReason, ...]:
    """Return the reasons in NVML's bitmask, lowest bit first; unknown bits are warnings."""
    bits = (1 << position for position in range(mask.bit_length()) if mask >> position & 1)
    return tuple(
        _CLOCK_REASONS.get(bit, ClockReason(f"unknown reason {bit:#x}", Severity.WARN))
        for bit in bits
    )


@dataclass(frozen=True, slots=True)
class DeviceState:
    """The state of a GPU at one moment; values that NVML does not report are None.

    For a MIG slice, values that only the whole GPU has are those of the whole GPU.

    Attributes:
        sm_clock_mhz: Clock of the multiprocessors.
        max_sm_clock_mhz: The maximum clock of the multiprocessors.
        clock_reasons: Why the clocks are what they are; empty if nothing lowers them.
        temperature_c: Temperature of the chip.
        power_w: Power draw of the board.
        power_limit_w: The power limit in force.
        utilization_pct: Share of the last sampling period in which kernels ran.
        other_processes: PIDs of other processes with a compute context on it, as numbered by the
            host: in a container they may be unknown numbers, or missing.
        persistence: Whether the driver stays loaded without a user.
        performance_state: 0 for the fastest to 15 for the slowest.
    """

    sm_clock_mhz: int | None
    max_sm_clock_mhz: int | None
    clock_reasons: tuple[ClockReason, ...] | None
    temperature_c: int | None
    power_w: float | None
    power_limit_w: float | None
    utilization_pct: int | None
    other_processes: tuple[int, ...] | None
    persistence: bool | None
    performance_state: int | None


def device_state(uuid: str) -> DeviceState:
    """Return the state of a GPU.

    Args:
        uuid: The full UUID of the GPU or of a MIG slice.

    Raises:
        BackendUnavailableError: NVML cannot be used, or has no such GPU.
    """
    with nvml_started() as nvml:
        return _state(nvml, *find_device(nvml, uuid))


def find_device(nvml: Nvml, uuid: str) -> tuple[Any, Any]:
    """Return NVML's handles of a GPU or a slice, and of the whole GPU.

    Raises:
        BackendUnavailableError: NVML has no such GPU.
    """
    module = nvml.module
    try:
        handle = module.nvmlDeviceGetHandleByUUID(uuid)
    except (module.NVMLError_NotFound, module.NVMLError_InvalidArgument) as error:
        raise BackendUnavailableError(
            f"NVML has no GPU {uuid}",
            fix=Remedy("list the UUIDs:", commands=("nvidia-smi -L",)),
            code="TRT713",
            facts={"device": uuid, "status": type(error).__name__},
        ) from error
    whole = handle
    if uuid.startswith("MIG-"):
        whole = nvml.ask("nvmlDeviceGetDeviceHandleFromMigDeviceHandle", handle) or handle
    return handle, whole


def _state(nvml: Nvml, handle: Any, whole: Any) -> DeviceState:
    module = nvml.module
    utilization = nvml.ask("nvmlDeviceGetUtilizationRates", whole)
    performance_state = nvml.ask("nvmlDeviceGetPerformanceState", whole)
    unknown = performance_state == module.NVML_PSTATE_UNKNOWN
    return DeviceState(
        sm_clock_mhz=nvml.ask("nvmlDeviceGetClockInfo", whole, module.NVML_CLOCK_SM),
        max_sm_clock_mhz=nvml.ask("nvmlDeviceGetMaxClockInfo", whole, module.NVML_CLOCK_SM),
        clock_reasons=current_clock_reasons(nvml, whole),
        temperature_c=nvml.ask("nvmlDeviceGetTemperature", whole, module.NVML_TEMPERATURE_GPU),
        power_w=_watts(nvml.ask("nvmlDeviceGetPowerUsage", whole)),
        power_limit_w=_watts(nvml.ask("nvmlDeviceGetEnforcedPowerLimit", whole)),
        utilization_pct=utilization.gpu if utilization else None,
        other_processes=_others(nvml, handle),
        persistence=_is_on(nvml.ask("nvmlDeviceGetPersistenceMode", whole)),
        performance_state=None if unknown else performance_state,
    )


def current_clock_reasons(nvml: Nvml, handle: Any) -> tuple[ClockReason, ...] | None:
    """Return why a GPU runs at its current clocks, or None if NVML does not report it."""
    mask = nvml.ask("nvmlDeviceGetCurrentClocksEventReasons", handle)
    if mask is None:  # the older name
        mask = nvml.ask("nvmlDeviceGetCurrentClocksThrottleReasons", handle)
    return None if mask is None else clock_reasons(mask)


def present_processes(
    nvml: Nvml, handle: Any, lists: Sequence[str] = ("Compute", "MPSCompute", "Graphics")
) -> frozenset[int] | None:
    """Return the processes with a context on a GPU; None if NVML does not report them.

    Args:
        nvml: NVML, started.
        handle: The GPU, or a slice of one.
        lists: NVML's lists of processes; clients of MPS have their own.
    """
    questions = [f"nvmlDeviceGet{name}RunningProcesses" for name in lists]
    answers = [answer for q in questions if (answer := nvml.ask(q, handle)) is not None]
    return frozenset(p.pid for answer in answers for p in answer) if answers else None


def _others(nvml: Nvml, handle: Any) -> tuple[int, ...] | None:
    present = present_processes(nvml, handle, ("Compute", "MPSCompute"))
    return None if present is None else tuple(sorted(present - {os.getpid()}))


def _watts(milliwatts: int | None) -> float | None:
    return None if milliwatts is None else milliwatts / 1000


def _is_on(answer: Any) -> bool | None:
    """Return whether a mode is on; some are pairs: now, and after the next reboot."""
    if answer is None:
        return None
    return bool(answer[0] if isinstance(answer, list | tuple) else answer)
