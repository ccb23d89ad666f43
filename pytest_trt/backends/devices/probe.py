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

from pytest_trt.backends.devices.driver import NO_DEVICE, asked_driver, cuda_version, start_error
from pytest_trt.backends.devices.gpu import DeviceProbe, Gpu
from pytest_trt.backends.devices.nvml import list_gpus
from pytest_trt.diagnostics import BackendUnavailableError
from pytest_trt.terms import arch_of

#: What decides which GPUs CUDA shows, and in which order.
_DECIDING = ("CUDA_VISIBLE_DEVICES", "CUDA_DEVICE_ORDER")


def probe_devices(environ: Mapping[str, str] | None = None) -> DeviceProbe:
    """Look for GPUs; never raises and creates no CUDA context.

    Args:
        environ: Where CUDA_VISIBLE_DEVICES is read; the process's environment by default.
    """
    environment = os.environ if environ is None else environ
    mask = environment.get("CUDA_VISIBLE_DEVICES")
    try:
        ctypes.CDLL("libcuda.so.1")
    except OSError:
        return DeviceProbe((), "no NVIDIA driver: libcuda.so.1 not found")
    listed, nvml_reason = _listed()
    gpus: Sequence[Gpu] | str | None = _known(listed, mask, environment)
    if gpus is None:
        ours = {k: v for k, v in os.environ.items() if k not in _DECIDING}
        gpus = _from_driver(asked_driver({**ours, **environment}), listed)
    if not gpus and mask is not None:
        gpus = f"CUDA_VISIBLE_DEVICES={mask!r} hides every GPU"
    elif not gpus:
        gpus = "the NVIDIA driver is there, but it lists no GPU"
    if isinstance(gpus, str):
        return DeviceProbe((), "; ".join(filter(None, [gpus, nvml_reason])))
    return DeviceProbe(tuple(gpus), "")


def _listed() -> tuple[list[Gpu], str]:
    """Return the GPUs that NVML lists, or why it does not."""
    try:
        return list_gpus(), ""
    except BackendUnavailableError as error:
        return [], f"{error.message.rstrip('.')}: {error.fix.rstrip('.')}"


def _known(listed: Sequence[Gpu], mask: str | None, environ: Mapping[str, str]) -> list[Gpu] | None:
    """Return CUDA's list where NVML's settles it, or None.

    NVML numbers by PCI bus. CUDA by default puts the fastest first and leaves the order of the
    others open, and it shows one slice of a GPU that is cut into several: the driver settles that.
    Source: CUDA C++ Programming Guide, "CUDA Environment Variables", CUDA_DEVICE_ORDER.
    """
    by_uuid = mask is not None and not any(e.strip().isdecimal() for e in mask.split(","))
    if any(gpu.mig for gpu in listed):
        # CUDA takes a slice by its UUID, and no second one beside it.
        # Source: NVIDIA MIG User Guide, "CUDA Device Enumeration".
        settled = visible(listed, mask) if mask and mask.startswith("MIG-") else []
        is_settled = len(settled) == 1
    else:
        settled = visible(listed, mask)
        by_bus = environ.get("CUDA_DEVICE_ORDER") == "PCI_BUS_ID"
        is_settled = len(listed) == 1 or by_uuid or by_bus
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


def _from_driver(answers: Mapping[str, Any], listed: Sequence[Gpu]) -> list[Gpu] | str:
    """Return the GPUs that the driver shows, or why it does not.

    Args:
        answers: See `driver_answers`.
        listed: What NVML lists, which tells more of those that it knows.
    """
    if "unasked" in answers:
        return str(answers["unasked"])
    status = int(answers["status"])
    if status == NO_DEVICE and answers["failed"] == "cuInit":
        return []
    if status != 0 and answers["failed"] == "cuInit":
        what, fix = start_error(status)
        return f"the NVIDIA driver does not start (cuInit error {status}), {what}: {fix}"
    if status != 0:
        return f"the NVIDIA driver lists no GPU: {answers['failed']} failed with error {status}"
    # The driver library knows CUDA's version only.
    version = listed[0].driver_version if listed else ""
    driver = version or f"CUDA {cuda_version(answers['version'])}"
    known = {gpu.uuid: gpu for gpu in listed if gpu.sm_count and gpu.memory_bytes}
    shown = [_driver_gpu(device, driver) for device in answers["devices"]]
    return [replace(known.get(gpu.uuid, gpu), index=index) for index, gpu in enumerate(shown)]


def _driver_gpu(device: Mapping[str, Any], driver: str) -> Gpu:
    mig = " MIG " in device["name"]
    return Gpu(
        name=device["name"],
        arch=arch_of(device["major"], device["minor"]),
        uuid=_as_nvml_writes(device["uuid"], mig=mig),
        sm_count=device["sm_count"],
        memory_bytes=device["memory"],
        driver_version=driver,
        mig=mig,
    )


def _as_nvml_writes(uuid: str, *, mig: bool) -> str:
    parts = (uuid[:8], uuid[8:12], uuid[12:16], uuid[16:20], uuid[20:])
    return f"{'MIG' if mig else 'GPU'}-{'-'.join(parts)}" if uuid else ""
