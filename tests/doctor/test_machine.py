from __future__ import annotations

import ctypes
import json
import sys
from dataclasses import replace
from pathlib import Path

import pynvml
import pytest
from backends.fake_nvml import Device, FakeDriver, FakeNvml, h200_answers
from builders_doctor import IDLE, NO_GPU, machine, state

from pytest_trt.backends.devices import probe as device
from pytest_trt.backends.devices.driver import driver_answers
from pytest_trt.backends.devices.gpu import DeviceProbe
from pytest_trt.backends.devices.state import clock_reasons
from pytest_trt.diagnostics import Remedy
from pytest_trt.doctor import machine as machines
from pytest_trt.doctor.finding import Level, Problem, remedy_text
from pytest_trt.doctor.machine import (
    MachineFacts,
    disturbance,
    gpu_findings,
    machine_facts,
    machine_facts_data,
)
from pytest_trt.records import from_data


def ask() -> MachineFacts:
    # As it crosses to the process that asks.
    return from_data(MachineFacts, json.loads(json.dumps(machine_facts_data())))


class Driver(FakeDriver):
    def cuDriverGetVersion(self, version) -> int:
        super().cuDriverGetVersion(version)
        return 0


@pytest.fixture
def plant(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    def put(*devices: Device, refusal: Exception | None = None) -> None:
        monkeypatch.setitem(sys.modules, "pynvml", FakeNvml(*devices, refusal=refusal))
        monkeypatch.setattr(ctypes, "CDLL", lambda name: Driver())
        monkeypatch.setattr(device, "asked_driver", lambda environ: driver_answers(Driver()))
        monkeypatch.setattr(machines, "_PCI_DEVICES", tmp_path)

    return put


def test_any_machine_is_reported_completely() -> None:
    first, second = ask(), machine_facts()
    # Clocks and heat move.
    assert first.states.keys() == second.states.keys()
    assert replace(first, states={}) == replace(second, states={})


def test_a_gpu_is_reported_with_its_driver_and_its_state(plant) -> None:
    plant(Device())
    facts = ask()
    assert facts == machine_facts()
    assert [gpu.name for gpu in facts.probe.gpus] == ["NVIDIA H200"]
    assert (facts.driver, facts.driver_cuda, facts.listed) == ("580.159.04", 13000, 1)
    (state,) = facts.states.values()
    assert (state.sm_clock_mhz, state.power_w) == (345, 76.5)
    assert [reason.name for reason in state.clock_reasons or ()] == ["idle"]


def test_a_gpu_that_reports_little_is_reported_with_little(plant) -> None:
    kept = ("nvmlDeviceGetName", "nvmlDeviceGetUUID", "nvmlDeviceGetCudaComputeCapability")
    more = ("nvmlDeviceGetNumGpuCores", "nvmlDeviceGetMemoryInfo")
    plant(Device({name: value for name, value in h200_answers().items() if name in kept + more}))
    (state,) = ask().states.values()
    assert (state.clock_reasons, state.other_processes) == (None, None)


def test_a_gpu_that_is_hidden_is_counted(plant, monkeypatch: pytest.MonkeyPatch) -> None:
    plant(Device())
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    facts = ask()
    assert facts.probe.gpus == ()
    assert facts.listed == 1


def test_nvml_that_cannot_be_used_says_why(plant) -> None:
    plant(refusal=pynvml.NVMLError_NoPermission())
    facts = ask()
    assert facts.nvml_problem is not None
    assert "may not use the NVIDIA driver" in facts.nvml_problem.what
    assert "/dev/nvidia*" in facts.nvml_problem.remedy.text
    assert [gpu.name for gpu in facts.probe.gpus] == ["NVIDIA A10"]
    assert facts.states == {}


def test_a_gpu_that_falls_off_the_bus_during_the_check_is_a_separate_problem(plant) -> None:
    lost = h200_answers() | {"nvmlDeviceGetPowerUsage": pynvml.NVMLError_GpuIsLost()}
    plant(Device(lost))
    facts = ask()
    assert facts.states == {}
    (problem,) = facts.state_problems.values()
    assert "fallen off the bus" in problem


def test_gpus_on_the_bus_are_counted_without_any_driver(plant, tmp_path: Path) -> None:
    plant()
    for name, vendor, kind in (("gpu", "0x10de", "0x030200"), ("audio", "0x10de", "0x040300")):
        (tmp_path / name).mkdir()
        (tmp_path / name / "vendor").write_text(f"{vendor}\n")
        (tmp_path / name / "class").write_text(f"{kind}\n")
    (tmp_path / "gone").mkdir()
    assert ask().on_bus == 1


def test_a_gpu_that_others_use_is_reported_with_their_number() -> None:
    states = {"GPU-0": state(other_processes=(7, 8), persistence=False)}
    *_, found = gpu_findings(machine(states=states))
    assert found.what.endswith("0% busy, contexts of other processes: 2, persistence mode off")


def test_a_gpu_at_rest_is_reported_with_its_driver_and_state() -> None:
    driver, gpu, now = gpu_findings(machine("sm90"))
    assert driver.what == "580.159.04, supports CUDA 13.0"
    assert gpu.what == "NVIDIA sm90 (sm90), 141 GB, 132 multiprocessors"
    assert now.what == "345 of 1980 MHz, 76 of 700 W, 31 C, P0, 0% busy, clocks: idle"
    assert {one.level for one in (driver, gpu, now)} == {Level.OK}


def test_every_gpu_is_reported_by_its_number() -> None:
    names = [one.name for one in gpu_findings(machine("sm90", "sm86"))]
    assert names == ["driver", "GPU 0", "GPU 0 now", "GPU 1", "GPU 1 now"]


def test_no_gpu_is_nothing_wrong() -> None:
    (found,) = gpu_findings(NO_GPU)
    assert (found.level, found.what) == (Level.NOTE, "none")
    assert found.why == "libcuda.so.1 not found"


@pytest.mark.parametrize(
    ("facts", "fix"),
    [
        (replace(NO_GPU, on_bus=2), "--gpus all"),
        (replace(NO_GPU, driver="580.1"), "nvidia-smi"),
        (
            replace(NO_GPU, probe=DeviceProbe((), "hidden", Remedy("Unset it."), is_masked=True)),
            "Unset it.",
        ),
    ],
)
def test_a_gpu_that_is_there_and_cannot_be_used_is_warned_of(facts, fix) -> None:
    found = next(one for one in gpu_findings(facts) if one.name == "GPU")
    assert found.level is Level.WARN
    assert fix in remedy_text(found.remedy)


def test_looking_for_gpus_that_crashes_is_an_error_for_runs_look_too() -> None:
    facts = replace(NO_GPU, problem="looking for GPUs crashes Python (SIGSEGV)")
    (found,) = gpu_findings(facts)
    assert found.level is Level.ERROR


@pytest.mark.parametrize(
    ("now", "message"),
    [
        (IDLE, ""),
        (state(*clock_reasons(0x4)), ""),
        (state(utilization_pct=4), ""),
        (state(*clock_reasons(0x40)), "hardware thermal slowdown"),
        (state(utilization_pct=80), "80% of the time"),
        (state(*clock_reasons(0x8), utilization_pct=80), "slowdown) and another process"),
    ],
)
def test_what_would_spoil_speed_is_warned_of(now, message) -> None:
    assert (message in disturbance(now)) if message else disturbance(now) == ""
    found = next(
        one for one in gpu_findings(machine(states={"GPU-0": now})) if one.name == "GPU 0 now"
    )
    assert found.level is (Level.WARN if message else Level.OK)


def test_an_unknown_gpu_state_is_reported_with_what_to_do() -> None:
    unusable = Problem("nvidia-ml-py cannot be imported", Remedy("Install nvidia-ml-py."))
    driver, gpu = gpu_findings(machine(states={}, nvml_problem=unusable))
    assert (driver.level, remedy_text(driver.remedy)) == (Level.WARN, "Install nvidia-ml-py.")
    assert gpu.level is Level.OK
    *_, now = gpu_findings(machine(states={}, state_problems={"GPU-0": "a GPU fell off the bus"}))
    assert (now.level, now.why) == (Level.WARN, "a GPU fell off the bus")


def test_a_driver_that_reports_nothing_about_a_gpu_is_not_a_problem() -> None:
    unknown = replace(
        IDLE,
        **dict.fromkeys(IDLE.__slots__),  # type: ignore[arg-type]
    )
    *_, now = gpu_findings(machine(states={"GPU-0": unknown}))
    assert (now.level, now.what) == (Level.OK, "no values reported")
