"""One engine in one test, as a report has it: how it came about, its accuracy, its speed."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from typing import Any

from pytest_trt.accuracy.result import AccuracyResult, Finding, OutputResult
from pytest_trt.benchmark.result import BenchmarkResult, MetricChange
from pytest_trt.records import to_data
from pytest_trt.report.record import EngineRecord, TestRecord
from pytest_trt.report.speed_text import gravest_change
from pytest_trt.report.status import Status, checks_status

#: Significant digits of figures of single rounds: replayed graphs repeat themselves within 0.05%.
_ROUND_DIGITS = 5

#: Significant digits of everything else: enough to tell any two FP32 numbers apart.
_DIGITS = 9

#: Fields of an output's result that a report has as they are.
_OF_AN_OUTPUT = (
    "name",
    "dtype",
    "shape",
    "tolerance",
    "worst_abs",
    "worst_rel",
    "worst_used",
    "compared",
    "mismatched",
    "cosine",
    "top1",
    "topk",
    "histogram",
)


def results_of(record: TestRecord, status: Status) -> list[dict[str, Any]]:
    """Return a row for each engine of a test.

    Args:
        record: What was recorded of the test.
        status: What became of the test.
    """
    return [_result(engine, record, status) for engine in record.engines]


def _result(engine: EngineRecord, record: TestRecord, status: Status) -> dict[str, Any]:
    check = next((one for one in record.checks if one.key == engine.key), None)
    speed = next((one for one in record.speeds if one.key == engine.key), None)
    own = checks_status(record, engine.key)
    if own is None:
        # Where other engines were checked and this one was not, the test's status is theirs.
        own = Status.NOT_MEASURED if record.checks or record.speeds else status
    return {
        "engine": engine.key,
        "model": engine.model,
        "precision": engine.precision,
        "arch": engine.arch,
        "status": own.value,
        "cached": engine.cached,
        "build_s": engine.build_s,
        "why_built": "" if engine.cached else engine.reason,
        "accuracy": None if check is None else _accuracy(check),
        "speed": None if speed is None else _speed(speed),
    }


def engine_facts(engine: EngineRecord) -> dict[str, Any]:
    """Return what a report tells of an engine once, however many tests use it."""
    left_out = ("key", "cached", "reason", "build_s")
    return {name: value for name, value in to_data(engine).items() if name not in left_out}


def _accuracy(check: AccuracyResult) -> dict[str, Any]:
    return {
        "verdict": check.verdict,
        "runs": check.runs,
        "used": check.used,
        "worst_output": check.worst_output,
        "outputs": [_shorter(_output(output)) for output in check.outputs],
        "findings": _texts(check.findings),
    }


def _output(output: OutputResult) -> dict[str, Any]:
    data = to_data(output)
    return {
        **{name: data[name] for name in _OF_AN_OUTPUT},
        "used": output.used,
        "needed_atol": output.needed_atol,
        "needed_rtol": output.needed_rtol,
        "nonfinite": output.nonfinite.positions,
        "nonfinite_disagreeing": output.nonfinite.disagreeing,
        "findings": _texts(output.findings),
    }


def _texts(findings: Iterable[Finding]) -> list[dict[str, str]]:
    return [{"kind": finding.kind, "text": finding.text} for finding in findings]


def _speed(speed: BenchmarkResult) -> dict[str, Any]:
    gravest = gravest_change(speed)
    return {
        "verdict": speed.verdict,
        "mode": speed.mode,
        "batch": speed.batch,
        "calls": speed.calls,
        "rounds": speed.rounds,
        "candidate": _rounded(speed.candidate),
        "baseline": _rounded(speed.baseline),
        "candidate_rounds": {name: _each(v) for name, v in speed.candidate_rounds.items()},
        "baseline_rounds": {name: _each(v) for name, v in speed.baseline_rounds.items()},
        "changes": [_shorter(asdict(change)) for change in speed.changes],
        "gravest": None if gravest is None else gravest.metric,
        "unlimited": [_shorter(_unlimited(change)) for change in speed.unlimited],
        "limits": [_shorter(asdict(limit)) for limit in speed.limits],
        "structure": [_shorter(asdict(one)) for one in speed.structure],
        "layer_changes": list(speed.layer_changes),
        "baseline_file": speed.file,
        "baseline_recorded": speed.recorded,
        "baseline_update": speed.update,
        "differences": list(speed.differences),
        "why": speed.why,
    }


def _unlimited(change: MetricChange) -> dict[str, Any]:
    return {name: getattr(change, name) for name in ("metric", "change", "least", "most")}


def _rounded(figures: Mapping[str, float]) -> dict[str, float]:
    return {name: _digits(value, _ROUND_DIGITS) for name, value in figures.items()}


def _each(values: Sequence[float]) -> list[float]:
    return [_digits(value, _ROUND_DIGITS) for value in values]


def _shorter(data: Any) -> Any:
    """Return data with shorter numbers: sums in float64 have digits that say nothing."""
    if isinstance(data, dict):
        return {name: _shorter(value) for name, value in data.items()}
    if isinstance(data, list):
        return [_shorter(value) for value in data]
    return _digits(data, _DIGITS) if isinstance(data, float) else data


def _digits(value: float, digits: int) -> float:
    return float(f"{value:.{digits}g}")
