"""What is said of a real GPU, which one is used, and what becomes of a run that loses it."""

from __future__ import annotations

import importlib
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from builders import save_linear

from pytest_trt.backends.devices.gpu import Gpu
from pytest_trt.backends.devices.probe import probe_devices
from pytest_trt.backends.devices.state import device_state

pytestmark = pytest.mark.gpu

CONFTEST = '''
import numpy as np
import pytest

@pytest.fixture
def images():
    return np.random.default_rng(1).normal(size=(4, 8)).astype(np.float32)

#: A kernel that writes to address 0.
PTX = b"""
.version 6.3
.target sm_75
.address_size 64
.visible .entry write_nowhere()
{
    .reg .b64 %address;
    .reg .b32 %value;
    mov.u64 %address, 0;
    mov.u32 %value, 1;
    st.volatile.global.u32 [%address], %value;
    ret;
}
\\0"""

@pytest.fixture
def lose_the_gpu():
    from cuda.bindings import driver

    def checked(answer):
        status, *results = answer
        assert status == driver.CUresult.CUDA_SUCCESS, status
        return results[0] if results else None

    def lose():
        module = checked(driver.cuModuleLoadData(PTX))
        kernel = checked(driver.cuModuleGetFunction(module, b"write_nowhere"))
        checked(driver.cuLaunchKernel(kernel, 1, 1, 1, 1, 1, 1, 0, 0, 0, 0))

    return lose
'''

TESTS = """
import pytest

pytestmark = pytest.mark.trt_model(
    "models/linear.onnx", profiles={"image": ((1, 8), (4, 8), (16, 8))}
)

def test_runs(trt_session, images):
    assert trt_session.run({"image": images})["probs"].shape == (4, 4)
"""

LOSING_TESTS = """
def test_loses(trt_session, images, lose_the_gpu):
    trt_session.run({"image": images})
    lose_the_gpu()
    trt_session.run({"image": images})

def test_after(trt_session, images):
    trt_session.run({"image": images})

@pytest.mark.trt_model(precision="fp16")
def test_after_with_another_engine(trt_session, images):
    trt_session.run({"image": images})

def test_that_only_builds(trt_engine):
    assert trt_engine.facts

def test_unrelated():
    pass
"""

#: Probes, and asks the driver library whether that started CUDA; a forked process can use it then.
NO_CONTEXT = """
import ctypes, os
from pytest_trt.backends.cuda.runtime import Cuda
from pytest_trt.backends.devices.probe import probe_devices

probe = probe_devices()
assert probe.gpus, probe.reason
cuda, context = ctypes.CDLL("libcuda.so.1"), ctypes.c_void_p()
status = cuda.cuCtxGetCurrent(ctypes.byref(context))
assert status == 3, f"CUDA_ERROR_NOT_INITIALIZED is 3, this is {status}"

child = os.fork()
if child == 0:
    same = probe_devices() == probe
    Cuda(0).call("cudaDeviceSynchronize")
    os._exit(0 if same else 1)
assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0

assert probe_devices() == probe
flags, active = ctypes.c_uint(), ctypes.c_int()
assert cuda.cuInit(0) == 0
assert cuda.cuDevicePrimaryCtxGetState(0, ctypes.byref(flags), ctypes.byref(active)) == 0
assert not active.value
"""


#: Begins a context in the background, and asks the driver library whether it is there then.
EARLY_CONTEXT = """
import ctypes
from pytest_trt.backends.cuda.background import begin_context
from pytest_trt.backends.cuda.runtime import Cuda

begin_context(0).result()
cuda, flags, active = ctypes.CDLL("libcuda.so.1"), ctypes.c_uint(), ctypes.c_int()
device = ctypes.c_int()
assert cuda.cuDeviceGet(ctypes.byref(device), 0) == 0
assert cuda.cuDevicePrimaryCtxGetState(device, ctypes.byref(flags), ctypes.byref(active)) == 0
assert active.value
Cuda(0).call("cudaDeviceSynchronize")
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A project with one test on a small model."""
    save_linear(tmp_path / "models" / "linear.onnx")
    (tmp_path / "conftest.py").write_text(CONFTEST)
    (tmp_path / "test_it.py").write_text(TESTS)
    return tmp_path


@pytest.fixture
def whole_gpu(gpu: Gpu) -> Gpu:
    """The GPU, where it is not a slice of one."""
    if gpu.mig:
        pytest.skip(f"{gpu.name} is a slice of a GPU")
    return gpu


def test_cuda_says_the_same_of_the_gpu(gpu: Gpu) -> None:
    runtime = importlib.import_module("cuda.bindings.runtime")
    status, properties = runtime.cudaGetDeviceProperties(gpu.index)
    assert status == runtime.cudaError_t.cudaSuccess
    assert gpu.name == properties.name.decode().rstrip("\0")
    assert gpu.uuid.partition("-")[2].replace("-", "") == bytes(properties.uuid.bytes).hex()
    assert gpu.arch == f"sm{properties.major}{properties.minor}"
    assert gpu.sm_count == properties.multiProcessorCount
    attribute = runtime.cudaDeviceAttr.cudaDevAttrMultiProcessorCount
    assert gpu.sm_count == runtime.cudaDeviceGetAttribute(attribute, gpu.index)[1]
    # NVML counts what the driver keeps for itself, CUDA does not.
    assert gpu.memory_bytes == pytest.approx(properties.totalGlobalMem, rel=0.05)


