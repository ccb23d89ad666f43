"""What is installed of a vendor's module, whether it can be imported, and what to do if not."""

from __future__ import annotations

import importlib
import importlib.metadata
import importlib.util
import re
import sysconfig
import warnings
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from pytest_trt.backends.devices.driver import cuda_version
from pytest_trt.backends.tensorrt.product import cuda_lines

#: What the distributions are called that a module may come from.
_DISTRIBUTIONS = {
    "tensorrt": r"tensorrt(_cu\d+)?(_bindings|_libs)?",
    "tensorrt_rtx": r"tensorrt_rtx(_cu\d+)?(_bindings|_libs)?",
    "onnxruntime": r"(onnxruntime|ort_nightly)(_gpu|_directml|_openvino|_training)?",
    "cuda.bindings.runtime": "cuda_bindings",
}


@dataclass(frozen=True, slots=True)
class ModuleFacts:
    """What is known of a vendor's module.

    Attributes:
        module: Its name.
        found: Whether there is something to import.
        problem: Why it cannot be imported; empty where it can, or is not there.
        timed_out: Whether that is that the import takes too long.
        version: What it says, else what its distribution says; empty where nothing does.
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
        """Whether it can be imported."""
        return self.found and not self.problem


def installed_facts(module: str, problem: str = "", *, timed_out: bool = False) -> ModuleFacts:
    """Return what is known of a module without importing anything.

    Args:
        module: Its name.
        problem: Why it cannot be imported, where that is known by other means.
        timed_out: Whether that is that the import takes too long.
    """
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
    """Import a module and return its `ModuleFacts`, JSON-simple."""
    facts = asdict(installed_facts(module))
    if not facts["found"]:
        return facts
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            loaded = importlib.import_module(module)
            facts["version"] = str(getattr(loaded, "__version__", facts["version"]))
            if module == "tensorrt_rtx":
                members = loaded.ComputeCapability.__members__
                facts["archs"] = [name.lower() for name in members if name.startswith("SM")]
            if module == "cuda.bindings.runtime":
                facts["runtime_cuda"] = cuda_version(loaded.cudaRuntimeGetVersion()[1])
    except Exception as error:  # whatever it is, that is what keeps the module from being used
        facts["problem"] = f"{type(error).__name__}: {error}"
    return facts


def facts_from_json(data: Mapping[str, Any]) -> ModuleFacts:
    """Return the facts that `imported_facts` told."""
    lists = {name: tuple(data[name]) for name in ("cuda_lines", "archs")}
    return ModuleFacts(**{**data, **lists})


def _distributions(module: str) -> dict[str, str]:
    wanted = re.compile(_DISTRIBUTIONS[module], re.IGNORECASE)
    found: dict[str, str] = {}
    for distribution in importlib.metadata.distributions():
        name = (distribution.metadata["Name"] or "").replace("-", "_")
        if wanted.fullmatch(name):
            found.setdefault(name.lower(), distribution.version)  # the first one is imported
    return dict(sorted(found.items()))


#: What is said where a library of CUDA is missing, and the distribution that brings it for CUDA 12.
#: TensorRT 8.6 needs the first three; later ones bring what they need.
_CUDA_LIBRARIES = (
    (r"libcudnn\S*\.so\.8", "'nvidia-cudnn-cu12<9'"),
    (r"libcublas(Lt)?\.so", "nvidia-cublas-cu12"),
    (r"libcudart\.so", "nvidia-cuda-runtime-cu12"),
    (r"libnvrtc\.so", "nvidia-cuda-nvrtc-cu12"),
)


def import_fix(facts: ModuleFacts, install: str) -> str:
    """Return what to do about a module that is there and cannot be imported.

    Args:
        facts: What is known of it.
        install: What to type where it is not installed.
    """
    text = facts.problem
    if facts.timed_out:
        return (
            f"python -X faulthandler -c 'import {facts.module}', and Ctrl-C to see what it waits "
            "for; --timeout gives a slow disk longer."
        )
    for library, distribution in _CUDA_LIBRARIES:
        if re.search(library, text):
            return f"pip install {distribution}"
    if found := re.search(r"(GLIBC(XX)?_[\d.]+)' not found", text):
        return (
            f"it was built for a newer Linux, which has {found[1]}: use one, or a container of "
            "one, or an older release (TensorRT 10.7 is the last for glibc 2.17)."
        )
    if re.search(r"NumPy 1\.x|_ARRAY_API not found|numpy\.core\.multiarray", text):
        return "pip install 'numpy<2'"
    if "libcuda.so" in text:
        return "install the NVIDIA driver, or start the container with --gpus all."
    if not facts.distributions and facts.location and not _is_installed_at(facts.location):
        return f"rename or remove {facts.location}: it is imported in place of the vendor's module."
    if facts.distributions:
        pinned = " ".join(
            f"{name.replace('_', '-')}=={version}" for name, version in facts.distributions.items()
        )
        return f"pip install --force-reinstall --no-deps {pinned}"
    return install


def _is_installed_at(location: str) -> bool:
    """Whether a file lies where installers and packages of the system put modules."""
    places = {sysconfig.get_path("purelib"), sysconfig.get_path("platlib")}
    return "dist-packages" in location or any(location.startswith(place) for place in places)
