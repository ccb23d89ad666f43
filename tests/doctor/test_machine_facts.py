from __future__ import annotations

import ctypes
import json
import sys
from dataclasses import replace
from pathlib import Path

import pynvml
import pytest
from backends.fake_nvml import Device, FakeDriver, FakeNvml, h200_answers

from pytest_trt.backends.devices import probe as device
from pytest_trt.backends.devices.driver_devices import driver_answers
from pytest_trt.doctor import machine_facts as machines
from pytest_trt.doctor.machine_facts import MachineFacts, machine_facts, machine_facts_json


def ask() -> MachineFacts:
    # As it crosses to the process that asks.
    return machines.facts_from_json(json.loads(json.dumps(machine_facts_json())))


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


def test_whatever_this_machine_is_it_is_told_whole() -> None:
    first, second = ask(), machine_facts()
    # Clocks and heat move.
    assert first.states.keys() == second.states.keys()
    assert replace(first, states={}) == replace(second, states={})


def test_a_gpu_is_told_with_its_driver_and_its_state(plant) -> None:
    plant(Device())
    facts = ask()
    assert facts == machine_facts()
    assert [gpu.name for gpu in facts.probe.gpus] == ["NVIDIA H200"]
    assert (facts.driver, facts.driver_cuda, facts.listed) == ("580.159.04", 13000, 1)
    (state,) = facts.states.values()
    assert (state.sm_clock_mhz, state.power_w) == (345, 76.5)
    assert [reason.name for reason in state.clock_reasons or ()] == ["idle"]


def test_a_gpu_that_tells_little_is_told_with_little(plant) -> None:
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
    assert "may not use the NVIDIA driver" in facts.nvml_problem[0]
    assert "/dev/nvidia*" in facts.nvml_problem[1]
    assert [gpu.name for gpu in facts.probe.gpus] == ["NVIDIA A10"]
    assert facts.states == {}


def test_a_gpu_that_falls_off_the_bus_meanwhile_is_a_problem_of_its_own(plant) -> None:
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
