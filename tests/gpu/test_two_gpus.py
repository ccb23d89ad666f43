"""A machine with several GPUs: which one is used, and that each is timed for itself."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from builders import save_linear

from pytest_trt.backends.devices.gpu import Gpu
from pytest_trt.backends.devices.probe import probe_devices
from pytest_trt.benchmark.conditions import device_lock

pytestmark = pytest.mark.gpu

TEST = """
import importlib

import numpy as np
import pytest

pytestmark = pytest.mark.trt_model(
    "linear.onnx", profiles={"image": ((1, 8), (4, 8), (16, 8))}
)

@pytest.mark.trt_benchmark(p50="off", p95="off", p99="off", throughput="50%")
def test_speed(trt_benchmark):
    trt_benchmark({"image": np.ones((4, 8), np.float32)})
    runtime = importlib.import_module("cuda.bindings.runtime")
    status, device = runtime.cudaGetDevice()
    print("the current device is", device)
"""

#: Which GPUs CUDA counts, by UUID and in its order.
AS_CUDA_COUNTS = """
import importlib, json
runtime = importlib.import_module("cuda.bindings.runtime")
status, count = runtime.cudaGetDeviceCount()
assert status == runtime.cudaError_t.cudaSuccess, status
found = []
for index in range(count):
    status, properties = runtime.cudaGetDeviceProperties(index)
    # While the properties are held: their parts refer to their memory.
    found.append(bytes(properties.uuid.bytes).hex())
print(json.dumps(found))
"""


@pytest.fixture
def two(gpu: Gpu) -> tuple[Gpu, Gpu]:
    """The first two GPUs."""
    found = probe_devices().gpus
    if len(found) < 2:
        pytest.skip("one GPU only")
    return found[0], found[1]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "test_it.py").write_text(TEST)
    save_linear(tmp_path / "linear.onnx", classes=1000)
    return tmp_path


def masks(two: tuple[Gpu, Gpu]) -> list[str]:
    first, second = two
    both = (f"{second.uuid},{first.uuid}", f"{first.uuid},{second.uuid}")
    return ["0", "1", "0,1", "1,0", "1,9,0", "9,1", "1,1", second.uuid, second.uuid[:12], *both]


def test_gpus_are_numbered_as_cuda_numbers_them(two: tuple[Gpu, Gpu]) -> None:
    for mask in [None, *masks(two)]:
        environ = {**os.environ, **({} if mask is None else {"CUDA_VISIBLE_DEVICES": mask})}
        paths = os.pathsep.join(filter(None, sys.path))
        done = subprocess.run(
            [sys.executable, "-c", AS_CUDA_COUNTS],
            env={**environ, "PYTHONPATH": paths},
            capture_output=True,
            text=True,
            check=False,
        )
        counted = json.loads(done.stdout) if done.returncode == 0 else []
        ours = probe_devices(environ).gpus
        assert [g.uuid.partition("-")[2].replace("-", "") for g in ours] == counted, (
            mask,
            done.stderr,
        )


def test_engine_built_on_one_runs_on_the_other_of_the_same_product(
    two: tuple[Gpu, Gpu], folder: Path, inner_pytest, tmp_path: Path
) -> None:
    if len({gpu.name for gpu in two}) > 1:
        pytest.skip("GPUs of two products")
    for gpu, cached in zip(two, (False, True), strict=True):
        report = tmp_path / f"{gpu.index}.json"
        done = inner_pytest(
            folder,
            "-s",
            f"--trt-device={gpu.uuid}",
            f"--trt-report={report}",
            "--trt-missing-baseline=record",
            cache=tmp_path / "cache",
        )
        done.assert_outcomes(passed=1)
        done.stdout.fnmatch_lines([f"*the current device is {gpu.index}*"])
        (test,) = json.loads(report.read_text())["tests"]
        assert [result["cached"] for result in test["results"]] == [cached]


def test_one_gpu_is_timed_while_another_is_in_use(
    two: tuple[Gpu, Gpu], folder: Path, inner_pytest, tmp_path: Path
) -> None:
    with device_lock(two[0].uuid, print):
        done = inner_pytest(
            folder,
            f"--trt-device={two[1].uuid}",
            "--trt-missing-baseline=record",
            cache=tmp_path / "cache",
        )
    done.assert_outcomes(passed=1)
