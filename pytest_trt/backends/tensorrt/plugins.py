"""The plugins that come with the vendor's product."""

from __future__ import annotations

from functools import cache
from typing import Any

from pytest_trt.backends.tensorrt.log import process_logger


@cache
def register_plugins(trt: Any) -> None:
    """Make the product's own plugins known, once per process.

    Models are parsed, and plans loaded, only where the plugins in them are registered.
    """
    register = getattr(trt, "init_libnvinfer_plugins", None)
    if register is not None:
        register(process_logger(trt), "")
