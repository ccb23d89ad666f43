"""What it means when a vendor's module cannot be imported, and what to type."""

from __future__ import annotations

import re
import sysconfig

from pytest_trt.doctor.module_facts import ModuleFacts
from pytest_trt.workers.question import NO_ANSWER

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
    if NO_ANSWER in text:
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
