from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pynvml
import pytest
from backends.fake_nvml import Device, FakeNvml, h200_answers
from builders_model import remedy

from pytest_trt.backends.devices.gpu import Gpu
from pytest_trt.backends.devices.nvml import list_gpus, nvml_started
from pytest_trt.diagnostics import BackendUnavailableError


@pytest.fixture
def install(monkeypatch: pytest.MonkeyPatch):
    """Put an NVML in place: `install(Device(), ...)`."""

    def put(*devices: Device, **options: object) -> FakeNvml:
        nvml = FakeNvml(*devices, **options)
        monkeypatch.setitem(sys.modules, "pynvml", nvml)
        return nvml

    return put


def test_a_gpu_is_listed_with_its_facts(install) -> None:
    nvml = install(Device())
    assert list_gpus() == [
        Gpu(
            name="NVIDIA H200",
            arch="sm90",
            uuid="GPU-5f30a6b2-0000-0000-0000-000000000001",
            sm_count=132,
            memory_bytes=143771 << 20,
            driver_version="580.159.04",
            mig=False,
        )
    ]
    assert nvml.started == 0


@pytest.mark.parametrize(
    ("capability", "cores", "sm_count"),
    [((7, 5), 2560, 40), ((8, 0), 6912, 108), ((8, 6), 9216, 72)],
)
def test_multiprocessors_are_counted_by_their_cores(install, capability, cores, sm_count) -> None:
    answers = h200_answers()
    answers |= {
        "nvmlDeviceGetCudaComputeCapability": capability,
        "nvmlDeviceGetNumGpuCores": cores,
    }
    install(Device(answers))
    assert list_gpus()[0].sm_count == sm_count


def test_what_a_gpu_does_not_answer_is_left_open(install) -> None:
    # As on a Jetson, which has no memory of its own.
    install(
        Device({"nvmlDeviceGetName": b"Orin", "nvmlDeviceGetCudaComputeCapability": (8, 7)}),
    )
    assert list_gpus() == [Gpu("Orin", "sm87", "", 0, 0, "580.159.04", mig=False)]


def test_slices_of_a_gpu_follow_it(install) -> None:
    whole = Device(h200_answers() | {"nvmlDeviceGetMigMode": [1, 1]})
    part = Device(
        {
            "nvmlDeviceGetName": "NVIDIA H200 MIG 1g.18gb",
            "nvmlDeviceGetUUID": "MIG-0a",
            "nvmlDeviceGetAttributes": SimpleNamespace(multiprocessorCount=16, memorySizeMB=16384),
        },
        whole=whole,
    )
    whole.slices = [None, part, None]
    install(whole)
    listed = list_gpus()
    assert [(gpu.uuid[:4], gpu.mig) for gpu in listed] == [("GPU-", True), ("MIG-", True)]
    assert listed[1] == Gpu(
        "NVIDIA H200 MIG 1g.18gb", "sm90", "MIG-0a", 16, 16 << 30, "580.159.04", mig=True
    )


@pytest.mark.parametrize(
    ("refusal", "said", "fix"),
    [
        (pynvml.NVMLError_LibraryNotFound(), "libnvidia-ml.so.1 is missing", "=utility"),
        (pynvml.NVMLError_DriverNotLoaded(), "driver is not loaded", "modprobe nvidia"),
        (pynvml.NVMLError_LibRmVersionMismatch(), "different versions", "Reboot"),
        (pynvml.NVMLError_NoPermission(), "may not use the NVIDIA driver", "/dev/nvidia"),
        (pynvml.NVMLError_FunctionNotFound(), "too old for", "Update the driver"),
        (pynvml.NVMLError_Timeout(), "NVML failed: Timeout", "nvidia-smi"),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, Exception) else "",
)
def test_refusal_to_start_says_what_to_do(install, refusal, said: str, fix: str) -> None:
    install(refusal=refusal)
    with pytest.raises(BackendUnavailableError, match=said) as caught:
        list_gpus()
    assert type(refusal).__name__ in caught.value.message
    assert fix in remedy(caught.value)


def test_gpu_that_is_lost_on_the_way_says_so_and_nvml_is_stopped(install) -> None:
    lost = {"nvmlDeviceGetCudaComputeCapability": pynvml.NVMLError_GpuIsLost()}
    nvml = install(Device(h200_answers() | lost))
    with pytest.raises(BackendUnavailableError, match="has fallen off the bus"):
        list_gpus()
    assert nvml.started == 0


@pytest.mark.parametrize(
    "error",
    [
        pynvml.NVMLError_NotSupported(),
        pynvml.NVMLError_NoPermission(),
        pynvml.NVMLError_Unknown(),
        pynvml.NVMLError_FunctionNotFound(),
        # Newer bindings have a word of their own for a function that the driver lacks.
        getattr(pynvml, "NVMLLibraryMismatchError", pynvml.NVMLError_FunctionNotFound)(),
    ],
    ids=lambda error: type(error).__name__,
)
def test_question_without_an_answer_is_none(install, error) -> None:
    device = Device({"nvmlDeviceGetPowerUsage": error})
    install(device)
    with nvml_started() as nvml:
        assert nvml.ask("nvmlDeviceGetPowerUsage", device) is None
        assert nvml.ask("nvmlDeviceGetWhatIsNotInvented", device) is None


def test_without_the_package_the_error_names_it(monkeypatch) -> None:
    monkeypatch.setitem(sys.modules, "pynvml", None)
    with pytest.raises(BackendUnavailableError, match="nvidia-ml-py cannot be") as caught:
        list_gpus()
    assert remedy(caught.value) == "pip install nvidia-ml-py"


def test_superseded_package_that_warns_is_used_without_its_warning(tmp_path: Path) -> None:
    (tmp_path / "pynvml.py").write_text(
        "import warnings\n"
        "warnings.warn('The pynvml package is deprecated.', FutureWarning, stacklevel=2)\n"
        "class NVMLError(Exception): pass\n"
        "def nvmlInit(): pass\n"
        "def nvmlShutdown(): pass\n"
        "def nvmlSystemGetDriverVersion(): return b'470.1'\n"
        "def nvmlDeviceGetCount(): return 0\n"
    )
    code = "from pytest_trt.backends.devices.nvml import list_gpus; print(list_gpus())"
    path = os.pathsep.join([str(tmp_path), *filter(None, sys.path)])
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", code],
        env={**os.environ, "PYTHONPATH": path},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.stdout, done.stderr) == ("[]\n", "")
