"""Which GPUs this process could use, found without creating a CUDA context.

A context costs memory and time, breaks after `fork`, and pins the process to a GPU; collecting
tests must do none of that. NVML tells the most; what it leaves open the driver library is asked.
"""

from __future__ import annotations

import ctypes
import os
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from pytest_trt.backends.arch import arch_of
from pytest_trt.backends.driver_words import NO_DEVICE, cuda_version, start_error
from pytest_trt.backends.gpu import DeviceProbe, Gpu
from pytest_trt.backends.nvml import list_gpus
from pytest_trt.errors import BackendUnavailableError

__all__ = ["DeviceProbe", "Gpu", "probe_devices", "visible"]

#: CUdevice_attribute values. Source: cuda.h of CUDA 12.
_ATTRIBUTE_SM_COUNT = 16
_ATTRIBUTE_MAJOR = 75
_ATTRIBUTE_MINOR = 76


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
    listed, nvml_reason = _listed()
    gpus: Sequence[Gpu] | str | None = _known(listed, mask, environment)
    if gpus is None:
        gpus = _from_driver(cuda)
    if not gpus and mask is not None:
        gpus = f"CUDA_VISIBLE_DEVICES={mask!r} hides every GPU"
    elif not gpus:
        gpus = "the NVIDIA driver is there, but it lists no GPU"
    if isinstance(gpus, str):
        return DeviceProbe((), "; ".join(filter(None, [gpus, nvml_reason])))
    # The driver library knows CUDA's version only.
    version = listed[0].driver_version if listed else ""
    return DeviceProbe(
        tuple(replace(gpu, driver_version=version or gpu.driver_version) for gpu in gpus), ""
    )


def _listed() -> tuple[list[Gpu], str]:
    """Return the GPUs that NVML lists, or why it does not."""
    try:
        return list_gpus(), ""
    except BackendUnavailableError as error:
        return [], f"{error.message.rstrip('.')}: {error.fix.rstrip('.')}"


def _known(listed: Sequence[Gpu], mask: str | None, environ: Mapping[str, str]) -> list[Gpu] | None:
    """Return CUDA's list where NVML's settles it, or None.

    NVML numbers by PCI bus; CUDA by default puts the fastest first, and shows one slice of a GPU
    that is cut into several. Only the driver settles the other cases, at the price of starting
    CUDA in this process, which no longer works in processes forked from it.
    """
    if any(gpu.mig for gpu in listed):
        # CUDA takes a slice by its UUID, and no second one beside it.
        # Source: NVIDIA MIG User Guide, "CUDA Device Enumeration".
        settled = visible(listed, mask) if mask and mask.startswith("MIG-") else []
        is_settled = len(settled) == 1
    else:
        settled = visible(listed, mask)
        alike = len({gpu.name for gpu in listed}) == 1
        is_settled = alike or environ.get("CUDA_DEVICE_ORDER") == "PCI_BUS_ID"
    complete = all(gpu.sm_count and gpu.memory_bytes for gpu in settled)
    return settled if listed and is_settled and complete else None


def visible(gpus: Sequence[Gpu], mask: str | None) -> list[Gpu]:
    """Return the GPUs that a CUDA_VISIBLE_DEVICES value leaves, in its order and so numbered.

    As CUDA does: entries are indices or the beginning of a UUID, and the first that fits no GPU
    ends the list. An empty value hides all; None hides nothing.
    Source: CUDA C++ Programming Guide, "CUDA Environment Variables".
    """
    if mask is None:
        return [replace(gpu, index=index) for index, gpu in enumerate(gpus)]
    chosen: list[Gpu] = []
    for entry in (part.strip() for part in mask.split(",")):
        if entry.isdecimal():
            fitting = [gpus[int(entry)]] if int(entry) < len(gpus) else []
        else:
            fitting = [gpu for gpu in gpus if entry and gpu.uuid.startswith(entry)]
        if len(fitting) != 1 or fitting[0] in chosen:
            break
        chosen.append(fitting[0])
    return visible(chosen, None)


def _from_driver(cuda: Any) -> list[Gpu] | str:
    """Return the GPUs that the driver shows to this process, or why it does not start."""
    status = cuda.cuInit(0)
    if status == NO_DEVICE:
        return []
    if status != 0:
        what, fix = start_error(status)
        return f"the NVIDIA driver does not start (cuInit error {status}), {what}: {fix}"
    version = ctypes.c_int()
    cuda.cuDriverGetVersion(ctypes.byref(version))
    driver = f"CUDA {cuda_version(version.value)}"
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

    def attribute(which: int) -> int:
        value = ctypes.c_int()
        cuda.cuDeviceGetAttribute(ctypes.byref(value), which, device)
        return value.value

    text = name.value.decode(errors="replace")
    mig = " MIG " in text
    return Gpu(
        name=text,
        arch=arch_of(attribute(_ATTRIBUTE_MAJOR), attribute(_ATTRIBUTE_MINOR)),
        uuid=_driver_uuid(cuda, device, mig=mig),
        sm_count=attribute(_ATTRIBUTE_SM_COUNT),
        memory_bytes=memory.value,
        driver_version=driver,
        mig=mig,
        index=index,
    )


def _driver_uuid(cuda: Any, device: Any, *, mig: bool) -> str:
    """Return a device's UUID as NVML writes it; drivers before CUDA 11.4 do not know a slice's."""
    question = getattr(cuda, "cuDeviceGetUuid_v2", None)
    if question is None and mig:
        return ""
    raw = (ctypes.c_ubyte * 16)()
    (question or cuda.cuDeviceGetUuid)(ctypes.byref(raw), device)
    text = bytes(raw).hex()
    parts = (text[:8], text[8:12], text[12:16], text[16:20], text[20:])
    return f"{'MIG' if mig else 'GPU'}-{'-'.join(parts)}"
