"""NVIDIA's two products: their modules, installed versions and built-in plugins."""

from __future__ import annotations

import contextlib
import importlib
import importlib.metadata
from dataclasses import dataclass
from functools import cache
from typing import Any

from pytest_trt.backends.tensorrt.log import process_logger
from pytest_trt.diagnostics import BackendUnavailableError, Remedy
from pytest_trt.engine.spec import Toolchain
from pytest_trt.extras import INSTALL_TENSORRT, install_command

#: CUDA lines whose wheels are searched for.
_CUDA_LINES = tuple(f"cu{major}" for major in range(11, 30))


@dataclass(frozen=True, slots=True)
class Product:
    """One of the products.

    Attributes:
        module: The module to import.
        label: Its name in messages.
        install: The commands that install it, one of which fits.
    """

    module: str
    label: str
    install: tuple[str, ...]

    def load(self) -> Any:
        """Import the vendor module.

        Raises:
            BackendUnavailableError: It is not installed, or its libraries cannot be loaded.
        """
        try:
            return importlib.import_module(self.module)
        except (ImportError, OSError, RuntimeError) as exc:
            raise BackendUnavailableError(
                f"{self.label} cannot be imported: {type(exc).__name__}: {exc}",
                fix=Remedy("install it for the driver's CUDA version:", commands=self.install),
                code="TRT714",
                facts={"module": self.module, "reason": f"{type(exc).__name__}: {exc}"},
            ) from exc

    def toolchain(self) -> Toolchain:
        """Return the full version, and the CUDA line of the wheels ("cu12")."""
        versions = {self.module: str(self.load().__version__)}
        lines = cuda_lines(self.module)
        if lines:
            versions["cuda"] = ",".join(lines)
        return Toolchain(self.label, versions)


TENSORRT = Product(
    module="tensorrt",
    label="TensorRT",
    install=INSTALL_TENSORRT,
)


TENSORRT_RTX = Product(
    module="tensorrt_rtx",
    label="TensorRT-RTX",
    install=(install_command("rtx"),),
)


#: Members of BuilderFlag that permit a precision.
_PRECISION_FLAGS = ("FP16", "BF16", "INT8", "FP8", "INT4")


def precision_flags(trt: Any) -> frozenset[str]:
    """Return the builder flags that choose precisions; none where the types in the model do."""
    found = frozenset(name for name in _PRECISION_FLAGS if hasattr(trt.BuilderFlag, name))
    return found if {"FP16", "INT8"} <= found else frozenset()


@cache
def cuda_lines(module: str) -> tuple[str, ...]:
    """Return the CUDA lines ("cu12") of a product's installed distributions, sorted."""
    return tuple(
        line
        for line in _CUDA_LINES
        if any(_is_installed(f"{module}_{line}{part}") for part in ("", "_bindings", "_libs"))
    )


def _is_installed(distribution: str) -> bool:
    # By name: iterating over all distributions reads a file of each.
    with contextlib.suppress(importlib.metadata.PackageNotFoundError):
        importlib.metadata.distribution(distribution)
        return True
    return False


@cache
def register_plugins(trt: Any) -> None:
    """Register the product's own plugins, once per process.

    Parsing a model and loading a plan need the plugins in them.
    """
    register = getattr(trt, "init_libnvinfer_plugins", None)
    if register is not None:
        register(process_logger(trt), "")
