from __future__ import annotations

import ctypes
import os
import re
import shutil
import subprocess
import sys
from types import SimpleNamespace

import pynvml
import pytest
from backends.fake_nvml import Device, FakeDriver, FakeNvml, h200_answers

from pytest_trt.backends.devices import probe as device
from pytest_trt.backends.devices.driver import asked_driver, driver_answers
from pytest_trt.backends.devices.gpu import Gpu
from pytest_trt.backends.devices.probe import probe_devices, visible


def gpu(uuid: str, name: str = "NVIDIA A10") -> Gpu:
    return Gpu(name, "sm86", uuid, 72, 24 << 30, "580.1", mig=False)


FIRST, SECOND, THIRD = gpu("GPU-aaa1"), gpu("GPU-bbb2"), gpu("GPU-bbb3")
ALL = (FIRST, SECOND, THIRD)


@pytest.mark.parametrize(
    ("mask", "expected"),
    [
        (None, [FIRST, SECOND, THIRD]),
        ("1", [SECOND]),
        ("2,0", [THIRD, FIRST]),
        (" 0 , 1 ", [FIRST, SECOND]),
        ("GPU-aaa1", [FIRST]),
        ("GPU-a", [FIRST]),
        ("GPU-bbb3,0", [THIRD, FIRST]),
        ("", []),
        ("-1", []),
        ("7", []),
        ("0,7,1", [FIRST]),
        ("0,0", [FIRST]),
        ("GPU-bbb", []),
        ("nonsense,0", []),
    ],
)
def test_the_mask_leaves_what_cuda_would_see(mask: str | None, expected: list[Gpu]) -> None:
    found = visible(ALL, mask)
    assert [gpu.uuid for gpu in found] == [gpu.uuid for gpu in expected]
    assert [gpu.index for gpu in found] == list(range(len(found)))


def has_driver() -> bool:
    try:
        ctypes.CDLL("libcuda.so.1")
    except OSError:
        return False
    return True


@pytest.mark.skipif(has_driver(), reason="this machine has an NVIDIA driver")
def test_without_a_driver_the_reason_says_so() -> None:
    probe = probe_devices()
    assert probe.gpus == ()
    assert probe.reason == "libcuda.so.1 not found"


@pytest.mark.skipif(not has_driver(), reason="this machine has no NVIDIA driver")
def test_with_a_driver_there_are_gpus_or_a_reason() -> None:
    probe = probe_devices()
    assert bool(probe.gpus) != bool(probe.reason)
    for found in probe.gpus:
        assert found.sm_count > 0
        assert found.memory_bytes > 1 << 30
        assert found.uuid.startswith(("GPU-", "MIG-"))


@pytest.mark.skipif(not has_driver(), reason="this machine has no NVIDIA driver")
def test_hidden_gpus_are_reported_as_hidden() -> None:
    probe = probe_devices({"CUDA_VISIBLE_DEVICES": ""})
    assert probe.gpus == ()
    assert probe.reason == "CUDA_VISIBLE_DEVICES='' hides every GPU"


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch):
    """Put a driver and an NVML in place: `machine(Device(), ...)`."""

    def put(
        *devices: Device, driver: FakeDriver | None = None, refusal: Exception | None = None
    ) -> FakeDriver:
        monkeypatch.setitem(sys.modules, "pynvml", FakeNvml(*devices, refusal=refusal))
        library = driver or FakeDriver()
        monkeypatch.setattr(ctypes, "CDLL", lambda name: library)
        # In this process, as another one loads the real library.
        monkeypatch.setattr(device, "asked_driver", lambda environ: driver_answers(library))
        return library

    return put


def other(uuid: str, name: str = "NVIDIA H200", **answers: object) -> Device:
    return Device(h200_answers() | {"nvmlDeviceGetUUID": uuid, "nvmlDeviceGetName": name} | answers)


UUIDS = ("GPU-00000000-0000-0000-0000-00000000000a", "GPU-00000000-0000-0000-0000-00000000000b")


@pytest.mark.parametrize(
    ("environ", "order"),
    [
        ({"CUDA_DEVICE_ORDER": "PCI_BUS_ID"}, [0, 1]),
        ({"CUDA_DEVICE_ORDER": "PCI_BUS_ID", "CUDA_VISIBLE_DEVICES": "1"}, [1]),
        ({"CUDA_VISIBLE_DEVICES": ",".join(reversed(UUIDS))}, [1, 0]),
        ({"CUDA_VISIBLE_DEVICES": UUIDS[1]}, [1]),
    ],
)
def test_equal_gpus_in_a_known_order_are_found_without_starting_cuda(
    machine, environ, order
) -> None:
    driver = machine(*map(other, UUIDS))
    probe = probe_devices(environ)
    assert [gpu.uuid for gpu in probe.gpus] == [UUIDS[number] for number in order]
    assert [gpu.index for gpu in probe.gpus] == list(range(len(order)))
    assert driver.inits == 0


@pytest.mark.parametrize("environ", [{}, {"CUDA_VISIBLE_DEVICES": "0,1"}])
def test_equal_gpus_are_numbered_as_the_driver_says(machine, environ) -> None:
    # CUDA's guide leaves it open: not the order of the bus.
    reverse = (bytes([*bytes(15), 11]), bytes([*bytes(15), 10]))
    machine(*map(other, UUIDS), driver=FakeDriver(name="NVIDIA H200", uuids=reverse))
    probe = probe_devices(environ)
    assert [gpu.uuid for gpu in probe.gpus] == [UUIDS[1], UUIDS[0]]
    assert [gpu.index for gpu in probe.gpus] == [0, 1]
    # What NVML knows of them is kept.
    assert {(gpu.sm_count, gpu.driver_version) for gpu in probe.gpus} == {(132, "580.159.04")}


