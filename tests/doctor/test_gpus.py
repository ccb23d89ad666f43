from __future__ import annotations

from dataclasses import replace

import pytest
from builders_doctor import IDLE, NO_GPU, machine, state

from pytest_trt.backends.devices.gpu import DeviceProbe
from pytest_trt.backends.devices.state import clock_reasons
from pytest_trt.doctor.finding import Level
from pytest_trt.doctor.gpus import disturbance, gpu_findings


def test_a_gpu_at_rest_is_told_with_its_driver_and_state() -> None:
    driver, gpu, now = gpu_findings(machine("sm90"))
    assert driver.what == "580.159.04, serves CUDA 13.0"
    assert gpu.what == "NVIDIA sm90 (sm90), 141 GB, 132 multiprocessors"
    assert now.what == "345 of 1980 MHz, 76 of 700 W, 31 C, P0, 0% busy, clocks: idle"
    assert {one.level for one in (driver, gpu, now)} == {Level.OK}


def test_every_gpu_is_told_by_its_number() -> None:
    names = [one.name for one in gpu_findings(machine("sm90", "sm86"))]
    assert names == ["driver", "GPU 0", "GPU 0 now", "GPU 1", "GPU 1 now"]


def test_no_gpu_is_nothing_wrong() -> None:
    (found,) = gpu_findings(NO_GPU)
    assert (found.level, found.what) == (Level.NOTE, "none")
    assert found.why == "no NVIDIA driver: libcuda.so.1 not found"


@pytest.mark.parametrize(
    ("facts", "fix"),
    [
        (replace(NO_GPU, on_bus=2), "--gpus all"),
        (replace(NO_GPU, driver="580.1"), "nvidia-smi"),
        (
            replace(NO_GPU, probe=DeviceProbe((), "CUDA_VISIBLE_DEVICES='' hides every GPU")),
            "unset CUDA_VISIBLE_DEVICES",
        ),
    ],
)
def test_a_gpu_that_is_there_and_cannot_be_used_is_warned_of(facts, fix) -> None:
    found = next(one for one in gpu_findings(facts) if one.name == "GPU")
    assert found.level is Level.WARN
    assert fix in found.fix


def test_looking_for_gpus_that_crashes_is_an_error_for_runs_look_too() -> None:
    facts = replace(NO_GPU, problem="looking for GPUs crashes Python (SIGSEGV)")
    (found,) = gpu_findings(facts)
    assert found.level is Level.ERROR


@pytest.mark.parametrize(
    ("now", "said"),
    [
        (IDLE, ""),
        (state(*clock_reasons(0x4)), ""),
        (state(utilization_pct=4), ""),
        (state(*clock_reasons(0x40)), "hardware thermal slowdown"),
        (state(utilization_pct=80), "80% of the time"),
        (state(*clock_reasons(0x8), utilization_pct=80), "slowdown) and something"),
    ],
)
def test_what_would_spoil_speed_is_warned_of(now, said) -> None:
    assert (said in disturbance(now)) if said else disturbance(now) == ""
    found = next(
        one for one in gpu_findings(machine(states={"GPU-0": now})) if one.name == "GPU 0 now"
    )
    assert found.level is (Level.WARN if said else Level.OK)


def test_a_state_that_nothing_tells_is_said_with_what_to_do() -> None:
    unusable = ("nvidia-ml-py cannot be imported: x.", "pip install nvidia-ml-py.")
    driver, gpu = gpu_findings(machine(states={}, nvml_problem=unusable))
    assert (driver.level, driver.fix) == (Level.WARN, "pip install nvidia-ml-py.")
    assert gpu.level is Level.OK
    *_, now = gpu_findings(machine(states={}, state_problems={"GPU-0": "a GPU fell off the bus"}))
    assert (now.level, now.why) == (Level.WARN, "a GPU fell off the bus")


def test_a_driver_that_tells_nothing_of_a_gpu_is_no_problem() -> None:
    unknown = replace(
        IDLE,
        **dict.fromkeys(IDLE.__slots__),  # type: ignore[arg-type]
    )
    *_, now = gpu_findings(machine(states={"GPU-0": unknown}))
    assert (now.level, now.what) == (Level.OK, "its driver tells nothing of it")
