"""Machines and installations to put before the doctor, each with valid defaults."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from pytest_trt.backends.devices.gpu import DeviceProbe, Gpu
from pytest_trt.backends.devices.state import ClockReason, DeviceState, clock_reasons
from pytest_trt.doctor.machine import MachineFacts
from pytest_trt.doctor.modules import ModuleFacts
from pytest_trt.terms import RTX_ARCHS

IDLE = DeviceState(
    sm_clock_mhz=345,
    max_sm_clock_mhz=1980,
    clock_reasons=clock_reasons(1),
    temperature_c=31,
    power_w=76.5,
    power_limit_w=700.0,
    utilization_pct=0,
    other_processes=(),
    persistence=True,
    performance_state=0,
)

NO_GPU = MachineFacts(DeviceProbe((), "libcuda.so.1 not found"))


def state(*reasons: ClockReason, **fields: Any) -> DeviceState:
    return replace(IDLE, clock_reasons=reasons, **fields)


def gpu(arch: str = "sm90", index: int = 0) -> Gpu:
    uuid = f"GPU-{index}"
    return Gpu(f"NVIDIA {arch}", arch, uuid, 132, 141 * 10**9, "580.1", mig=False, index=index)


def machine(*archs: str, driver_cuda: int = 13000, **fields: Any) -> MachineFacts:
    """Return a machine with a GPU of each architecture, each at rest."""
    gpus = tuple(gpu(arch, index) for index, arch in enumerate(archs or ("sm90",)))
    facts = MachineFacts(
        DeviceProbe(gpus, ""),
        listed=len(gpus),
        on_bus=len(gpus),
        driver="580.159.04",
        driver_cuda=driver_cuda,
        states={one.uuid: IDLE for one in gpus},
    )
    return replace(facts, **fields)


def module(name: str, version: str = "", **fields: Any) -> ModuleFacts:
    """Return a vendor's module that works, or one that is not there where no version is given."""
    product = name.replace(".", "_")
    facts = ModuleFacts(
        name,
        found=bool(version),
        version=version,
        distributions={product: version} if version else {},
        archs=RTX_ARCHS if name == "tensorrt_rtx" and version else (),
    )
    return replace(facts, **fields)


def modules(**versions: str | ModuleFacts) -> dict[str, ModuleFacts]:
    """Return all modules: ONNX Runtime works, of the others those that are given."""
    given = {"onnxruntime": "1.32.0", **versions}
    names = ("onnxruntime", "tensorrt", "tensorrt_rtx", "cuda.bindings.runtime")
    found = {name: given.get(name.partition(".")[0], "") for name in names}
    return {
        name: value if isinstance(value, ModuleFacts) else module(name, value)
        for name, value in found.items()
    }
