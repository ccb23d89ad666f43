"""Which GPUs this process could use, found without creating a CUDA context.

A context costs memory and time, breaks after `fork`, and pins the process to a GPU; collecting
tests must do none of that. NVML tells the most; without it the driver library is asked.
"""

from __future__ import annotations

import contextlib
import ctypes
import importlib
import os
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from pytest_trt.backends.arch import arch_of

#: CUdevice_attribute values. Source: cuda.h of CUDA 12.
_ATTRIBUTE_SM_COUNT = 16
_ATTRIBUTE_MAJOR = 75
_ATTRIBUTE_MINOR = 76

#: FP32 cores per multiprocessor where it is not 128; NVML counts cores.
#: Source: CUDA C++ Programming Guide, "Compute Capabilities", arithmetic throughput.
_CORES_PER_SM = {(7, 0): 64, (7, 2): 64, (7, 5): 64, (8, 0): 64}


@dataclass(frozen=True, slots=True)
class Gpu:
    """A GPU as CUDA would number it here.

    Attributes:
        name: Marketing name, "NVIDIA H200".
        arch: Architecture, "sm90".
        uuid: "GPU-..." or "MIG-..."; empty where nothing tells.
        sm_count: Number of streaming multiprocessors; 0 where nothing tells.
        memory_bytes: Device memory.
        driver_version: "580.159.04", or the driver's CUDA version where only that is known.
        mig: Whether it is a MIG slice, or cut into slices.
    """

    name: str
    arch: str
    uuid: str
    sm_count: int
    memory_bytes: int
    driver_version: str
    mig: bool


@dataclass(frozen=True, slots=True)
class DeviceProbe:
    """What was found.

    Attributes:
        gpus: Usable GPUs, in CUDA's order.
        reason: Why there are none; empty when there are some.
    """

    gpus: tuple[Gpu, ...]
    reason: str


def probe_devices(environ: Mapping[str, str] | None = None) -> DeviceProbe:
    """Look for GPUs; never raises and creates no CUDA context.

    Args:
        environ: Where CUDA_VISIBLE_DEVICES is read; the process's environment by default.
    """
    environment = os.environ if environ is None else environ
    mask = environment.get("CUDA_VISIBLE_DEVICES")
    try:
        cuda = ctypes.CDLL("libcuda.so.1")
    except OSError:
        return DeviceProbe((), "no NVIDIA driver: libcuda.so.1 not found")
    listed = _from_nvml()
    if listed and _order_is_known(listed, environment):
        gpus = visible(listed, mask)
    else:
        found = _from_driver(cuda)
        if isinstance(found, str):
            return DeviceProbe((), found)
        version = listed[0].driver_version if listed else None
        gpus = [replace(gpu, driver_version=version or gpu.driver_version) for gpu in found]
    if gpus:
        return DeviceProbe(tuple(gpus), "")
    if mask is not None:
        return DeviceProbe((), f"CUDA_VISIBLE_DEVICES={mask!r} hides every GPU")
    return DeviceProbe((), "the NVIDIA driver is there, but it lists no GPU")


def _order_is_known(listed: Sequence[Gpu], environ: Mapping[str, str]) -> bool:
    """Whether NVML's list stands for CUDA's.

    NVML numbers by PCI bus and lists no MIG slices; CUDA by default puts the fastest first. Only
    the driver settles the other cases, at the price of starting CUDA in this process, which no
    longer works in processes forked from it.
    """
    if any(gpu.mig or not gpu.sm_count for gpu in listed):
        return False
    alike = len({gpu.name for gpu in listed}) == 1
    return alike or environ.get("CUDA_DEVICE_ORDER") == "PCI_BUS_ID"


def visible(gpus: Sequence[Gpu], mask: str | None) -> list[Gpu]:
    """Return the GPUs that a CUDA_VISIBLE_DEVICES value leaves, in its order.

    As CUDA does: entries are indices or the beginning of a UUID, and the first that fits no GPU
    ends the list. An empty value hides all; None hides nothing.
    Source: CUDA C++ Programming Guide, "CUDA Environment Variables".
    """
    if mask is None:
        return list(gpus)
    chosen: list[Gpu] = []
    for entry in (part.strip() for part in mask.split(",")):
        if entry.isdigit():
            fitting = [gpus[int(entry)]] if int(entry) < len(gpus) else []
        else:
            fitting = [gpu for gpu in gpus if entry and gpu.uuid.startswith(entry)]
        if len(fitting) != 1 or fitting[0] in chosen:
            break
        chosen.append(fitting[0])
    return chosen


