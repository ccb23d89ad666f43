"""Vendor packages: the extras as commands, and what ONNX Runtime was installed from."""

from importlib import metadata

#: What the extras of pyproject.toml install; a test compares the two.
EXTRAS = {
    "tensorrt-cu12": ("tensorrt-cu12>=10.0", "cuda-bindings>=12.6,<13", "nvidia-ml-py>=12.535"),
    "tensorrt-cu13": ("tensorrt-cu13>=10.13.2", "cuda-bindings>=13.0,<14", "nvidia-ml-py>=12.535"),
    "rtx": ("tensorrt-rtx>=1.4",),
}


def install_command(extra: str, options: str = "", below: str = "") -> str:
    """Return the command that installs the packages of an extra.

    Args:
        extra: A key of `EXTRAS`.
        options: Options of pip.
        below: The first version of the product that is too new; empty for none.
    """
    product, *others = EXTRAS[extra]
    packages = [f"{product},<{below}" if below else product, *others]
    given = [options] if options else []
    return " ".join(["pip install", *given, *(f"'{one}'" for one in packages)])


#: For TensorRT, where the driver's CUDA version is unknown.
INSTALL_TENSORRT = tuple(
    f"{install_command(f'tensorrt-cu{major}')}  # CUDA {major}" for major in (12, 13)
)

#: What every distribution of ONNX Runtime contains: onnxruntime-gpu, onnxruntime-openvino.
_MODULE = "onnxruntime/__init__.py"


def onnxruntime_distributions() -> dict[str, str]:
    """Return the versions of the installed distributions that contain ONNX Runtime, by name."""
    found: dict[str, str] = {}
    for one in metadata.distributions():
        name = (one.metadata["Name"] or "").lower().replace("_", "-")
        named = name == "onnxruntime" or name.startswith(("onnxruntime-", "ort-"))
        if named and _MODULE in map(str, one.files or ()):
            found.setdefault(name, one.version)  # the first one is imported
    return dict(sorted(found.items()))


def upgrade_onnxruntime(oldest: str = "") -> str:
    """Return the command that upgrades ONNX Runtime: two of its distributions exclude each other.

    Args:
        oldest: The oldest version that will do; empty for the newest.
    """
    name = next(iter(onnxruntime_distributions()), "onnxruntime")
    return (
        f"pip install --upgrade '{name}>={oldest}'" if oldest else f"pip install --upgrade {name}"
    )
