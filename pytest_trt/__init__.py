"""Inference regression testing for pytest: build, cache and check optimised engines.

The package is a pytest plugin (`pytest_trt.plugin`) and a command (`pytest-trt`). What it exports
here is its public API: the types of what fixtures return, the comparison for use in any script,
errors and warnings. Every other module is private and may change between releases.

Names are loaded when they are first used: importing `pytest_trt` alone loads nothing else.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from pytest_trt.version import __version__

if TYPE_CHECKING:
    from pytest_trt import metrics
    from pytest_trt.accuracy.compare import compare_outputs
    from pytest_trt.accuracy.reference import Reference, ReferenceSession
    from pytest_trt.accuracy.result import AccuracyResult, Comparison, ComparisonError, OutputResult
    from pytest_trt.accuracy.tolerance import Tolerance
    from pytest_trt.backends.selection import AdditionalBackend, BackendSettings
    from pytest_trt.benchmark.result import Benchmark, BenchmarkResult
    from pytest_trt.diagnostics import (
        BackendUnavailableError,
        BaselineError,
        CacheError,
        ConfigurationError,
        DeviceBusyError,
        DeviceLostError,
        Diagnostic,
        EngineBuildError,
        EngineLoadError,
        EngineRunError,
        InputError,
        ModelError,
        PytestTrtError,
        PytestTrtWarning,
        Remedy,
        ReportError,
        UnknownFactError,
        UnsupportedError,
    )
    from pytest_trt.engine.build import Engine
    from pytest_trt.engine.facts import EngineFacts, Layer
    from pytest_trt.engine.finished import PlanContent, PlanReader
    from pytest_trt.engine.protocols import Backend, BackendSession, Plan
    from pytest_trt.engine.session import EngineFactory, Session, SharedEngineFactory
    from pytest_trt.statistics.decline import MetricRecorder
    from pytest_trt.tensors.array_files import load_inputs

#: Where each public name is defined, by module.
_HOMES = {
    "accuracy.compare": ("compare_outputs",),
    "accuracy.reference": ("Reference", "ReferenceSession"),
    "accuracy.result": ("AccuracyResult", "Comparison", "ComparisonError", "OutputResult"),
    "accuracy.tolerance": ("Tolerance",),
    "backends.selection": ("AdditionalBackend", "BackendSettings"),
    "benchmark.result": ("Benchmark", "BenchmarkResult"),
    "diagnostics": (
        "BackendUnavailableError",
        "BaselineError",
        "CacheError",
        "ConfigurationError",
        "DeviceBusyError",
        "DeviceLostError",
        "Diagnostic",
        "EngineBuildError",
        "EngineLoadError",
        "EngineRunError",
        "InputError",
        "ModelError",
        "PytestTrtError",
        "PytestTrtWarning",
        "Remedy",
        "ReportError",
        "UnknownFactError",
        "UnsupportedError",
    ),
    "engine.build": ("Engine",),
    "engine.facts": ("EngineFacts", "Layer"),
    "engine.finished": ("PlanContent", "PlanReader"),
    "engine.protocols": ("Backend", "BackendSession", "Plan"),
    "engine.session": ("EngineFactory", "Session", "SharedEngineFactory"),
    "statistics.decline": ("MetricRecorder",),
    "tensors.array_files": ("load_inputs",),
}

__all__ = [
    "AccuracyResult",
    "AdditionalBackend",
    "Backend",
    "BackendSession",
    "BackendSettings",
    "BackendUnavailableError",
    "BaselineError",
    "Benchmark",
    "BenchmarkResult",
    "CacheError",
    "Comparison",
    "ComparisonError",
    "ConfigurationError",
    "DeviceBusyError",
    "DeviceLostError",
    "Diagnostic",
    "Engine",
    "EngineBuildError",
    "EngineFactory",
    "EngineFacts",
    "EngineLoadError",
    "EngineRunError",
    "InputError",
    "Layer",
    "MetricRecorder",
    "ModelError",
    "OutputResult",
    "Plan",
    "PlanContent",
    "PlanReader",
    "PytestTrtError",
    "PytestTrtWarning",
    "Reference",
    "ReferenceSession",
    "Remedy",
    "ReportError",
    "Session",
    "SharedEngineFactory",
    "Tolerance",
    "UnknownFactError",
    "UnsupportedError",
    "__version__",
    "compare_outputs",
    "load_inputs",
    "metrics",
]


if not TYPE_CHECKING:  # or every misspelt name would type-check

    def __getattr__(name: str) -> Any:
        if name == "metrics":
            return importlib.import_module(f"{__name__}.metrics")
        for module, names in _HOMES.items():
            if name in names:
                return getattr(importlib.import_module(f"{__name__}.{module}"), name)
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")

    def __dir__() -> list[str]:
        return sorted({*globals(), *__all__})
