"""The GPUs that CUDA shows, as the driver library reports them in a child process.

A query starts CUDA, which then no longer works in forked processes, so the process that collects
tests must not do it.
"""

from __future__ import annotations

import ctypes
from collections.abc import Mapping
from typing import Any

from pytest_trt.diagnostics import Remedy
from pytest_trt.workers.question import ask

#: CUdevice_attribute values. Source: cuda.h of CUDA 12.
_ATTRIBUTE_SM_COUNT = 16
_ATTRIBUTE_MAJOR = 75
_ATTRIBUTE_MINOR = 76

#: Time limit of a query in seconds: many GPUs without persistence mode take several.
_TIMEOUT_S = 60


def asked_driver(environ: Mapping[str, str]) -> dict[str, Any]:
    """Return what `driver_answers` returns in another process, or "unasked" with the reason.

    Args:
        environ: The environment of that process; CUDA_VISIBLE_DEVICES decides what CUDA shows.
    """
    answer = ask(f"{__name__}:answers_of_libcuda", timeout_s=_TIMEOUT_S, environment=environ)
    if answer.problem:
        return {"unasked": f"querying the NVIDIA driver: {answer.problem}"}
    answers: dict[str, Any] = answer.value
    return answers


def answers_of_libcuda() -> dict[str, Any]:
    """Load the driver library and return its `driver_answers`."""
    try:
        library = ctypes.CDLL("libcuda.so.1")
    except OSError as exc:
        return {"unasked": f"libcuda.so.1 cannot be loaded: {exc}"}
    return driver_answers(library)


def driver_answers(cuda: Any) -> dict[str, Any]:
    """Return the GPUs that a driver library shows, or why it shows none.

    Args:
        cuda: libcuda.so.1.

    Returns:
        "status" and "failed" (the function that returned it); if that is 0, "version" (of CUDA,
        as 12040) and "devices", each with "name", "memory" (bytes), "major", "minor", "sm_count"
        and "uuid" (hex, empty for a slice with an old driver).
    """
    status = cuda.cuInit(0)
    if status != 0:
        return {"status": status, "failed": "cuInit"}
    version, count = ctypes.c_int(), ctypes.c_int()
    cuda.cuDriverGetVersion(ctypes.byref(version))
    status = cuda.cuDeviceGetCount(ctypes.byref(count))
    if status != 0:
        return {"status": status, "failed": "cuDeviceGetCount"}
    devices = [_device(cuda, index) for index in range(count.value)]
    return {"status": 0, "failed": "", "version": version.value, "devices": devices}


def _device(cuda: Any, index: int) -> dict[str, Any]:
    device = ctypes.c_int()
    cuda.cuDeviceGet(ctypes.byref(device), index)
    name = ctypes.create_string_buffer(256)
    cuda.cuDeviceGetName(name, len(name), device)
    memory = ctypes.c_size_t()
    cuda.cuDeviceTotalMem_v2(ctypes.byref(memory), device)

    def attribute(which: int) -> int:
        value = ctypes.c_int()
        cuda.cuDeviceGetAttribute(ctypes.byref(value), which, device)
        return value.value

    text = name.value.decode(errors="replace")
    return {
        "name": text,
        "memory": memory.value,
        "major": attribute(_ATTRIBUTE_MAJOR),
        "minor": attribute(_ATTRIBUTE_MINOR),
        "sm_count": attribute(_ATTRIBUTE_SM_COUNT),
        "uuid": _uuid(cuda, device, mig=" MIG " in text),
    }


def _uuid(cuda: Any, device: Any, *, mig: bool) -> str:
    """Return a device's UUID; drivers before CUDA 11.4 have none for slices."""
    question = getattr(cuda, "cuDeviceGetUuid_v2", None)
    if question is None and mig:
        return ""
    raw = (ctypes.c_ubyte * 16)()
    (question or cuda.cuDeviceGetUuid)(ctypes.byref(raw), device)
    return bytes(raw).hex()


#: The driver shows no GPU to this process.
NO_DEVICE = 100

#: The runtime returns it for a driver that is too old, and for none at all.
INSUFFICIENT_DRIVER = 35

#: Meaning of an error, and remedy. The driver's cuInit and the runtime's calls share these
#: numbers.
#: Source: CUDA Driver API, CUresult; CUDA Runtime API, cudaError.
_START_ERRORS = {
    2: ("the GPU is out of memory", Remedy("free device memory; `nvidia-smi` shows its users.")),
    34: (
        "the loaded CUDA library is a stub for linking",
        Remedy("remove the CUDA toolkit's folder `stubs` from LD_LIBRARY_PATH."),
    ),
    INSUFFICIENT_DRIVER: ("there is no NVIDIA driver", Remedy("install the NVIDIA driver.")),
    46: (
        "another process uses the GPU exclusively",
        Remedy("end it, or reset the compute mode:", commands=("sudo nvidia-smi -c DEFAULT",)),
    ),
    NO_DEVICE: (
        "the driver shows no GPU to this process",
        Remedy("check CUDA_VISIBLE_DEVICES, and that the container was started with --gpus."),
    ),
    101: (
        "CUDA has no GPU of that number in this process",
        Remedy("check CUDA_VISIBLE_DEVICES, or name another GPU with --trt-device."),
    ),
    304: (
        "the operating system refused a call of the driver",
        Remedy("check that this user may read and write /dev/nvidia*."),
    ),
    802: (
        "the links between the GPUs are not initialised",
        Remedy("start the service nvidia-fabricmanager, in the version of the driver."),
    ),
    803: (
        "the loaded driver and its libraries have different versions",
        Remedy("reboot, or restart the container, as after every driver update."),
    ),
    804: (
        "the CUDA compatibility libraries do not support this GPU",
        Remedy("remove their folder `compat` from LD_LIBRARY_PATH, or update the driver."),
    ),
    805: (
        "the CUDA MPS server does not answer",
        Remedy("restart MPS, or unset CUDA_MPS_PIPE_DIRECTORY."),
    ),
    999: (
        "the driver gives no reason",
        Remedy(
            "load its module, and check `nvidia-smi` and `dmesg`:",
            commands=("sudo modprobe nvidia-uvm",),
        ),
    ),
}


def start_error(number: int) -> tuple[str, Remedy]:
    """Return the meaning of an error at CUDA's start, and a remedy."""
    return _START_ERRORS.get(
        number, ("CUDA does not start", Remedy("check `nvidia-smi` and `dmesg`."))
    )


def cuda_version(number: int) -> str:
    """Return a CUDA version as text: "12.9" for 12090."""
    return f"{number // 1000}.{number % 1000 // 10}"
