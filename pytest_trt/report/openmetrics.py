"""A report as OpenMetrics text, for dashboards.

Only gauges and no timestamps, so that the text is also valid in Prometheus' older text format, as
node_exporter's textfile collector and the Pushgateway read it.
Source: OpenMetrics 1.0, https://github.com/prometheus/OpenMetrics/blob/main/specification/OpenMetrics.md
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any, TypeAlias

from pytest_trt import escaping

#: One sample: its labels and its value.
_Sample: TypeAlias = tuple[dict[str, str], float]

#: Each metric: its name behind `pytest_trt_`, its unit (with which the name ends), its help.
_METRICS = (
    ("run_info", "", "Versions of a run."),
    ("run_start_timestamp_seconds", "seconds", "When a run started, in seconds since 1970."),
    ("run_duration_seconds", "seconds", "Duration of a run."),
    ("run_exit_status", "", "The exit status of pytest."),
    ("tests", "", "Tests of models by status."),
    ("missing_verdicts", "", "Required verdicts that are missing."),
    ("test_verdict", "", "Status of an engine in a test: 1 for passed, 0 for anything else."),
    ("tolerance_used_ratio", "ratio", "Share of the tolerance that an output used."),
    ("accuracy_metric", "", "Value of a metric of trt_consistency at its worst run."),
    ("task_metric", "", "Value of a metric that a test recorded."),
    ("latency_seconds", "seconds", "Latency of a call."),
    ("throughput", "", "Items per second."),
    ("change_ratio", "ratio", "Change of a metric against its baseline."),
    ("change_limit_ratio", "ratio", "Allowed change of a metric for the worse."),
    ("speedup_ratio", "ratio", "How many times as fast as another engine, by median latency."),
    ("speedup_limit_ratio", "ratio", "How many times as fast as another engine it has to be."),
    ("engine_size_bytes", "bytes", "Size of an engine's plan."),
    ("engine_device_memory_bytes", "bytes", "Scratch memory of one execution context."),
    ("engine_layers", "", "Layers of an engine."),
)

_LATENCIES = {"p50_ms": "p50", "p95_ms": "p95", "p99_ms": "p99"}


def openmetrics_text(document: Mapping[str, Any]) -> str:
    """Return a document as OpenMetrics text, which ends in `# EOF`."""
    samples: dict[str, list[_Sample]] = {name: [] for name, _, _ in _METRICS}
    for name, labels, value in _samples(document):
        samples[name].append((labels, value))
    lines = []
    for name, unit, description in _METRICS:
        if samples[name]:
            lines.append(f"# TYPE pytest_trt_{name} gauge")
            lines += [f"# UNIT pytest_trt_{name} {unit}"] * bool(unit)
            lines.append(f"# HELP pytest_trt_{name} {description}")
            lines += [f"pytest_trt_{name}{_labels(one)} {value!r}" for one, value in samples[name]]
    return "\n".join([*lines, "# EOF", ""])


def _samples(document: Mapping[str, Any]) -> Iterator[tuple[str, dict[str, str], float]]:
    for index, run in enumerate(document["runs"]):
        of_run = {"run": str(index)}
        versions = {_label(name): version for name, version in run["versions"].items()}
        yield "run_info", {**of_run, **versions, "commit": run["commit"] or ""}, 1
        yield "run_start_timestamp_seconds", of_run, run["started_s"]
        yield "run_duration_seconds", of_run, run["duration_s"]
        yield "run_exit_status", of_run, run["exit_status"]
    counts = Counter((test["run"], test["arch"], test["status"]) for test in document["tests"])
    for (number, arch, status), count in counts.items():
        yield "tests", {"run": str(number), "arch": arch, "status": status}, count
    if document["coverage"] is not None:
        missing = Counter(one["arch"] for one in document["coverage"]["missing"])
        for arch in document["coverage"]["required"]:
            # Without any test, something is missing all the same.
            least = 0 if document["coverage"]["tests"] else 1
            yield "missing_verdicts", {"arch": arch}, max(missing[arch], least)
    yield from _of_engines(document)
    for test in document["tests"]:
        for result in test["results"]:
            labels = {
                "run": str(test["run"]),
                "test": test["test"],
                "model": result["model"],
                "precision": result["precision"],
                "arch": result["arch"],
                "engine": result["engine"][:12],
            }
            passed = float(result["status"] == "passed")
            yield "test_verdict", {**labels, "status": result["status"]}, passed
            yield from _of_accuracy(result["accuracy"], labels)
            for one in result.get("task_metrics", ()):
                yield "task_metric", {**labels, "metric": one["name"]}, float(one["value"])
            yield from _of_speed(result["speed"], labels)


def _of_engines(document: Mapping[str, Any]) -> Iterator[tuple[str, dict[str, str], float]]:
    for key, engine in document["engines"].items():
        labels = {name: engine[name] for name in ("model", "precision", "arch", "toolchain")}
        for name in ("size_bytes", "device_memory_bytes", "layers"):
            if engine[name] is not None:
                yield f"engine_{name}", {**labels, "engine": key[:12]}, engine[name]


def _of_accuracy(
    accuracy: Mapping[str, Any] | None, labels: dict[str, str]
) -> Iterator[tuple[str, dict[str, str], float]]:
    if accuracy is None:
        return
    for metric in accuracy.get("metrics", ()):
        if metric["value"] is not None:
            of = {"metric": metric["name"], "output": metric["output"]}
            yield "accuracy_metric", {**labels, **of}, float(metric["value"])
    for output in accuracy["outputs"]:
        yield "tolerance_used_ratio", {**labels, "output": output["name"]}, float(output["used"])


def _of_speed(
    speed: Mapping[str, Any] | None, labels: dict[str, str]
) -> Iterator[tuple[str, dict[str, str], float]]:
    if speed is None:
        return
    timed = {**labels, "mode": speed["mode"]}
    for name, value in speed["candidate"].items():
        if name in _LATENCIES:
            yield "latency_seconds", {**timed, "percentile": _LATENCIES[name]}, value / 1000
        else:
            yield "throughput", timed, value
    for change in speed["changes"]:
        of_metric = {**timed, "metric": change["metric"]}
        if change["change"] is not None:
            yield "change_ratio", of_metric, change["change"]
        yield "change_limit_ratio", of_metric, change["limit"]
    for one in speed.get("speedups", ()):
        against = {**labels, "mode": one["mode"], "opponent": one["opponent"]}
        yield "speedup_ratio", against, one["ratio"]
        yield "speedup_limit_ratio", against, one["factor"]


def _label(name: str) -> str:
    return "".join(char if char.isascii() and char.isalnum() else "_" for char in name.lower())


def _labels(labels: Mapping[str, str]) -> str:
    pairs = (f"{name}={escaping.openmetrics(value)}" for name, value in labels.items())
    return "{" + ",".join(pairs) + "}"
