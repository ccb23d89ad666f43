"""Reports for tests: documents of runs that never were, and the check that one fits the schema."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from jsonschema import Draft202012Validator

from pytest_trt.accuracy.result import AccuracyResult
from pytest_trt.benchmark.result import BenchmarkResult, MetricChange
from pytest_trt.engine.record import EngineRecord
from pytest_trt.records import to_data
from pytest_trt.report.document import Document, make_document
from pytest_trt.report.record import PlannedTest, TestRecord
from pytest_trt.report.schema import schema_text
from pytest_trt.report.status import Phase, PhaseOutcomes
from pytest_trt.terms import Verdict

KEY = "k" * 64


def engine(**overrides: Any) -> EngineRecord:
    values: dict[str, Any] = {
        "model": "digits.onnx",
        "precision": "fp16",
        "arch": "sm86",
        "target": "sm86 (NVIDIA A10)",
        "toolchain": "TensorRT 10.16.1",
        "route": "builder flags",
        "key": KEY,
        "cached": True,
        "build_s": 12.3,
        "size_bytes": 34_000,
        "reason": "",
        "runs_here": True,
        "model_digest": "m" * 64,
    }
    return EngineRecord(**{**values, **overrides})


def check(**overrides: Any) -> AccuracyResult:
    values: dict[str, Any] = {
        "model": "digits.onnx",
        "precision": "fp16",
        "arch": "sm86",
        "runs": 1,
        "worst_output": "logits",
        "used": 0.38,
        "key": KEY,
    }
    return AccuracyResult(
        **{**values, **overrides, "verdict": Verdict(overrides.get("verdict", "passed"))}
    )


def speed(**overrides: Any) -> BenchmarkResult:
    values: dict[str, Any] = {
        "test": "test_it.py::test_it",
        "model": "digits.onnx",
        "precision": "fp16",
        "arch": "sm86",
        "toolchain": "TensorRT 10.16.1",
        "verdict": "passed",
        "mode": "graph",
        "batch": 8,
        "calls": 70,
        "rounds": 20,
        "changes": (MetricChange("p99", "passed", 0.1, 0.045, 0.04, 0.05, 0.02, "screening", 20),),
        "candidate": {"p99_ms": 1.23456789, "throughput_qps": 6400.0},
        "baseline": {"p99_ms": 1.18},
        "candidate_rounds": {"p50": (1.1, 1.1), "p99": (1.23456789, 1.2)},
        "baseline_rounds": {"p50": (1.1, 1.1), "p99": (1.18, 1.18)},
        "key": KEY,
    }
    return BenchmarkResult(**{**values, **overrides})


def planned(name: str = "test_it", **overrides: Any) -> PlannedTest:
    values: dict[str, Any] = {
        "nodeid": f"test_it.py::{name}",
        "test": f"test_it.py::{name}",
        "file": "test_it.py",
        "line": 3,
        "model": "models/digits.onnx",
        "precision": "fp16",
        "arch": "sm86",
        "checks": ("consistency",),
    }
    return PlannedTest(**{**values, **overrides})


def reported(outcome: str = "passed", text: str = "", **record: Any) -> PhaseOutcomes:
    phases = {"setup": Phase("passed", 0.1), "call": Phase(outcome, 0.5, text, text)}
    return PhaseOutcomes(phases, TestRecord(**{"engines": (engine(),), **record}))


def skipped(reason: str) -> PhaseOutcomes:
    return PhaseOutcomes({"setup": Phase("skipped", 0.1, reason, reason)}, None)


def run(**overrides: Any) -> dict[str, Any]:
    values: dict[str, Any] = {
        "id": "1",
        "started": "2026-11-05T10:00:00+00:00",
        "started_s": 1793872800.0,
        "duration_s": 12.5,
        "exit_status": 0,
        "interrupted": False,
        "stopped": "",
        "commit": "c" * 40,
        "platform": "Linux",
        "versions": {"pytest-trt": "1.0", "python": "3.11.7"},
        "options": {},
        "machine_facts": {},
        "targets": [],
        "collection_errors": {},
        "collection_reasons": {},
        "skipped_files": {},
        "skipped_model_files": [],
        "diagnostics": [],
    }
    return {**values, **overrides}


def target(gpu: str = "NVIDIA A10", toolchain: str = "TensorRT 10.16.1") -> dict[str, Any]:
    """A target of a run, on a GPU."""
    facts = {"driver": "570.1", "sm_count": 72, "memory_bytes": 24_000_000_000, "mig": False}
    return {
        "arch": "sm86",
        "target": f"sm86 ({gpu})",
        "device": {"gpu": gpu},
        "backend": "tensorrt",
        "toolchain": toolchain,
        "toolchain_versions": {},
        "why": "the GPU at hand",
        "gpu": {"name": gpu, **facts},
        "measured_on": {"arch": "sm86", "gpu": gpu},
    }


def document(
    tests: Mapping[str, PhaseOutcomes | None],
    arch: str = "sm86",
    required: tuple[str, ...] = (),
    **of: Any,
) -> Document:
    """Return the document of a run in which this was told of each test."""
    plans = {name: planned(name, arch=arch) for name in tests}
    by_id = {plans[name].nodeid: one for name, one in tests.items() if one is not None}
    by_plan = {plan.nodeid: plan for plan in plans.values()}
    repeat = {nodeid: f"pytest {nodeid}" for nodeid in by_plan}
    for one in by_id.values():
        if one.record is not None:
            engines = tuple(engine(arch=arch) for _ in one.record.engines)
            one.record = TestRecord.from_dict({**one.record.to_dict(), "engines": to_data(engines)})
    return make_document(run(**{"id": arch, **of}), by_plan, by_id, repeat, required)


def check_schema(content: Any) -> None:
    """Fail unless a document fits the schema, and has no field that it does not document."""
    Draft202012Validator(_closed(json.loads(schema_text()))).validate(content)


def _closed(schema: Any) -> Any:
    if isinstance(schema, list):
        return [_closed(entry) for entry in schema]
    if not isinstance(schema, dict):
        return schema
    closed = {name: _closed(entry) for name, entry in schema.items()}
    known = "properties" in schema and isinstance(schema["properties"], dict)
    return {**closed, "additionalProperties": False} if known else closed