def _from_nvml() -> list[Gpu] | None:
    """Return every GPU of the machine in PCI order, or None where NVML cannot be used."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # a superseded distribution of it says so on import
            nvml: Any = importlib.import_module("pynvml")
    except ImportError:
        return None
    try:
        nvml.nvmlInit()
    except nvml.NVMLError:
        return None
    try:
        driver = _text(nvml.nvmlSystemGetDriverVersion())
        return [
            _nvml_gpu(nvml, nvml.nvmlDeviceGetHandleByIndex(index), driver)
            for index in range(nvml.nvmlDeviceGetCount())
        ]
    except nvml.NVMLError:
        return None
    finally:
        with contextlib.suppress(nvml.NVMLError):
            nvml.nvmlShutdown()


def _nvml_gpu(nvml: Any, handle: Any, driver: str) -> Gpu:
    major, minor = nvml.nvmlDeviceGetCudaComputeCapability(handle)
    mig, cores = False, 0
    with contextlib.suppress(nvml.NVMLError):  # consumer cards answer "not supported"
        mig = nvml.nvmlDeviceGetMigMode(handle)[0] == 1
    with contextlib.suppress(nvml.NVMLError):
        cores = int(nvml.nvmlDeviceGetNumGpuCores(handle))
    return Gpu(
        name=_text(nvml.nvmlDeviceGetName(handle)),
        arch=arch_of(major, minor),
        uuid=_text(nvml.nvmlDeviceGetUUID(handle)),
        sm_count=cores // _CORES_PER_SM.get((major, minor), 128),
        memory_bytes=int(nvml.nvmlDeviceGetMemoryInfo(handle).total),
        driver_version=driver,
        mig=mig,
    )


def _text(value: str | bytes) -> str:
    """Return text: older pynvml answers with bytes."""
    return value.decode() if isinstance(value, bytes) else value


def _from_driver(cuda: Any) -> list[Gpu] | str:
    """Return the GPUs that the driver shows to this process, or why it shows none."""
    status = cuda.cuInit(0)
    if status != 0:
        return f"the NVIDIA driver does not start: cuInit failed with error {status}"
    version = ctypes.c_int()
    cuda.cuDriverGetVersion(ctypes.byref(version))
    driver = f"CUDA {version.value // 1000}.{version.value % 1000 // 10}"
    count = ctypes.c_int()
    status = cuda.cuDeviceGetCount(ctypes.byref(count))
    if status != 0:
        return f"the NVIDIA driver lists no GPU: cuDeviceGetCount failed with error {status}"
    return [_driver_gpu(cuda, index, driver) for index in range(count.value)]


def _driver_gpu(cuda: Any, index: int, driver: str) -> Gpu:
    device = ctypes.c_int()
    cuda.cuDeviceGet(ctypes.byref(device), index)
    name = ctypes.create_string_buffer(256)
    cuda.cuDeviceGetName(name, len(name), device)
    memory = ctypes.c_size_t()
    cuda.cuDeviceTotalMem_v2(ctypes.byref(memory), device)
    uuid = (ctypes.c_ubyte * 16)()
    cuda.cuDeviceGetUuid(ctypes.byref(uuid), device)

    def attribute(which: int) -> int:
        value = ctypes.c_int()
        cuda.cuDeviceGetAttribute(ctypes.byref(value), which, device)
        return value.value

    text = name.value.decode(errors="replace")
    return Gpu(
        name=text,
        arch=arch_of(attribute(_ATTRIBUTE_MAJOR), attribute(_ATTRIBUTE_MINOR)),
        uuid=_uuid(bytes(uuid)),
        sm_count=attribute(_ATTRIBUTE_SM_COUNT),
        memory_bytes=memory.value,
        driver_version=driver,
        mig=" MIG " in text,
    )


def _uuid(raw: bytes) -> str:
    text = raw.hex()
    return f"GPU-{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}"
