"""Libraries of plugins, which parsing a model and loading a plan need."""

from __future__ import annotations

import ctypes
import os
from collections.abc import Sequence
from typing import Any

from pytest_trt.backends.tensorrt.log import log_tail
from pytest_trt.backends.tensorrt.product import register_plugins
from pytest_trt.onnx.libraries import Library

#: What this process has loaded, by path and digest, with what has to be referred to meanwhile.
_loaded: dict[Library, Any] = {}


def load_plugins(trt: Any, libraries: Sequence[Library], version: str) -> None:
    """Register the plugins of the product and of libraries, each once per process.

    Libraries are asked for their plugins. One that does not answer registers them by itself while
    it is loaded (REGISTER_TENSORRT_PLUGIN), if it has any.

    Raises:
        ModelError: A library cannot be loaded, has no plugins, or was replaced after it was hashed.
    """
    register_plugins(trt)
    for library in libraries:
        with library.loading(version):
            if library not in _loaded:
                _loaded[library] = _load(trt, str(library.path))


def _load(trt: Any, path: str) -> Any:
    registry_of = getattr(trt, "get_plugin_registry", None)
    registry = None if registry_of is None else registry_of()
    before, was_loaded = _creators(registry), _is_loaded(path)
    if registry is not None:
        with log_tail(trt):
            handle = registry.load_library(path)
        if handle is not None:
            return handle
    library = ctypes.CDLL(path, mode=ctypes.RTLD_GLOBAL)
    if not was_loaded and _creators(registry) == before:
        raise OSError("it has no plugins of TensorRT")
    return library


def _creators(registry: Any) -> int:
    """Return how many plugins are registered; the first versions have the shorter list only."""
    found: Any = getattr(registry, "all_creators", None)
    if found is None:
        found = getattr(registry, "plugin_creator_list", ())
    return len(found)


def _is_loaded(path: str) -> bool:
    """Whether this process has loaded a library before, such as by LD_PRELOAD."""
    try:
        ctypes.CDLL(path, mode=os.RTLD_NOLOAD)
    except OSError:
        return False
    return True
