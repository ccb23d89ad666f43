from __future__ import annotations

import os
import sys
from dataclasses import astuple
from types import SimpleNamespace

import pynvml
import pytest
from backends.fake_nvml import Device, FakeNvml, h200_answers
from hypothesis import given
from hypothesis import strategies as st

from pytest_trt.backends.devices.state import (
    ClockReason,
    DeviceState,
    Severity,
    clock_reasons,
    device_state,
)
from pytest_trt.diagnostics import BackendUnavailableError

UUID = h200_answers()["nvmlDeviceGetUUID"]


@pytest.fixture
def install(monkeypatch: pytest.MonkeyPatch):
    """Put a GPU in place that answers as an idle H200, but for what is given."""

    def put(**answers: object) -> Device:
        device = Device(h200_answers() | answers)
        monkeypatch.setitem(sys.modules, "pynvml", FakeNvml(device))
        return device

    return put


def test_state_of_an_idle_gpu(install) -> None:
    install()
    assert device_state(UUID) == DeviceState(
        sm_clock_mhz=345,
        max_sm_clock_mhz=1980,
        clock_reasons=(ClockReason("idle", Severity.FINE),),
        temperature_c=31,
        power_w=76.5,
        power_limit_w=700.0,
        utilization_pct=0,
        other_processes=(),
        persistence=True,
        performance_state=0,
    )


@pytest.mark.parametrize(
    "error",
    [pynvml.NVMLError_NotSupported(), pynvml.NVMLError_NoPermission(), pynvml.NVMLError_Unknown()],
    ids=lambda error: type(error).__name__,
)
def test_what_nvml_does_not_report_is_none(install, error) -> None:
    install(**{name: error for name in h200_answers() if name != "nvmlDeviceGetUUID"})
    assert set(astuple(device_state(UUID))) == {None}


def test_older_drivers_are_called_by_the_older_name(install) -> None:
    install(
        nvmlDeviceGetCurrentClocksEventReasons=pynvml.NVMLError_FunctionNotFound(),
        nvmlDeviceGetCurrentClocksThrottleReasons=0x4,
    )
    assert device_state(UUID).clock_reasons == (ClockReason("software power cap", Severity.WARN),)


def test_other_processes_are_listed_without_this_one(install) -> None:
    install(
        nvmlDeviceGetComputeRunningProcesses=[
            SimpleNamespace(pid=pid) for pid in (os.getpid(), 77, 5)
        ],
        nvmlDeviceGetMPSComputeRunningProcesses=[SimpleNamespace(pid=77), SimpleNamespace(pid=8)],
    )
    assert device_state(UUID).other_processes == (5, 8, 77)


def test_performance_state_that_nvml_calls_unknown_is_none(install) -> None:
    install(nvmlDeviceGetPerformanceState=pynvml.NVML_PSTATE_UNKNOWN)
    assert device_state(UUID).performance_state is None


def test_slice_has_the_clocks_of_its_gpu_and_its_own_processes(install) -> None:
    whole = install(nvmlDeviceGetMigMode=[1, 1])
    running = [SimpleNamespace(pid=9)]
    own = {"nvmlDeviceGetUUID": "MIG-1", "nvmlDeviceGetComputeRunningProcesses": running}
    whole.slices = [Device(own, whole=whole)]
    state = device_state("MIG-1")
    assert (state.sm_clock_mhz, state.other_processes) == (345, (9,))


def test_unknown_gpu_is_an_error(install) -> None:
    install()
    with pytest.raises(BackendUnavailableError, match="NVML has no GPU GPU-none"):
        device_state("GPU-none")


@pytest.mark.parametrize(
    ("mask", "severity"),
    [
        *((bit, Severity.FINE) for bit in (0x1, 0x2)),
        *((bit, Severity.WARN) for bit in (0x4, 0x10, 0x100, 0x200, 0x400)),
        *((bit, Severity.REFUSE) for bit in (0x8, 0x20, 0x40, 0x80)),
    ],
)
def test_every_reason_has_its_severity(mask: int, severity: Severity) -> None:
    (reason,) = clock_reasons(mask)
    assert reason.severity is severity
    assert "unknown" not in reason.name


def test_every_reason_of_the_bindings_is_known() -> None:
    everything = pynvml.nvmlClocksEventReasonAll | pynvml.nvmlClocksThrottleReasonAll
    assert not [reason for reason in clock_reasons(everything) if "unknown" in reason.name]


@given(st.integers(min_value=0, max_value=(1 << 64) - 1))
def test_no_bit_is_dropped(mask: int) -> None:
    reasons = clock_reasons(mask)
    assert len(set(reasons)) == bin(mask).count("1")
    assert [r.severity for r in reasons if "unknown" in r.name] == [Severity.WARN] * (
        bin(mask >> 11).count("1")
    )
