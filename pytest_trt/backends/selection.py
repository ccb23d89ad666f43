"""The choice of a backend for each architecture, from facts that are passed in.

`select` is pure, so that tests can present any machine to it. `make_backend` turns the names that
it returns into backends. Plugins add backends of their own with `register_backend`; such a backend
is used only if `--trt-backend` names it.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import NamedTuple

from pytest_trt.backends.devices.gpu import DeviceProbe, Gpu
from pytest_trt.diagnostics import BackendUnavailableError, ConfigurationError, Fact, Remedy
from pytest_trt.engine.protocols import Backend
from pytest_trt.extras import INSTALL_TENSORRT, install_command
from pytest_trt.terms import EXAMPLES, RTX_ARCHS

#: Values of `--trt-backend` that need no registration.
BUILT_IN = ("auto", "tensorrt", "tensorrt_rtx", "onnxruntime")

_INSTALL = {
    "tensorrt": INSTALL_TENSORRT,
    "tensorrt_rtx": (install_command("rtx"),),
}


class BackendSettings(NamedTuple):
    """What the factory of a backend gets.

    Attributes:
        probe: The GPUs of this machine, as `--trt-device` restricts them.
        threads: Threads of one inference on the CPU; 0 for the backend's default.
        build_timeout_s: Time limit of one build in seconds; 0 for no limit.
        timing_folder: The folder of TensorRT's timing caches; None for no timing cache.
    """

    probe: DeviceProbe
    threads: int = 0
    build_timeout_s: float = 0
    timing_folder: Path | None = None


class AdditionalBackend(NamedTuple):
    """A backend that a plugin registered.

    Attributes:
        factory: Returns the backend; import vendor modules in it, not before.
        probe: Returns the architectures ("sm86", "cpu") that the backend can test on this machine,
            the default one first; empty if it cannot be used.
    """

    factory: Callable[[BackendSettings], Backend]
    probe: Callable[[DeviceProbe], tuple[str, ...]]


#: Additional backends by the name that `--trt-backend` takes.
Registry = Mapping[str, AdditionalBackend]

_NO_ADDITIONAL: Registry = MappingProxyType({})


def register_backend(
    registry: dict[str, AdditionalBackend],
    name: str,
    factory: Callable[[BackendSettings], Backend],
    probe: Callable[[DeviceProbe], tuple[str, ...]],
) -> None:
    """Add a backend to a registry.

    Args:
        registry: The backends registered so far.
        name: The name for `--trt-backend`, an identifier; the backend's own `name` must equal it.
        factory: See `AdditionalBackend`.
        probe: See `AdditionalBackend`.

    Raises:
        ConfigurationError: The name is not an identifier or already taken.
    """
    if not name.isidentifier() or name in BUILT_IN or name in registry:
        raise ConfigurationError(
            f"backend name {name!r} is not an identifier, or already registered",
            fix="register the backend once, under another name.",
            code="TRT704",
            facts={"backend": name, "registered": [*BUILT_IN, *registry]},
        )
    registry[name] = AdditionalBackend(factory, probe)


@dataclass(frozen=True, slots=True)
class Selection:
    """An architecture to test, the backend for it, and the reason for the choice."""

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
    additional: Registry = _NO_ADDITIONAL,
) -> tuple[Selection, ...]:
    """Choose a backend for every architecture to test.

    Args:
        archs: The requested architectures; empty for what this machine has.
        backend: The requested backend, or "auto".
        probe: The GPUs of this machine.
        installed: Whether a vendor module is installed, by its name.
        additional: Backends that plugins registered.

    Raises:
        ConfigurationError: The request cannot be tested on this machine.
        BackendUnavailableError: The requested backend is not installed.
    """
    if backend in additional:
        return _additional(archs, backend, additional[backend].probe(probe))
    if backend not in ("auto", "onnxruntime") and not installed(backend):
        raise BackendUnavailableError(
            f"--trt-backend {backend}: the module {backend} is not installed",
            fix=Remedy("drop --trt-backend, or install it:", commands=_INSTALL[backend]),
            code="TRT714",
            facts={"module": backend, "backend": backend},
        )
    if archs:
        return tuple(_for_arch(arch, backend, probe, installed) for arch in archs)
    return (_default(backend, probe, installed),)


def _additional(
    archs: tuple[str, ...], backend: str, served: tuple[str, ...]
) -> tuple[Selection, ...]:
    if not served:
        raise BackendUnavailableError(
            f"--trt-backend {backend}: its plugin reports that it cannot be used on this machine",
            fix="follow the documentation of the plugin, or drop --trt-backend.",
            facts={"backend": backend},
        )
    for arch in archs:
        if arch not in served:
            raise _unsupported(
                f"--trt-arch {arch}: {backend} supports {', '.join(served)} on this machine",
                arch,
                backend,
                "name one of these architectures, or drop --trt-backend.",
            )
    reason = "requested with --trt-backend"
    return tuple(Selection(arch, backend, reason) for arch in archs or served[:1])


def _default(backend: str, probe: DeviceProbe, installed: Callable[[str], bool]) -> Selection:
    if backend == "onnxruntime":
        return Selection("cpu", "onnxruntime", "requested with --trt-backend")
    if not probe.gpus:
        if backend == "auto":
            return Selection("cpu", "onnxruntime", f"no NVIDIA GPU ({probe.reason})")
        fix = "run on a machine with an NVIDIA GPU, or drop --trt-backend to test on the CPU."
        if backend == "tensorrt_rtx":
            fix = (
                "name an architecture to cross-build for (--trt-arch sm86), or drop --trt-backend."
            )
        raise ConfigurationError(
            f"--trt-backend {backend}: no NVIDIA GPU ({probe.reason})",
            fix=fix,
            code="TRT750",
            facts={"backend": backend, "reason": probe.reason},
        )
    gpu = probe.gpus[0]
    if backend == "auto" and not probe.chosen and _on_gpu_by(gpu, backend, installed) is None:
        why = f"found {gpu}, but TensorRT is not installed: see `pytest-trt doctor`"
        return Selection("cpu", "onnxruntime", why)
    return _on_gpu(gpu, backend, probe, installed)


def _for_arch(
    arch: str, backend: str, probe: DeviceProbe, installed: Callable[[str], bool]
) -> Selection:
    if arch == "cpu":
        if backend in ("auto", "onnxruntime"):
            return Selection("cpu", "onnxruntime", "requested with --trt-arch")
        raise _unsupported(
            f"--trt-arch cpu: {backend} has no CPU engines",
            arch,
            backend,
            "drop --trt-backend, or use --trt-backend onnxruntime.",
        )
    if backend == "onnxruntime":
        raise _unsupported(
            f"--trt-arch {arch}: ONNX Runtime is the CPU backend",
            arch,
            backend,
            "drop --trt-backend, or use --trt-arch cpu.",
        )
    gpu = probe.first(arch)
    if gpu is not None:
        return _on_gpu(gpu, backend, probe, installed)
    if probe.chosen:
        raise _other_device(arch, probe)
    if probe.gpus and backend == "auto":
        raise _other_gpu(arch, probe.gpus)
    if backend == "tensorrt":
        raise _not_here(
            f"--trt-arch {arch}: TensorRT builds only for a GPU of this machine, and "
            f"{_hardware(probe)}",
            arch,
            f"run on a machine with an {arch} GPU{_example(arch)}, or cross-build with "
            "--trt-backend tensorrt_rtx.",
        )
    if not installed("tensorrt_rtx"):
        raise _not_here(
            f"--trt-arch {arch}: this machine has neither an {arch} GPU ({probe.reason}) nor "
            "TensorRT-RTX to cross-build with",
            arch,
            Remedy(
                f"run on a machine with an {arch} GPU{_example(arch)}, or drop --trt-arch. "
                "To check only that engines build, without a verdict:",
                commands=_INSTALL["tensorrt_rtx"],
            ),
        )
    if arch not in RTX_ARCHS:
        raise _rtx_cannot(arch)
    return Selection(arch, "tensorrt_rtx", f"cross-building, {_hardware(probe)}")


def _on_gpu(
    gpu: Gpu, backend: str, probe: DeviceProbe, installed: Callable[[str], bool]
) -> Selection:
    name = _on_gpu_by(gpu, backend, installed)
    if name is not None:
        number = f" as GPU {gpu.index}" if len(probe.gpus) + len(probe.left_out) > 1 else ""
        chosen = ", chosen with --trt-device" if probe.chosen else ""
        return Selection(gpu.arch, name, f"found {gpu.name}{number}{chosen}")
    if backend == "tensorrt_rtx":
        raise _rtx_cannot(gpu.arch)
    raise ConfigurationError(
        f"{gpu} is to be tested, but TensorRT is not installed",
        fix=Remedy(commands=_INSTALL["tensorrt"]),
        code="TRT714",
        facts={"module": "tensorrt", "arch": gpu.arch},
    )


def _on_gpu_by(gpu: Gpu, backend: str, installed: Callable[[str], bool]) -> str | None:
    candidates = ("tensorrt", "tensorrt_rtx") if backend == "auto" else (backend,)
    return next((c for c in candidates if installed(c) and _serves(c, gpu.arch)), None)


def _serves(backend: str, arch: str) -> bool:
    return backend == "tensorrt" or arch in RTX_ARCHS


def _not_here(message: str, arch: str, fix: str | Remedy, **facts: Fact) -> ConfigurationError:
    return ConfigurationError(message, fix=fix, code="TRT701", facts={"arch": arch, **facts})


def _unsupported(message: str, arch: str, backend: str, fix: str) -> ConfigurationError:
    facts: dict[str, Fact] = {"arch": arch, "backend": backend}
    return ConfigurationError(message, fix=fix, code="TRT703", facts=facts)


def _other_gpu(arch: str, gpus: tuple[Gpu, ...]) -> ConfigurationError:
    found = ", ".join(map(str, gpus))
    return _not_here(
        f"--trt-arch {arch}, but the GPU of this machine is {found}",
        arch,
        Remedy(
            f"run on a machine with an {arch} GPU{_example(arch)}.",
            alternatives=(
                f"test the GPU of this machine: --trt-arch {gpus[0].arch}",
                "build without running: --trt-backend tensorrt_rtx",
            ),
        ),
        found=[gpu.arch for gpu in gpus],
    )


def _other_device(arch: str, probe: DeviceProbe) -> ConfigurationError:
    chosen = probe.gpus[0]
    fitting = next((gpu for gpu in probe.left_out if gpu.arch == arch), None)
    other = (
        f"use --trt-device {fitting.index}, which is {fitting}"
        if fitting
        else f"run on a machine with an {arch} GPU{_example(arch)}"
    )
    return _not_here(
        f"--trt-arch {arch}, but --trt-device {probe.chosen} is {chosen}",
        arch,
        f"{other}. Or use --trt-arch {chosen.arch}, or drop one of the two options.",
        found=[chosen.arch],
    )


def _rtx_cannot(arch: str) -> ConfigurationError:
    return _unsupported(
        f"TensorRT-RTX does not build for {arch}; it builds for {', '.join(RTX_ARCHS)}",
        arch,
        "tensorrt_rtx",
        f"run TensorRT on a machine with an {arch} GPU{_example(arch)}.",
    )


def _hardware(probe: DeviceProbe) -> str:
    if probe.gpus:
        return f"the GPU is {', '.join(map(str, probe.gpus))}"
    return f"there is no NVIDIA GPU ({probe.reason})"


def _example(arch: str) -> str:
    if arch in EXAMPLES:
        return f" ({EXAMPLES[arch]})"
    return f" (unknown; known architectures: {', '.join(EXAMPLES)})"


def make_backend(
    name: str,
    *,
    probe: DeviceProbe,
    threads: int,
    build_timeout_s: float = 0,
    timing_folder: Path | None = None,
    additional: Registry = _NO_ADDITIONAL,
) -> Backend:
    """Return a backend by name; its vendor module is imported when it is first used.

    Args:
        name: One of the names that `select` returns.
        probe: The GPUs of this machine.
        threads: Threads of one inference on the CPU; 0 for the default of ONNX Runtime.
        build_timeout_s: Time limit of one build in seconds; 0 for no limit.
        timing_folder: The folder of TensorRT's timing caches; None for no timing cache.
        additional: Backends that plugins registered.
    """
    if name in additional:
        settings = BackendSettings(probe, threads, build_timeout_s, timing_folder)
        return additional[name].factory(settings)
    if name == "onnxruntime":
        from pytest_trt.backends.onnxruntime.backend import OnnxRuntimeBackend

        return OnnxRuntimeBackend(threads, build_timeout_s=build_timeout_s)
    if name == "tensorrt":
        from pytest_trt.backends.tensorrt.backend import TensorRtBackend

        return TensorRtBackend(probe, build_timeout_s=build_timeout_s, timing_folder=timing_folder)
    from pytest_trt.backends.tensorrt.backend import TensorRtRtxBackend

    return TensorRtRtxBackend(probe, build_timeout_s=build_timeout_s)
