"""A record as properties of its test in junit files."""

from __future__ import annotations

from collections.abc import Iterator

from pytest_trt.accuracy.result import AccuracyResult
from pytest_trt.benchmark.result import BenchmarkResult
from pytest_trt.escaping import junit
from pytest_trt.report.record import TestRecord


def properties_of(record: TestRecord) -> list[tuple[str, str]]:
    """Return a record's properties: names begin with `trt_` and end in units; values are text.

    A test of several engines has some names several times, in the order of the engines.
    `trt_code` is the code of a diagnostic, see `pytest-trt explain`: pytest writes the text of a
    failure itself. `trt_note` is the headline of a note, which ends with its code.
    """
    return [(junit(name), junit(value)) for name, value in _properties(record)]


def _properties(record: TestRecord) -> Iterator[tuple[str, str]]:
    yield from (
        ("trt_code", code) for code in dict.fromkeys(one.code for one in record.diagnostics)
    )
    yield from (("trt_note", text) for text in dict.fromkeys(one.headline for one in record.notes))
    for engine in record.engines:
        yield "trt_engine", f"{engine.model} {engine.precision} {engine.arch}"
        yield "trt_target", engine.target
        yield "trt_toolchain", engine.toolchain
        yield "trt_engine_key", engine.key
        if engine.size_bytes is not None:
            yield "trt_engine_size_bytes", str(engine.size_bytes)
        yield "trt_engine_cached", str(engine.cached).lower()
    for check in record.checks:
        yield from _of_check(check)
    for one in record.task_metrics:
        yield "trt_task_metric", f"{one.name}: {one.value:.6g} ({one.verdict.value})"
    yield from (of for speed in record.speeds for of in _of_speed(speed))


def _of_speed(speed: BenchmarkResult) -> Iterator[tuple[str, str]]:
    yield "trt_speed", speed.verdict.value
    yield "trt_speed_mode", speed.mode
    for name, value in speed.candidate.items():
        yield f"trt_{name}", f"{value:.5g}"
    for change in speed.changes:
        if change.change is not None:
            yield f"trt_{change.metric}_change_pct", f"{100 * change.change:+.4g}"
    for one in speed.speedups:
        yield "trt_speedup", f"{one.ratio:.4g}x {one.opponent} (at least {one.factor:g}x)"


def _of_check(check: AccuracyResult) -> Iterator[tuple[str, str]]:
    yield "trt_consistency", check.verdict.value
    yield "trt_against", check.against
    if check.used is not None and check.worst_output is not None:
        yield "trt_tolerance_used_pct", f"{100 * check.used:.4g}"
        yield "trt_worst_output", check.worst_output
    for metric in check.metrics:
        of = f" of {metric.output}" if metric.output else ""
        yield "trt_metric", f"{metric.name}{of}: {metric.figure} ({metric.limit})"
    for one in check.invariants:
        used = "" if one.used is None else f", {100 * one.used:.4g}% of the tolerance"
        yield "trt_invariant", f"{one.name}: {one.verdict.value}, {one.runs} runs{used}"