def test_nvidia_smi_says_the_same_of_the_gpu(whole_gpu: Gpu) -> None:
    if shutil.which("nvidia-smi") is None:
        pytest.skip("nvidia-smi is not installed")
    query = "--query-gpu=name,uuid,memory.total,driver_version"
    command = ["nvidia-smi", query, "--format=csv,noheader,nounits", f"--id={whole_gpu.uuid}"]
    message = subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
    mib = whole_gpu.memory_bytes >> 20
    expected = (whole_gpu.name, whole_gpu.uuid, str(mib), whole_gpu.driver_version)
    assert tuple(message.split(", ")) == expected


def test_state_of_the_gpu_is_plausible(whole_gpu: Gpu) -> None:
    state = device_state(whole_gpu.uuid)
    assert state.sm_clock_mhz is not None
    assert state.max_sm_clock_mhz is not None
    assert 0 < state.sm_clock_mhz <= state.max_sm_clock_mhz < 10_000
    assert state.clock_reasons is not None
    assert not [reason for reason in state.clock_reasons if "unknown" in reason.name]
    assert state.temperature_c is None or 0 < state.temperature_c < 120
    assert state.power_w is None or 0 < state.power_w < 3000
    assert state.utilization_pct is None or 0 <= state.utilization_pct <= 100
    assert state.performance_state is None or 0 <= state.performance_state <= 15


def test_probing_does_not_start_cuda_so_forked_processes_can(whole_gpu: Gpu) -> None:
    paths = os.pathsep.join(filter(None, sys.path))
    done = subprocess.run(
        [sys.executable, "-c", NO_CONTEXT],
        env={**os.environ, "PYTHONPATH": paths},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr


def test_context_that_is_begun_in_the_background_is_the_one_that_cuda_uses(gpu: Gpu) -> None:
    paths = os.pathsep.join(filter(None, sys.path))
    subprocess.run(
        [sys.executable, "-c", EARLY_CONTEXT], env={**os.environ, "PYTHONPATH": paths}, check=True
    )


def test_the_gpu_is_chosen_by_its_number_and_by_its_uuid(gpu: Gpu, folder, inner_pytest) -> None:
    for device in ("0", gpu.uuid, gpu.uuid[:12]):
        result = inner_pytest(folder, f"--trt-device={device}")
        result.assert_outcomes(passed=1)
        header = f"*for {gpu.arch} ({gpu.name}* - found {gpu.name}*, chosen with *"
        result.stdout.fnmatch_lines([header])


def test_gpu_that_is_not_there_is_a_usage_error_that_lists_those_that_are(
    gpu: Gpu, folder, inner_pytest
) -> None:
    result = inner_pytest(folder, "--trt-device=99")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    message = f"*--trt-device 99: no such GPU; this machine has 0 {gpu} {gpu.uuid}*"
    result.stderr.fnmatch_lines([message])


def test_the_gpu_is_visible_by_its_uuid(gpu: Gpu, folder, inner_pytest) -> None:
    assert [g.uuid for g in probe_devices({"CUDA_VISIBLE_DEVICES": gpu.uuid}).gpus] == [gpu.uuid]
    result = inner_pytest(folder, env={"CUDA_VISIBLE_DEVICES": gpu.uuid})
    result.assert_outcomes(passed=1)
    result.stdout.fnmatch_lines([f"trt: TensorRT * for {gpu.arch} *"])


def test_where_every_gpu_is_hidden_the_cpu_is_tested(gpu: Gpu, folder, inner_pytest) -> None:
    result = inner_pytest(folder, env={"CUDA_VISIBLE_DEVICES": ""})
    result.assert_outcomes(passed=1)
    reason = "no NVIDIA GPU (CUDA_VISIBLE_DEVICES='' hides every GPU)"
    result.stdout.fnmatch_lines([f"trt: ONNX Runtime * for cpu * - {reason}"])


def test_workers_of_xdist_share_the_gpu(gpu: Gpu, folder, inner_pytest) -> None:
    pytest.importorskip("xdist")
    shutil.copy(folder / "test_it.py", folder / "test_that.py")
    inner_pytest(folder, "-n2").assert_outcomes(passed=2)


def test_gpu_that_a_test_loses_fails_it_and_stops_those_that_need_it(
    gpu: Gpu, folder, inner_pytest
) -> None:
    (folder / "test_it.py").write_text(TESTS + LOSING_TESTS)
    result = inner_pytest(folder)
    result.assert_outcomes(passed=3, failed=1, skipped=2)
    # Another status would be that of a process that TensorRT's destructors ended.
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    result.stdout.fnmatch_lines(["*DeviceLostError: *cudaErrorIllegalAddress*"])
    reason = "not run: the GPU was lost in test_it.py::test_loses (cudaErrorIllegalAddress)"
    assert f"skipped 2 tests: {reason}" in result.outlines
