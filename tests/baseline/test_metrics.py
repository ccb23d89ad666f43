"""Files of task metrics that were edited: what no value could be worse than is refused."""

from __future__ import annotations

from pathlib import Path

import pytest

from pytest_trt.baseline.file import write_baselines
from pytest_trt.baseline.metrics import (
    MetricsEntry,
    MetricsFile,
    StoredMetric,
    metrics_target,
    read_metrics,
)
from pytest_trt.baseline.staged import entry_digest
from pytest_trt.baseline.staged_metrics import StagedMetrics, write_staged_metrics
from pytest_trt.diagnostics import BaselineError

METRICS = {"accuracy": StoredMetric(0.75, of=8), "loss": StoredMetric(2.0, lower_is_better=True)}


@pytest.mark.parametrize(
    ("old", "new", "problem"),
    [
        ("", "", ""),
        ('"value": 2.0', '"value": "inf"', r"loss\.value: expected finite numbers, found inf"),
        ('"value": 0.75', '"value": 1.5', r"accuracy\.of: expected a share of 1 or more trials"),
        ('"of": 8', '"of": 0', r"accuracy\.of: expected a share of 1 or more trials"),
        ('"loss": 1.5', '"loss": "-inf"', r"accepted\.loss: expected a finite number, found -inf"),
    ],
)
def test_a_number_that_no_metric_has_is_named(tmp_path: Path, old, new, problem: str) -> None:
    path = tmp_path / "metrics-cpu" / "test_a.json"
    entry = MetricsEntry("2026-01-02T03:04:05+00:00", "ONNX", METRICS, accepted={"loss": 1.5})
    made = MetricsFile(metrics_target("cpu"), {"test_a": entry})
    write_baselines(path, made)
    assert old in path.read_text()
    path.write_text(path.read_text().replace(old, new))
    if not problem:
        assert read_metrics(path) == made
        return
    with pytest.raises(BaselineError, match=problem):
        read_metrics(path)


def test_an_entry_of_no_metrics_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "metrics-cpu" / "test_a.json"
    entry = MetricsEntry("2026-01-02T03:04:05+00:00", "ONNX", METRICS)
    write_baselines(path, MetricsFile(metrics_target("cpu"), {"test_a": entry}))
    before, _, _ = path.read_text().partition('"metrics": {')
    path.write_text(before + '"metrics": {} } } }')
    with pytest.raises(BaselineError, match=r"tests\.test_a\.metrics: empty"):
        read_metrics(path)


def test_what_another_run_stored_meanwhile_stays(tmp_path: Path) -> None:
    path, target = tmp_path / "metrics-cpu" / "test_a.json", metrics_target("cpu")
    old = MetricsEntry("2026-01-02T03:04:05+00:00", "ONNX", METRICS)
    new = MetricsEntry("2026-02-02T03:04:05+00:00", "ONNX", {"accuracy": StoredMetric(0.5, of=8)})
    write_baselines(path, MetricsFile(target, {"test_a": old, "test_b": old}))
    late = StagedMetrics(path, "test_a.json", target, "test_a", new)
    done = StagedMetrics(path, "test_a.json", target, "test_b", new, against=entry_digest(old))
    (written,), errors, overtaken = write_staged_metrics([late, done])
    assert (written.staged, errors, overtaken) == (done, [], [late])
    assert written.text == "accuracy 0.75 -> 0.5, loss removed"
    found = read_metrics(path)
    assert found is not None
    assert found.tests == {"test_a": old, "test_b": new}
