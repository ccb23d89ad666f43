"""Facts about a vendor module: installed versions, whether it can be imported, and remedies."""

from __future__ import annotations

import importlib
import importlib.metadata
import importlib.util
import re
import sysconfig
import warnings
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from pytest_trt.backends.devices.driver import cuda_version
from pytest_trt.backends.tensorrt.product import cuda_lines
from pytest_trt.diagnostics import Remedy
from pytest_trt.extras import onnxruntime_distributions
from pytest_trt.records import to_data

#: Names of the distributions that a module may come from; those of ONNX Runtime are too many.
_DISTRIBUTIONS = {
    "tensorrt": r"tensorrt(_cu\d+)?(_bindings|_libs)?",
    "tensorrt_rtx": r"tensorrt_rtx(_cu\d+)?(_bindings|_libs)?",
    "cuda.bindings.runtime": "cuda_bindings",
}


@dataclass(frozen=True, slots=True)
class ModuleFacts:
    """A vendor module.

    Attributes:
        module: Its name.
        found: Whether there is something to import.
        problem: Why it cannot be imported; empty if it can, or is missing.
        timed_out: Whether the import took too long.
        version: Its version, or that of its distribution; empty if unknown.
        location: The file that is imported.
        distributions: Versions of the installed distributions that it may come from.
        cuda_lines: CUDA lines of these distributions, "cu12".
        archs: What TensorRT-RTX builds for; empty for other modules.
        runtime_cuda: Version of the CUDA runtime in cuda-bindings, "12.9"; else empty.
    """

    module: str
    found: bool
    problem: str = ""
    timed_out: bool = False
    version: str = ""
    location: str = ""
    distributions: Mapping[str, str] = field(default_factory=dict)
    cuda_lines: tuple[str, ...] = ()
    archs: tuple[str, ...] = ()
    runtime_cuda: str = ""

    @property
    def works(self) -> bool:
        """Whether it is found and can be imported."""
        return self.found and not self.problem


def installed_facts(module: str, problem: str = "", *, timed_out: bool = False) -> ModuleFacts:
    """Return the facts of a module without importing anything."""
    # Looking for a module inside a package would import the package.
    spec = importlib.util.find_spec(module.partition(".")[0])
    distributions = _distributions(module)
    return ModuleFacts(
        module=module,
        found=spec is not None and ("." not in module or bool(distributions)),
        problem=problem if spec else "",
        timed_out=timed_out,
        version=next(iter(distributions.values()), ""),
        location=(spec.origin or "") if spec else "",
        distributions=distributions,
        cuda_lines=cuda_lines(module),
    )


def imported_facts(module: str) -> dict[str, Any]:
    """Import a module and return its `ModuleFacts` as JSON-simple data."""
    data: dict[str, Any] = to_data(_imported(module))
    return data


def _imported(module: str) -> ModuleFacts:
    facts = installed_facts(module)
    if not facts.found:
        return facts
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            loaded = importlib.import_module(module)
            facts = replace(facts, version=str(getattr(loaded, "__version__", facts.version)))
            if module == "tensorrt_rtx":
                members = loaded.ComputeCapability.__members__
                archs = tuple(name.lower() for name in members if name.startswith("SM"))
                facts = replace(facts, archs=archs)
            if module == "cuda.bindings.runtime":
                version = cuda_version(loaded.cudaRuntimeGetVersion()[1])
                facts = replace(facts, runtime_cuda=version)
    except Exception as error:  # whatever it is, it keeps the module from being used
        facts = replace(facts, problem=f"{type(error).__name__}: {error}")
    return facts


def _distributions(module: str) -> dict[str, str]:
    if module == "onnxruntime":
        return onnxruntime_distributions()
    wanted = re.compile(_DISTRIBUTIONS[module], re.IGNORECASE)
    found: dict[str, str] = {}
    for distribution in importlib.metadata.distributions():
        name = (distribution.metadata["Name"] or "").replace("-", "_")
        if wanted.fullmatch(name):
            found.setdefault(name.lower(), distribution.version)  # the first one is imported
    return dict(sorted(found.items()))


#: A missing CUDA library in the message of an import, and the distribution of it for CUDA 12.
#: TensorRT 8.6 needs the first three; later versions depend on theirs.
_CUDA_LIBRARIES = (
    (r"libcudnn\S*\.so\.8", "'nvidia-cudnn-cu12<9'"),
    (r"libcublas(Lt)?\.so", "nvidia-cublas-cu12"),
    (r"libcudart\.so", "nvidia-cuda-runtime-cu12"),
    (r"libnvrtc\.so", "nvidia-cuda-nvrtc-cu12"),
)


def import_remedy(facts: ModuleFacts, install: Remedy) -> Remedy:
    """Return the remedy for a module that is found but cannot be imported.

    Args:
        facts: The module; its problem is the message of Python or the loader.
        install: The remedy for a module that is not installed.
    """
    text = facts.problem
    if facts.timed_out:
        return Remedy(
            "raise --timeout for a slow disk. To see what the import waits for, press Ctrl-C in:",
            commands=(f"python -X faulthandler -c 'import {facts.module}'",),
        )
    for library, distribution in _CUDA_LIBRARIES:
        if re.search(library, text):
            return Remedy(commands=(f"pip install {distribution}",))
    if found := re.search(r"(GLIBC(XX)?_[\d.]+)' not found", text):
        return Remedy(
            f"it was built for a newer Linux with {found[1]}: use one, or a container of one.",
            alternatives=("use an older release: TensorRT 10.7 is the last for glibc 2.17",),
        )
    if re.search(r"NumPy 1\.x|_ARRAY_API not found|numpy\.core\.multiarray", text):
        return Remedy(commands=("pip install 'numpy<2'",))
    if "libcuda.so" in text:
        return Remedy("install the NVIDIA driver, or start the container with --gpus all.")
    if not facts.distributions and facts.location and not _is_installed_at(facts.location):
        return Remedy(
            f"rename or remove {facts.location}: it is imported instead of the vendor's module."
        )
    if facts.distributions:
        pinned = " ".join(
            f"{name.replace('_', '-')}=={version}" for name, version in facts.distributions.items()
        )
        return Remedy(commands=(f"pip install --force-reinstall --no-deps {pinned}",))
    return install


def _is_installed_at(location: str) -> bool:
    """Whether a file lies where installers and packages of the system put modules."""
    places = {sysconfig.get_path("purelib"), sysconfig.get_path("platlib")}
    return "dist-packages" in location or any(location.startswith(place) for place in places)