def test_driver_that_cannot_be_queried_is_a_reason(machine, monkeypatch) -> None:
    machine(*map(other, UUIDS))
    monkeypatch.setattr(device, "asked_driver", lambda environ: {"unasked": "it is asleep"})
    probe = probe_devices({})
    assert (probe.gpus, probe.reason) == ((), "it is asleep")


@pytest.mark.skipif(has_driver(), reason="this machine has an NVIDIA driver")
def test_driver_is_queried_in_another_process() -> None:
    answers = asked_driver(os.environ)
    assert answers["unasked"].startswith("libcuda.so.1 cannot be loaded: ")


def test_driver_query_that_cannot_run_says_why(monkeypatch) -> None:
    monkeypatch.setattr(sys, "executable", "/nowhere/python")
    assert "/nowhere/python" in asked_driver(os.environ)["unasked"]
    monkeypatch.setattr(sys, "executable", shutil.which("false"))
    assert asked_driver(os.environ)["unasked"].endswith(
        "querying the NVIDIA driver: ends Python with status 1"
    )


def test_the_order_of_different_gpus_comes_from_the_driver(machine) -> None:
    devices = other("GPU-a"), other("GPU-b", "NVIDIA A10")
    driver = machine(*devices)
    (found,) = probe_devices({}).gpus
    assert (found.name, found.arch, found.sm_count) == ("NVIDIA A10", "sm86", 72)
    assert found.driver_version == "580.159.04"
    assert driver.inits == 1
    assert len(probe_devices({"CUDA_DEVICE_ORDER": "PCI_BUS_ID"}).gpus) == 2
    assert driver.inits == 1


def test_what_nvml_does_not_report_comes_from_the_driver(machine) -> None:
    jetson = {"nvmlDeviceGetCudaComputeCapability": (8, 7), "nvmlDeviceGetName": "Orin"}
    driver = machine(Device(jetson))
    assert probe_devices({}).gpus[0].memory_bytes == 24 << 30
    assert driver.inits == 1


def mig_machine() -> Device:
    whole = other("GPU-a", nvmlDeviceGetMigMode=[1, 1])
    size = SimpleNamespace(multiprocessorCount=16, memorySizeMB=16384)
    parts = ({"nvmlDeviceGetUUID": u, "nvmlDeviceGetAttributes": size} for u in ("MIG-1", "MIG-2"))
    whole.slices = [Device(part, whole=whole) for part in parts]
    return whole


def test_a_slice_is_found_by_its_uuid_without_starting_cuda(machine) -> None:
    driver = machine(mig_machine())
    (found,) = probe_devices({"CUDA_VISIBLE_DEVICES": "MIG-2"}).gpus
    assert (found.uuid, found.sm_count, found.mig, found.index) == ("MIG-2", 16, True, 0)
    assert driver.inits == 0


@pytest.mark.parametrize("environ", [{}, {"CUDA_VISIBLE_DEVICES": "MIG-1,MIG-2"}])
def test_the_default_mig_slice_of_cuda_comes_from_the_driver(machine, environ) -> None:
    driver = FakeDriver(name="NVIDIA H200 MIG 1g.18gb", uuids=(bytes(range(16)),))
    machine(mig_machine(), driver=driver)
    (found,) = probe_devices(environ).gpus
    assert found.uuid == "MIG-00010203-0405-0607-0809-0a0b0c0d0e0f"
    assert found.mig
    assert driver.inits == 1


@pytest.mark.parametrize(
    ("status", "refusal", "message"),
    [
        (803, pynvml.NVMLError_LibRmVersionMismatch(), r"cuInit error 803.*different ver.*Reboot"),
        (999, pynvml.NVMLError_NoPermission(), r"cuInit error 999.*may not use.*/dev/nvidia"),
        (100, pynvml.NVMLError_DriverNotLoaded(), r"lists no GPU; .*not loaded.*modprobe"),
        (802, None, "fabricmanager"),
        (12345, None, "cuInit error 12345"),
    ],
)
def test_driver_that_does_not_work_is_a_reason_with_what_to_do(
    machine, status, refusal, message
) -> None:
    machine(driver=FakeDriver(status), refusal=refusal)
    probe = probe_devices({})
    assert probe.gpus == ()
    assert re.search(message, " ".join([probe.reason, probe.remedy.text, *probe.remedy.commands]))
    assert "\n" not in probe.reason


def test_gpus_hidden_from_the_driver_are_reported_as_hidden(machine) -> None:
    machine(mig_machine(), driver=FakeDriver(100))
    probe = probe_devices({"CUDA_VISIBLE_DEVICES": "-1"})
    assert probe.reason == "CUDA_VISIBLE_DEVICES='-1' hides every GPU"


def test_nvml_that_does_not_work_leaves_the_driver_to_answer(machine) -> None:
    machine(refusal=pynvml.NVMLError_NoPermission())
    probe = probe_devices({})
    assert [gpu.name for gpu in probe.gpus] == ["NVIDIA A10"]
    assert probe.gpus[0].driver_version == "CUDA 13.0"


def test_probing_works_in_a_forked_process_as_before() -> None:
    code = (
        "import os\n"
        "from pytest_trt.backends.devices.probe import probe_devices\n"
        "before = probe_devices()\n"
        "child = os.fork()\n"
        "if child == 0:\n"
        "    os._exit(probe_devices() != before)\n"
        "assert os.waitpid(child, 0)[1] == 0\n"
        "assert probe_devices() == before\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
