"""NVML and the driver library without a GPU: they answer what they are told to.

Names, constants and errors are nvidia-ml-py's own, so a question that it does not know fails here
as it would there. That real GPUs answer so is for tests/gpu to show.
"""

from __future__ import annotations

import ctypes
import itertools
from collections.abc import Sequence
from dataclasses import dataclass, field
from types import ModuleType, SimpleNamespace
from typing import Any

import pynvml


def h200_answers() -> dict[str, Any]:
    """What an idle H200 answers."""
    return {
        "nvmlDeviceGetName": "NVIDIA H200",
        "nvmlDeviceGetUUID": "GPU-5f30a6b2-0000-0000-0000-000000000001",
        "nvmlDeviceGetCudaComputeCapability": (9, 0),
        "nvmlDeviceGetNumGpuCores": 132 * 128,
        "nvmlDeviceGetMemoryInfo": SimpleNamespace(total=143771 << 20),
        "nvmlDeviceGetMigMode": [0, 0],
        "nvmlDeviceGetClockInfo": {pynvml.NVML_CLOCK_SM: 345, pynvml.NVML_CLOCK_MEM: 3201},
        "nvmlDeviceGetMaxClockInfo": {pynvml.NVML_CLOCK_SM: 1980, pynvml.NVML_CLOCK_MEM: 3201},
        "nvmlDeviceGetCurrentClocksEventReasons": 0x1,
        "nvmlDeviceGetTemperature": {pynvml.NVML_TEMPERATURE_GPU: 31},
        "nvmlDeviceGetPowerUsage": 76_500,
        "nvmlDeviceGetEnforcedPowerLimit": 700_000,
        "nvmlDeviceGetUtilizationRates": SimpleNamespace(gpu=0, memory=0),
        "nvmlDeviceGetComputeRunningProcesses": [],
        "nvmlDeviceGetMPSComputeRunningProcesses": [],
        "nvmlDeviceGetPersistenceMode": 1,
        "nvmlDeviceGetPerformanceState": 0,
    }


def computing(pct: dict[int, int]) -> Any:
    """Return how `nvmlDeviceGetProcessUtilization` answers while these processes compute.

    Every question finds samples that are newer than the last ones. Each process has its own, from
    when the driver last saw it: the later of two that are told here was seen before the other.

    Args:
        pct: Share of the multiprocessors' time by process.
    """
    clock_us = itertools.count(1_700_000_000_000_000, 1_000_000)

    def answer(seen_us: int) -> list[Any]:
        now_us = next(clock_us)
        assert seen_us < now_us
        return [
            SimpleNamespace(pid=pid, smUtil=share, timeStamp=now_us - 170_000 * place)
            for place, (pid, share) in enumerate(pct.items())
        ]

    return answer


@dataclass(eq=False)
class Device:
    """A GPU or a slice of one; it is its own handle.

    Attributes:
        answers: What it answers, by the function's name and then by its argument if it takes one,
            or what makes the answer of that. An exception is raised; what is not there is not
            supported.
        slices: Its MIG slices by number; None where there is none.
        whole: The GPU that a slice is part of.
    """

    answers: dict[str, Any] = field(default_factory=h200_answers)
    slices: list[Device | None] = field(default_factory=list)
    whole: Device | None = None


class FakeNvml(ModuleType):
    """What is used of `pynvml`.

    Attributes:
        started: How often it was started and not stopped.
        asked: How many questions about devices it was asked.
    """

    def __init__(self, *devices: Device, refusal: Exception | None = None) -> None:
        super().__init__("pynvml")
        self.devices = devices
        self.refusal = refusal
        self.started = 0
        self.asked = 0

    def __getattr__(self, name: str) -> Any:
        real = getattr(pynvml, name)
        if name.startswith("nvmlDeviceGet"):
            return lambda device, *arguments: self._answer(device, name, arguments)
        return real

    def nvmlInit(self) -> None:
        if self.refusal is not None:
            raise self.refusal
        self.started += 1

    def nvmlShutdown(self) -> None:
        self.started -= 1

    def nvmlSystemGetDriverVersion(self) -> str:
        return "580.159.04"

    def nvmlDeviceGetCount(self) -> int:
        return len(self.devices)

    def nvmlDeviceGetHandleByIndex(self, index: int) -> Device:
        return self.devices[index]

    def nvmlDeviceGetHandleByUUID(self, uuid: str) -> Device:
        slices = [part for device in self.devices for part in device.slices if part is not None]
        for device in (*self.devices, *slices):
            if device.answers["nvmlDeviceGetUUID"] == uuid:
                return device
        raise pynvml.NVMLError_NotFound()

    def nvmlDeviceGetMaxMigDeviceCount(self, device: Device) -> int:
        return len(device.slices)

    def nvmlDeviceGetMigDeviceHandleByIndex(self, device: Device, number: int) -> Device:
        part = device.slices[number]
        if part is None:
            raise pynvml.NVMLError_NotFound()
        return part

    def nvmlDeviceGetDeviceHandleFromMigDeviceHandle(self, device: Device) -> Device:
        if device.whole is None:
            raise pynvml.NVMLError_InvalidArgument()
        return device.whole

    def _answer(self, device: Device, question: str, arguments: tuple[Any, ...]) -> Any:
        assert self.started, "NVML is asked before it is started"
        answer = device.answers.get(question, pynvml.NVMLError_NotSupported())
        self.asked += 1
        if callable(answer):
            answer = answer(*arguments)
        elif arguments:
            answer = answer[arguments[0]] if isinstance(answer, dict) else answer
        if isinstance(answer, Exception):
            raise answer
        return answer


class FakeDriver:
    """What is used of libcuda.so.1: GPUs of one name, or an error at its start.

    Attributes:
        inits: How often CUDA was started.
        contexts: The numbers of the devices whose primary contexts were retained.
    """

    def __init__(
        self, status: int = 0, name: str = "NVIDIA A10", uuids: Sequence[bytes] = (bytes(16),)
    ) -> None:
        self.status, self.name, self.uuids = status, name, uuids
        self.inits = 0
        self.contexts: list[int] = []

    def cuInit(self, flags: int) -> int:
        self.inits += 1
        return self.status

    def cuDriverGetVersion(self, version: Any) -> None:
        version._obj.value = 13000

    def cuDeviceGetCount(self, count: Any) -> int:
        count._obj.value = len(self.uuids)
        return 0

    def cuDeviceGet(self, device: Any, index: int) -> int:
        device._obj.value = index
        return 0 if index < len(self.uuids) else 101  # CUDA_ERROR_INVALID_DEVICE

    def cuDevicePrimaryCtxRetain(self, context: Any, device: Any) -> int:
        self.contexts.append(device.value)
        return 0

    def cuDeviceGetName(self, name: Any, size: int, device: Any) -> None:
        name.value = self.name.encode()

    def cuDeviceTotalMem_v2(self, memory: Any, device: Any) -> None:
        memory._obj.value = 24 << 30

    def cuDeviceGetUuid_v2(self, uuid: Any, device: Any) -> None:
        ctypes.memmove(uuid, self.uuids[device.value], 16)

    def cuDeviceGetAttribute(self, value: Any, which: int, device: Any) -> None:
        value._obj.value = {16: 72, 75: 8, 76: 6}[which]
