"""Which GPUs this process could use, found without creating a CUDA context.

A context costs memory and time, breaks after `fork`, and binds the process to a GPU, which
collecting tests must not do. NVML has most facts; the driver library is queried for the rest.
"""

from __future__ import annotations

import ctypes
import os
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

from pytest_trt.backends.devices.driver import NO_DEVICE, asked_driver, cuda_version, start_error
from pytest_trt.backends.devices.gpu import NO_REMEDY, DeviceProbe, Gpu
from pytest_trt.backends.devices.nvml import list_gpus
from pytest_trt.diagnostics import BackendUnavailableError, Remedy
from pytest_trt.terms import arch_of

#: Variables that decide which GPUs CUDA shows, and in which order.
_DECIDING = ("CUDA_VISIBLE_DEVICES", "CUDA_DEVICE_ORDER")


def probe_devices(environ: Mapping[str, str] | None = None) -> DeviceProbe:
    """Look for GPUs; never raises and creates no CUDA context.

    Args:
        environ: The environment with CUDA_VISIBLE_DEVICES; by default that of the process.
    """
    environment = os.environ if environ is None else environ
    mask = environment.get("CUDA_VISIBLE_DEVICES")
    try:
        ctypes.CDLL("libcuda.so.1")
    except OSError:
        return DeviceProbe((), "libcuda.so.1 not found")
    listed, nvml = _listed()
    found: Sequence[Gpu] | _NoGpu | None = _known(listed, mask, environment)
    if found is None:
        ours = {k: v for k, v in os.environ.items() if k not in _DECIDING}
        found = _from_driver(asked_driver({**ours, **environment}), listed)
    if not found and mask is not None:
        hint = Remedy(
            "unset CUDA_VISIBLE_DEVICES, or name a GPU of this list in it:",
            commands=("nvidia-smi -L",),
        )
        reason = f"CUDA_VISIBLE_DEVICES={mask!r} hides every GPU"
        return DeviceProbe((), _joined(reason, nvml), hint, is_masked=True)
    if not found:
        found = _NoGpu(
            "the NVIDIA driver lists no GPU",
            nvml.remedy or Remedy("check the driver:", commands=("nvidia-smi",)),
        )
    if isinstance(found, _NoGpu):
        return DeviceProbe((), _joined(found.reason, nvml), nvml.remedy or found.remedy)
    return DeviceProbe(tuple(found), "")


class _NoGpu(NamedTuple):
    """Why something lists no GPU, and what to do about it."""

    reason: str
    remedy: Remedy = NO_REMEDY


def _joined(reason: str, nvml: _NoGpu) -> str:
    return "; ".join(filter(None, [reason, nvml.reason]))


def _listed() -> tuple[list[Gpu], _NoGpu]:
    """Return the GPUs that NVML lists, or why it lists none."""
    try:
        return list_gpus(), _NoGpu("")
    except BackendUnavailableError as error:
        return [], _NoGpu(error.message, error.diagnostic.remedy)


def _known(listed: Sequence[Gpu], mask: str | None, environ: Mapping[str, str]) -> list[Gpu] | None:
    """Return CUDA's list if NVML's determines it, or None.

    NVML numbers by PCI bus. CUDA by default puts the fastest GPU first, leaves the order of the
    others open, and shows only one slice of a GPU with MIG: the driver has to be queried.
    Source: CUDA C++ Programming Guide, "CUDA Environment Variables", CUDA_DEVICE_ORDER.
    """
    by_uuid = mask is not None and not any(e.strip().isdecimal() for e in mask.split(","))
    if any(gpu.mig for gpu in listed):
        # CUDA takes one slice by its UUID, and no second.
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
    """Return the GPUs that a CUDA_VISIBLE_DEVICES value shows, in its order and numbered so.

    As in CUDA, entries are indices or the beginning of a UUID, and the first that matches no GPU
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


def _from_driver(answers: Mapping[str, Any], listed: Sequence[Gpu]) -> list[Gpu] | _NoGpu:
    """Return the GPUs that the driver shows, or why it shows none."""
    if "unasked" in answers:
        return _NoGpu(str(answers["unasked"]))
    status = int(answers["status"])
    if status == NO_DEVICE and answers["failed"] == "cuInit":
        return []
    if status != 0 and answers["failed"] == "cuInit":
        what, remedy = start_error(status)
        return _NoGpu(f"the NVIDIA driver does not start (cuInit error {status}): {what}", remedy)
    if status != 0:
        return _NoGpu(
            f"the NVIDIA driver lists no GPU: {answers['failed']} failed with error {status}"
        )
    # The driver library has CUDA's version only.
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
