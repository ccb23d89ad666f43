"""One engine in one test, as a report has it: how it came about, its accuracy, its speed."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from typing import Any

from pytest_trt.benchmark.result import BenchmarkResult, MetricChange
from pytest_trt.records import to_data
from pytest_trt.report.record import ConsistencyRecord, EngineRecord, TestRecord
from pytest_trt.report.speed_text import gravest_change
from pytest_trt.report.status import Status, checks_status

#: Significant digits of figures of single rounds: replayed graphs repeat themselves within 0.05%.
_ROUND_DIGITS = 5

#: Significant digits of everything else: enough to tell any two FP32 numbers apart.
_DIGITS = 9

#: What of a comparison is told of each output, as the run that was furthest off has it.
_OF_THE_WORST = ("dtype", "shape", "tolerance", "worst_abs", "worst_rel", "worst_used")
_AGREEMENT = ("cosine", "top1", "topk")


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


def _accuracy(check: ConsistencyRecord) -> dict[str, Any]:
    by_output: dict[str, list[Mapping[str, Any]]] = {}
    for run in check.comparisons:
        for output in run["outputs"]:
            by_output.setdefault(output["name"], []).append(output)
    findings = [finding for run in check.comparisons for finding in run["findings"]]
    return {
        "verdict": check.verdict,
        "runs": check.runs,
        "used": check.used,
        "worst_output": check.worst_output,
        "outputs": [_shorter(_output(name, runs)) for name, runs in by_output.items()],
        "findings": _texts(findings),
    }


def _output(name: str, runs: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Sum up one output over the runs of a test."""
    worst = max(runs, key=lambda run: (_used(run), bool(run["findings"])))
    return {
        "name": name,
        **{label: worst[label] for label in _OF_THE_WORST},
        "used": _used(worst),
        "compared": sum(run["compared"] for run in runs),
        "mismatched": sum(run["mismatched"] for run in runs),
        "needed_atol": max(float(run["needed_atol"]) for run in runs),
        "needed_rtol": max(float(run["needed_rtol"]) for run in runs),
        **{
            label: min((run[label] for run in runs if run[label] is not None), default=None)
            for label in _AGREEMENT
        },
        "nonfinite": sum(run["nonfinite"]["positions"] for run in runs),
        "nonfinite_disagreeing": sum(run["nonfinite"]["disagreeing"] for run in runs),
        "histogram": _summed([run["histogram"] for run in runs if run["histogram"]]),
        "findings": _texts(finding for run in runs for finding in run["findings"]),
    }


def _used(run: Mapping[str, Any]) -> float:
    return float(run["used"])


def _summed(histograms: Sequence[Sequence[int]]) -> list[int] | None:
    return [sum(counts) for counts in zip(*histograms, strict=True)] or None


def _texts(findings: Iterable[Mapping[str, Any]]) -> list[dict[str, str]]:
    distinct = dict.fromkeys((finding["kind"], finding["text"]) for finding in findings)
    # A test with a thousand runs may find the same a thousand times, with other figures each time.
    return [{"kind": kind, "text": text} for kind, text in list(distinct)[:10]]


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
