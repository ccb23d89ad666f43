"""Whether a vendor's module can be imported here, and what it says of itself.

To be asked in a process of its own: an import may crash, hang, or end Python.
"""

from __future__ import annotations

import importlib
import importlib.metadata
import importlib.util
import re
import warnings
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from pytest_trt.backends.devices.driver_errors import cuda_version
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


def installed_facts(module: str, problem: str = "") -> ModuleFacts:
    """Return what is known of a module without importing anything.

    Args:
        module: Its name.
        problem: Why it cannot be imported, where that is known by other means.
    """
    # Looking for a module inside a package would import the package.
    spec = importlib.util.find_spec(module.partition(".")[0])
    distributions = _distributions(module)
    return ModuleFacts(
        module=module,
        found=spec is not None and ("." not in module or bool(distributions)),
        problem=problem if spec else "",
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
