"""NVML, the management library of the driver: facts of GPUs without starting CUDA.

It works before `fork`, while tests run, and without a context. Values that it does not report here
(old drivers, Jetson, virtual GPUs, no permission) are None, never a guess.
"""

from __future__ import annotations

import contextlib
import importlib
import warnings
from collections.abc import Iterator
from typing import Any

from pytest_trt.backends.devices.gpu import Gpu
from pytest_trt.diagnostics import BackendUnavailableError, Remedy
from pytest_trt.terms import arch_of

#: FP32 cores per multiprocessor other than 128; NVML counts cores.
#: Source: CUDA C++ Programming Guide, "Compute Capabilities", arithmetic throughput.
_CORES_PER_SM = {(7, 0): 64, (7, 2): 64, (7, 5): 64, (8, 0): 64}

#: Meaning of an exception at NVML's start, and remedy, by its name.
#: Source: NVML API Reference, nvmlReturn_t and nvmlInit_v2.
_REFUSALS = {
    "NVMLError_LibraryNotFound": (
        "the driver's library libnvidia-ml.so.1 is missing",
        Remedy(
            "install the driver's utilities, or start the container with "
            "NVIDIA_DRIVER_CAPABILITIES=utility."
        ),
    ),
    "NVMLError_DriverNotLoaded": (
        "the NVIDIA driver is not loaded",
        Remedy("reboot, or load it:", commands=("sudo modprobe nvidia",)),
    ),
    "NVMLError_LibRmVersionMismatch": (
        "the loaded NVIDIA driver and its libraries have different versions",
        Remedy("reboot, or restart the container, as after every driver update."),
    ),
    "NVMLError_NoPermission": (
        "this user may not use the NVIDIA driver",
        Remedy("give the user access to /dev/nvidia*, or start the container with --gpus."),
    ),
    "NVMLError_FunctionNotFound": (
        "the NVIDIA driver is too old for the installed nvidia-ml-py",
        Remedy("update the driver."),
    ),
    "NVMLError_GpuIsLost": (
        "a GPU has fallen off the bus",
        Remedy("reboot, or reset it:", commands=("nvidia-smi --gpu-reset",)),
    ),
}

#: Exceptions for values that are not available: on this GPU, for this user, with this driver, or
#: for a MIG slice.
_NO_ANSWER = (
    "NVMLError_NotSupported",
    "NVMLError_NoPermission",
    "NVMLError_Unknown",
    "NVMLError_FunctionNotFound",
    "NVMLError_InvalidArgument",
    "NVMLLibraryMismatchError",
)


class Nvml:
    """NVML after its start, see `nvml_started`.

    Attributes:
        module: The module `pynvml`.
    """

    def __init__(self, module: Any) -> None:
        self.module = module
        self._no_answer = tuple(getattr(module, n) for n in _NO_ANSWER if hasattr(module, n))

    def ask(self, question: str, *arguments: Any) -> Any:
        """Return the result of a function of NVML, or None if it is not available here."""
        function = getattr(self.module, question, None)
        if function is None:  # older pynvml
            return None
        try:
            return function(*arguments)
        except self._no_answer:
            return None

    def text(self, question: str, *arguments: Any) -> str:
        """Return a text from NVML; empty if it is not available here."""
        answer = self.ask(question, *arguments)
        # Older pynvml returns bytes.
        return answer.decode() if isinstance(answer, bytes) else answer or ""


@contextlib.contextmanager
def nvml_started() -> Iterator[Nvml]:
    """Start NVML, and stop it afterwards, as it must not be open across a fork.

    NVML counts starts, so a nested one costs next to nothing.

    Raises:
        BackendUnavailableError: NVML cannot be used.
    """
    module = _load()
    try:
        module.nvmlInit()
        try:
            yield Nvml(module)
        finally:
            with contextlib.suppress(module.NVMLError):
                module.nvmlShutdown()
    except module.NVMLError as error:
        name = type(error).__name__
        what, remedy = _REFUSALS.get(
            name, (f"NVML failed: {error}", Remedy("check the driver:", commands=("nvidia-smi",)))
        )
        raise BackendUnavailableError(
            f"{what} ({name})", fix=remedy, code="TRT713", facts={"status": name}
        ) from error


def _load() -> Any:
    try:
        with warnings.catch_warnings():
            # The superseded distribution `pynvml` warns on import, but works.
            warnings.simplefilter("ignore")
            return importlib.import_module("pynvml")
    except ImportError as exc:
        raise BackendUnavailableError(
            f"nvidia-ml-py cannot be imported: {exc}",
            fix=Remedy(commands=("pip install nvidia-ml-py",)),
            code="TRT714",
            facts={"module": "pynvml", "reason": str(exc)},
        ) from exc


def list_gpus() -> list[Gpu]:
    """Return every GPU of the machine in PCI order; its MIG slices follow a GPU.

    Raises:
        BackendUnavailableError: NVML cannot be used.
    """
    with nvml_started() as nvml:
        driver = nvml.text("nvmlSystemGetDriverVersion")
        gpus: list[Gpu] = []
        for index in range(nvml.module.nvmlDeviceGetCount()):
            handle = nvml.module.nvmlDeviceGetHandleByIndex(index)
            whole = _gpu(nvml, handle, driver, index)
            gpus += [whole, *(_slices(nvml, handle, whole) if whole.mig else ())]
    return gpus


def _gpu(nvml: Nvml, handle: Any, driver: str, index: int) -> Gpu:
    # Required: without it nothing can be chosen for the GPU.
    major, minor = nvml.module.nvmlDeviceGetCudaComputeCapability(handle)
    mig = nvml.ask("nvmlDeviceGetMigMode", handle)
    memory = nvml.ask("nvmlDeviceGetMemoryInfo", handle)
    cores = nvml.ask("nvmlDeviceGetNumGpuCores", handle)
    return Gpu(
        name=nvml.text("nvmlDeviceGetName", handle),
        arch=arch_of(major, minor),
        uuid=nvml.text("nvmlDeviceGetUUID", handle),
        sm_count=(cores or 0) // _CORES_PER_SM.get((major, minor), 128),
        memory_bytes=int(memory.total) if memory else 0,
        driver_version=driver,
        mig=bool(mig and mig[0]),
        index=index,
    )


def _slices(nvml: Nvml, handle: Any, whole: Gpu) -> Iterator[Gpu]:
    """Yield the MIG slices of a GPU; their numbers may have gaps."""
    for number in range(nvml.ask("nvmlDeviceGetMaxMigDeviceCount", handle) or 0):
        try:
            part = nvml.ask("nvmlDeviceGetMigDeviceHandleByIndex", handle, number)
        except nvml.module.NVMLError_NotFound:
            continue
        if part is None:
            continue
        size = nvml.ask("nvmlDeviceGetAttributes", part)
        yield Gpu(
            name=nvml.text("nvmlDeviceGetName", part) or f"{whole.name} MIG",
            arch=whole.arch,
            uuid=nvml.text("nvmlDeviceGetUUID", part),
            sm_count=int(size.multiprocessorCount) if size else 0,
            memory_bytes=int(size.memorySizeMB) << 20 if size else 0,
            driver_version=whole.driver_version,
            mig=True,
        )
