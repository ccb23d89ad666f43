"""Which backend tests which architecture: a decision over facts that are passed in.

`select` is pure, so that every machine there is (no GPU, another GPU, TensorRT-RTX only) can be
put before it in a test. `make_backend` turns the names that it returns into backends.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from pytest_trt.backends.devices.gpu import DeviceProbe, Gpu
from pytest_trt.diagnostics import BackendUnavailableError, ConfigurationError
from pytest_trt.engine.protocols import Backend
from pytest_trt.terms import EXAMPLES, RTX_ARCHS

_INSTALL = {
    "tensorrt": "pip install 'pytest-trt[tensorrt-cu12]' (or tensorrt-cu13)",
    "tensorrt_rtx": "pip install 'pytest-trt[rtx]'",
}


@dataclass(frozen=True, slots=True)
class Selection:
    """An architecture to test, the backend for it, and why that one."""

    arch: str
    backend: str
    why: str


def is_installed(module: str) -> bool:
    """Whether a vendor module can be imported, without importing it."""
    return importlib.util.find_spec(module) is not None


def select(
    *,
    archs: tuple[str, ...],
    backend: str,
    probe: DeviceProbe,
    installed: Callable[[str], bool],
) -> tuple[Selection, ...]:
    """Choose a backend for every architecture that is to be tested.

    Args:
        archs: What was asked for; empty for what is at hand.
        backend: What was asked for, or "auto".
        probe: The GPUs of this machine.
        installed: Whether a vendor module is installed, by its name.

    Raises:
        ConfigurationError: What was asked for cannot be tested on this machine.
        BackendUnavailableError: The backend that was asked for is not installed.
    """
    if backend not in ("auto", "onnxruntime") and not installed(backend):
        raise BackendUnavailableError(
            f"--trt-backend {backend}: the module {backend} is not installed.",
            fix=f"{_INSTALL[backend]}, or drop --trt-backend.",
        )
    if archs:
        return tuple(_for_arch(arch, backend, probe, installed) for arch in archs)
    return (_at_hand(backend, probe, installed),)


def _at_hand(backend: str, probe: DeviceProbe, installed: Callable[[str], bool]) -> Selection:
    if backend == "onnxruntime":
        return Selection("cpu", "onnxruntime", "asked for with --trt-backend")
    if not probe.gpus:
        if backend == "auto":
            return Selection("cpu", "onnxruntime", f"no NVIDIA GPU: {probe.reason}")
        fix = "run on a machine with an NVIDIA GPU, or drop --trt-backend to test on the CPU."
        if backend == "tensorrt_rtx":
            fix = "name what to cross-build for, e.g. --trt-arch sm86, or drop --trt-backend."
        raise ConfigurationError(
            f"--trt-backend {backend}: no NVIDIA GPU: {probe.reason}.", fix=fix
        )
    gpu = probe.gpus[0]
    if backend == "auto" and not probe.asked and _on_gpu_by(gpu, backend, installed) is None:
        why = f"{gpu} is at hand, but TensorRT is not: {_INSTALL['tensorrt']}"
        return Selection("cpu", "onnxruntime", why)
    return _on_gpu(gpu, backend, probe, installed)


def _for_arch(
    arch: str, backend: str, probe: DeviceProbe, installed: Callable[[str], bool]
) -> Selection:
    if arch == "cpu":
        if backend in ("auto", "onnxruntime"):
            return Selection("cpu", "onnxruntime", "asked for with --trt-arch")
        raise ConfigurationError(
            f"--trt-arch cpu: {backend} has no CPU engines.",
            fix="drop --trt-backend, or use --trt-backend onnxruntime.",
        )
    if backend == "onnxruntime":
        raise ConfigurationError(
            f"--trt-arch {arch}: ONNX Runtime is the CPU backend.",
            fix="drop --trt-backend, or use --trt-arch cpu.",
        )
    gpu = probe.first(arch)
    if gpu is not None:
        return _on_gpu(gpu, backend, probe, installed)
    if probe.asked:
        raise _another_device(arch, probe)
    if probe.gpus and backend == "auto":
        raise _another_gpu(arch, probe.gpus)
    if backend == "tensorrt":
        raise ConfigurationError(
            f"--trt-arch {arch}: TensorRT builds for the GPU at hand only, and here "
            f"{_hardware(probe)}.",
            fix=f"run on a machine with an {arch} GPU{_example(arch)}, or cross-build with "
            "--trt-backend tensorrt_rtx.",
        )
    if not installed("tensorrt_rtx"):
        raise ConfigurationError(
            f"--trt-arch {arch}: this machine has neither an {arch} GPU ({probe.reason}) nor "
            "TensorRT-RTX to cross-build with.",
            fix=f"run on a machine with an {arch} GPU{_example(arch)}, or leave --trt-arch out to "
            "test on what is here. To see only whether engines for it build, which gives no "
            f"verdict: {_INSTALL['tensorrt_rtx']}",
        )
    if not _serves("tensorrt_rtx", arch):
        raise _rtx_cannot(arch)
    return Selection(arch, "tensorrt_rtx", f"cross-building, {_hardware(probe)}")


def _on_gpu(
    gpu: Gpu, backend: str, probe: DeviceProbe, installed: Callable[[str], bool]
) -> Selection:
    name = _on_gpu_by(gpu, backend, installed)
    if name is not None:
        number = f" as GPU {gpu.index}" if len(probe.gpus) + len(probe.left_out) > 1 else ""
        asked = ", asked for with --trt-device" if probe.asked else ""
        return Selection(gpu.arch, name, f"{gpu.name} is at hand{number}{asked}")
    if backend == "tensorrt_rtx":
        raise _rtx_cannot(gpu.arch)
    raise ConfigurationError(
        f"{gpu} is to be tested, but TensorRT is not installed.", fix=f"{_INSTALL['tensorrt']}."
    )


def _on_gpu_by(gpu: Gpu, backend: str, installed: Callable[[str], bool]) -> str | None:
    candidates = ("tensorrt", "tensorrt_rtx") if backend == "auto" else (backend,)
    return next((c for c in candidates if installed(c) and _serves(c, gpu.arch)), None)


def _serves(backend: str, arch: str) -> bool:
    return backend == "tensorrt" or arch in RTX_ARCHS


def _another_gpu(arch: str, gpus: tuple[Gpu, ...]) -> ConfigurationError:
    at_hand = ", ".join(map(str, gpus))
    return ConfigurationError(
        f"--trt-arch {arch}, but the GPU of this machine is {at_hand}.",
        fix=f"run on a machine with an {arch} GPU{_example(arch)}, say --trt-arch {gpus[0].arch}, "
        "or build without running through --trt-backend tensorrt_rtx.",
    )


def _another_device(arch: str, probe: DeviceProbe) -> ConfigurationError:
    chosen = probe.gpus[0]
    fitting = next((gpu for gpu in probe.left_out if gpu.arch == arch), None)
    other = (
        f"--trt-device {fitting.index} is {fitting}"
        if fitting
        else f"run on a machine with an {arch} GPU{_example(arch)}"
    )
    return ConfigurationError(
        f"--trt-arch {arch}, but --trt-device {probe.asked} is {chosen}.",
        fix=f"{other}; or say --trt-arch {chosen.arch}, or drop one of the two options.",
    )


def _rtx_cannot(arch: str) -> ConfigurationError:
    return ConfigurationError(
        f"TensorRT-RTX does not build for {arch}; it builds for {', '.join(RTX_ARCHS)}.",
        fix=f"run TensorRT on a machine with an {arch} GPU{_example(arch)}.",
    )


def _hardware(probe: DeviceProbe) -> str:
    if probe.gpus:
        return f"the GPU is {', '.join(map(str, probe.gpus))}"
    return f"there is no NVIDIA GPU ({probe.reason})"


def _example(arch: str) -> str:
    if arch in EXAMPLES:
        return f" ({EXAMPLES[arch]})"
    return f" (if there is such a thing: known are {', '.join(EXAMPLES)})"


def make_backend(
    name: str,
    *,
    probe: DeviceProbe,
    threads: int,
    build_timeout_s: float = 0,
    timing_folder: Path | None = None,
) -> Backend:
    """Return a backend by name; its vendor module is imported when it is first used.

    Args:
        name: One of the names that `select` returns.
        probe: The GPUs of this machine.
        threads: Threads of one inference on the CPU; 0 leaves them to ONNX Runtime.
        build_timeout_s: Seconds that one build of TensorRT may take; 0 for no limit.
        timing_folder: Where TensorRT's timing caches are kept; None keeps none.
    """
    if name == "onnxruntime":
        from pytest_trt.backends.onnxruntime.backend import OnnxRuntimeBackend

        return OnnxRuntimeBackend(threads=threads)
    if name == "tensorrt":
        from pytest_trt.backends.tensorrt.backend import TensorRtBackend

        return TensorRtBackend(probe, build_timeout_s=build_timeout_s, timing_folder=timing_folder)
    from pytest_trt.backends.tensorrt.backend import TensorRtRtxBackend

    return TensorRtRtxBackend(probe, build_timeout_s=build_timeout_s)
