"""The extras with vendor packages, as commands that also work where pytest-trt is on no index."""

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
