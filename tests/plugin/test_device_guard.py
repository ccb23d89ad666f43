"""What becomes of benchmarks on a GPU that is idle, shared, or throttled.

The GPU is NVML's answers and a session whose device keeps the time: every call takes what the test
says, so that verdicts rest on nothing else.
"""

from __future__ import annotations

import json
import os
import shutil
import sys
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pynvml
import pytest
from backends.fake_nvml import Device, FakeNvml, computing, h200_answers
from builders import save_linear
from plugin.conftest import assert_shows

from pytest_trt.backends.devices.gpu import DeviceProbe, Gpu
from pytest_trt.backends.devices.watch import DeviceWatch
from pytest_trt.backends.onnxruntime.backend import OnnxRuntimeBackend
from pytest_trt.benchmark import fresh as fresh_rounds
from pytest_trt.benchmark import sampling
from pytest_trt.benchmark.fresh_job import FreshJob, FreshRun
from pytest_trt.benchmark.rounds import TimedCalls, summarised
from pytest_trt.benchmark.warmup import WarmUp
from pytest_trt.engine.protocols import Samples
from pytest_trt.engine.spec import Target

UUID = h200_answers()["nvmlDeviceGetUUID"]
H200 = Gpu("NVIDIA H200", "sm90", UUID, 132, 140 << 30, "580.1", mig=False)

TEST = """
@pytest.mark.trt_model("models/linear.onnx", profiles={"image": ((1, 8), (4, 8), (16, 8))})
@pytest.mark.trt_benchmark
def test_speed(trt_benchmark, images):
    trt_benchmark({"image": images})
"""


class Machine:
    """A machine with one GPU.

    Attributes:
        latency_ms: What every call takes.
        project: What is run on it.
    """

    def __init__(self, project: Any, monkeypatch: pytest.MonkeyPatch) -> None:
        self.latency_ms = 1.0
        self.project, self._monkeypatch = project, monkeypatch
        self.answers()
        project.test_file(TEST)

    def answers(self, **answers: object) -> None:
        """Let NVML answer as of an H200 that this process computes on, but for what is given."""
        usual = {
            "nvmlDeviceGetClockInfo": {pynvml.NVML_CLOCK_SM: 1980, pynvml.NVML_CLOCK_MEM: 3201},
            "nvmlDeviceGetCurrentClocksEventReasons": 0x4,
            "nvmlDeviceGetProcessUtilization": computing({os.getpid(): 97}),
        }
        device = Device(h200_answers() | usual | answers)
        self._monkeypatch.setitem(sys.modules, "pynvml", FakeNvml(device))

    def run(self, *args: str) -> pytest.RunResult:
        return self.project.run(*args, arch=None)

    def change_engine(self) -> None:
        """Put another model in the place of the model, and forget the engine of the first."""
        save_linear(self.project.path / "models" / "linear.onnx", classes=5)
        shutil.rmtree(self.project.cache)

    @property
    def files(self) -> list[Path]:
        return sorted(self.project.path.glob("trt_baselines/*/*.json"))

    @property
    def run_stored(self) -> dict[str, Any]:
        (file,) = self.files
        (entry,) = json.loads(file.read_text())["tests"].values()
        return entry["runs"][-1]


@pytest.fixture
def machine(project, monkeypatch: pytest.MonkeyPatch) -> Machine:
    found = Machine(project, monkeypatch)

    class TimedSession:
        """A session whose device keeps the time."""

        graph_refusal = None

        def __init__(self, session: Any) -> None:
            self._session = session
            self.run, self.close = session.run, session.close

        def sample(self, inputs: object, *, mode: str, calls: int) -> Samples:
            return Samples(np.full(calls, found.latency_ms), calls * found.latency_ms / 1e3)

    class Backend(OnnxRuntimeBackend):
        name = "tensorrt"

        def target(self, arch: str) -> Target:
            return Target(arch, {"gpu": H200.name})

        def cannot_run(self, target: Target) -> None:
            return None

        def open(self, *args: Any) -> Any:
            return TimedSession(super().open(*args))

    def fresh(job: FreshJob, **_: object) -> FreshRun:  # this GPU is in no other process
        one = TimedCalls(np.full(job.calls, found.latency_ms), job.calls * found.latency_ms / 1e3)
        return FreshRun(summarised([one] * job.rounds, items_per_call=job.items_per_call))

    monkeypatch.setattr(fresh_rounds, "measure_fresh", fresh)
    plugin = "pytest_trt.plugin.run"
    devices = "pytest_trt.backends.devices.probe.probe_devices"
    monkeypatch.setattr(devices, lambda: DeviceProbe((H200,), ""))
    monkeypatch.setattr(f"{plugin}.is_installed", lambda name: name == "tensorrt")
    monkeypatch.setattr(f"{plugin}.make_backend", lambda name, **_: Backend(threads=1))
    at_once = WarmUp(least_s=0, least_calls=1, window_s=0.001, most_s=0)
    monkeypatch.setattr(sampling, "ON_GPU", at_once)
    monkeypatch.setattr("pytest_trt.backends.devices.watch.LISTEN_S", 0.0)
    return found


