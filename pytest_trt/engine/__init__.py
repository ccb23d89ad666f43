"""Engines: what is asked (spec), what they are called (key), where they are kept (cache)."""

from pytest_trt.engine.cache import DEFAULT_MAX_BYTES, EngineCache, default_cache_dir
from pytest_trt.engine.facts import EngineFacts, Layer, Timings
from pytest_trt.engine.flow import Engine, build_or_load
from pytest_trt.engine.key import EngineKey, engine_key, run_alike
from pytest_trt.engine.layer_changes import Change, LayerChange, layer_changes, shortened
from pytest_trt.engine.layer_rows import layer_rows, layers_of
from pytest_trt.engine.protocols import (
    Backend,
    BuildRequest,
    BuildResult,
    DeviceSession,
    Progress,
    Session,
)
from pytest_trt.engine.spec import (
    PRECISIONS,
    EngineSpec,
    Route,
    Target,
    Toolchain,
    shared_options,
)

__all__ = [
    "DEFAULT_MAX_BYTES",
    "PRECISIONS",
    "Backend",
    "BuildRequest",
    "BuildResult",
    "Change",
    "DeviceSession",
    "Engine",
    "EngineCache",
    "EngineFacts",
    "EngineKey",
    "EngineSpec",
    "Layer",
    "LayerChange",
    "Progress",
    "Route",
    "Session",
    "Target",
    "Timings",
    "Toolchain",
    "build_or_load",
    "default_cache_dir",
    "engine_key",
    "layer_changes",
    "layer_rows",
    "layers_of",
    "run_alike",
    "shared_options",
    "shortened",
]