def unnamed(seen_us: int) -> list[SimpleNamespace]:
    """Answer as a driver does that names this process, and the other one longer ago than counts."""
    seen_us = max(seen_us, time.time_ns() // 1000 + 10_000_000)  # after listening began
    shares = ((os.getpid(), 60, seen_us + 2_000_000), (77, 40, seen_us + 500_000))
    return [SimpleNamespace(pid=p, smUtil=pct, timeStamp=us) for p, pct, us in shares]


UNNAMED = {"nvmlDeviceGetProcessUtilization": unnamed}
HEARD = "another process computes on the GPU (process 77 for 40% of the time)"


@pytest.fixture
def recorded(machine: Machine) -> Machine:
    """A machine with a baseline."""
    machine.run().assert_outcomes(passed=1)
    return machine


OTHER = {"nvmlDeviceGetProcessUtilization": computing({os.getpid(): 60, 77: 40})}
THROTTLED = {"nvmlDeviceGetCurrentClocksEventReasons": 0x4 | 0x40}
DISTURBED = {
    "contended": (OTHER, "another process computes on the GPU (process 77 for 40% of the time)"),
    "throttled": (THROTTLED, "the GPU is throttled (hardware thermal slowdown)"),
}


def test_idle_gpu_records_with_its_clock_and_passes(recorded) -> None:
    environment = {"driver": "580.1", "power_limit_w": "700", "sm_clock_mhz": "1980"}
    assert recorded.run_stored["environment"] == environment
    assert_shows(recorded.run(), "speed * passed", passed=1)


@pytest.mark.parametrize("how", DISTURBED)
def test_slower_engine_on_a_disturbed_gpu_is_inconclusive(recorded, how: str) -> None:
    answers, message = DISTURBED[how]
    recorded.answers(**answers)
    recorded.latency_ms = 3.0
    result = recorded.run()
    assert_shows(result, "speed * inconclusive", passed=1)
    result.stdout.fnmatch_lines(
        [
            f"*speed is inconclusive: 5 rounds of 20 were disturbed: {message} *TRT730*",
            "*Run again *",
        ]
    )


@pytest.mark.parametrize("args", [["--trt-update-new"], []])
def test_nothing_is_recorded_while_another_process_is_detected(machine, args: list[str]) -> None:
    machine.answers(**UNNAMED)
    assert_shows(machine.run(*args), f"*{HEARD}; no baseline was recorded *", passed=1)
    assert machine.files == []


def test_update_that_another_process_prevents_is_a_failure(machine) -> None:
    machine.answers(**UNNAMED)
    result = machine.run("--trt-update")
    assert_shows(result, f"baseline not updated: {HEARD} *TRT663]", "Fix: Run again *", failed=1)
    assert machine.files == []


def test_slower_engine_is_inconclusive_if_another_process_is_detected_at_the_end(
    recorded, monkeypatch
) -> None:
    # It began after the first listening, and the driver named this process alone since.
    heard = iter([None, HEARD, HEARD, HEARD])
    monkeypatch.setattr(DeviceWatch, "listen", lambda _: next(heard))
    recorded.change_engine()
    recorded.latency_ms = 3.0
    result = recorded.run()
    result.assert_outcomes(passed=1)
    result.stdout.fnmatch_lines_random(
        ["speed * inconclusive", f"*speed is inconclusive: {HEARD}*"]
    )
    assert next(heard, "nobody asked again") == "nobody asked again"


def test_slower_engine_fails_once_the_other_process_ends(recorded, monkeypatch) -> None:
    heard = iter([HEARD, None, HEARD, None])
    monkeypatch.setattr(DeviceWatch, "listen", lambda _: next(heard))
    recorded.change_engine()
    recorded.latency_ms = 3.0
    assert_shows(recorded.run(), "P50 +200% over the baseline, limit 5% *TRT50?]", failed=1)


def test_passing_benchmark_checks_for_other_processes_once(recorded, monkeypatch) -> None:
    heard = iter([None])
    monkeypatch.setattr(DeviceWatch, "listen", lambda _: next(heard))
    recorded.run().assert_outcomes(passed=1)


@pytest.mark.parametrize("args", [["--trt-update"], ["--trt-update-new"], []])
def test_nothing_is_recorded_on_a_disturbed_gpu(machine, args: list[str]) -> None:
    machine.answers(**THROTTLED)
    result = machine.run(*args)
    updated = "--trt-update" in args
    result.assert_outcomes(**{"failed" if updated else "passed": 1})
    assert machine.files == []
    reported = "baseline not updated: *" if updated else "*; no baseline was recorded *"
    result.stdout.fnmatch_lines([reported, "*Run again when the GPU is idle and not throttled.*"])


def test_absolute_limit_does_not_fail_on_a_disturbed_gpu(machine) -> None:
    machine.project.test_file(TEST.replace("trt_benchmark\n", "trt_benchmark(p99_ms=0.5)\n", 1))
    machine.run().assert_outcomes(failed=1)
    machine.answers(**THROTTLED)
    machine.run().assert_outcomes(passed=1)


def test_what_is_exact_fails_on_a_disturbed_gpu_too(machine) -> None:
    exact = "trt_benchmark(plan_size_bytes=10)\n"
    machine.project.test_file(TEST.replace("trt_benchmark\n", exact, 1))
    machine.answers(**THROTTLED)
    result = machine.run()
    assert_shows(result, "plan size * bytes exceeds the limit of 10 bytes *", "Fix: *", failed=1)


def test_the_baselines_own_plan_is_not_slower_than_itself(recorded) -> None:
    # Whatever slows it down, such as a neighbour that no guard can see, is not of the engine.
    recorded.latency_ms = 3.0
    result = recorded.run()
    result.assert_outcomes(passed=1)
    result.stdout.fnmatch_lines_random(["speed * inconclusive", "*byte for byte*the machine was *"])
    recorded.run("--trt-inconclusive=fail").assert_outcomes(failed=1)


def test_a_plan_that_was_rebuilt_may_be_slower(recorded) -> None:
    (file,) = recorded.files
    plan = json.loads(file.read_text())["tests"]["test_speed"]["engine"]["plan"]
    file.write_text(file.read_text().replace(plan, plan[::-1]))
    recorded.latency_ms = 3.0
    result = recorded.run()
    assert_shows(result, "*engine was rebuilt from the same key, and its plan differs*", failed=1)


def test_brief_disturbance_discards_rounds_but_not_the_verdict(recorded) -> None:
    masks = iter([0x4] * 10 + [0x44] * 8)
    recorded.answers(nvmlDeviceGetCurrentClocksEventReasons=lambda: next(masks, 0x4))
    recorded.run().stdout.fnmatch_lines(["speed * passed"])
    assert next(masks, None) is None


CONDITIONS = {
    "clock": (
        {"nvmlDeviceGetClockInfo": {pynvml.NVML_CLOCK_SM: 1500, pynvml.NVML_CLOCK_MEM: 3201}},
        "the GPU's clock is 1500 MHz, it was 1980 MHz with the baseline",
    ),
    "power limit": (
        {"nvmlDeviceGetEnforcedPowerLimit": 500_000},
        "the GPU's power limit is 500 W, it was 700 W with the baseline",
    ),
}


@pytest.mark.parametrize("what", CONDITIONS)
def test_stored_rounds_under_other_conditions_are_not_compared(recorded, what: str) -> None:
    answers, message = CONDITIONS[what]
    recorded.answers(**answers)
    recorded.latency_ms = 1.3
    result = recorded.run()
    result.assert_outcomes(passed=1)
    result.stdout.fnmatch_lines_random(["speed * inconclusive", f"*{message}*"])


def test_clock_that_differs_by_a_step_is_compared_without_a_note(recorded) -> None:
    clocks = {pynvml.NVML_CLOCK_SM: 1965, pynvml.NVML_CLOCK_MEM: 3201}
    recorded.answers(nvmlDeviceGetClockInfo=clocks)
    recorded.change_engine()
    recorded.latency_ms = 3.0
    result = recorded.run()
    result.assert_outcomes(failed=1)
    assert "sm_clock_mhz" not in result.stdout.str()


def test_engines_are_interleaved_at_another_clock_too(recorded) -> None:
    # Another model is another engine, and that of the baseline is in the cache.
    save_linear(recorded.project.path / "models" / "linear.onnx", classes=5)
    recorded.answers(**CONDITIONS["clock"][0])
    recorded.run().stdout.fnmatch_lines(["speed * passed"])


@pytest.mark.parametrize(("reasons", "message"), [(0x4, "recorded"), (0x40, "inconclusive")])
def test_gpu_is_watched_while_pytest_benchmark_times(machine, reasons: int, message: str) -> None:
    pytest.importorskip("pytest_benchmark")
    machine.project.light = ()
    machine.project.test_file(
        TEST.replace("(trt_benchmark,", "(benchmark, trt_session,").replace(
            'trt_benchmark({"image": images})',
            'benchmark.pedantic(trt_session.run, ({"image": images},), rounds=200)',
        )
    )
    machine.answers(nvmlDeviceGetCurrentClocksEventReasons=reasons)
    assert_shows(machine.run(), f"speed  linear.onnx fp32 sm90 *{message}", passed=1)
    assert len(machine.files) == (message == "recorded")
    if machine.files:
        assert machine.run_stored["environment"]["sm_clock_mhz"] == "1980"
