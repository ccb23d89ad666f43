from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import quiet_host
from builders import images, save_linear, save_overflowing, settings

from pytest_trt.accuracy.tolerance import Tolerance
from pytest_trt.benchmark import sampling
from pytest_trt.onnx.file import load_model
from pytest_trt.plugin.run import TrtRun
from pytest_trt.precision.error import OutputError
from pytest_trt.precision.samples import Sample, seeded_samples
from pytest_trt.precision.suggest import PrecisionResult, Question, marked, suggest_precision
from pytest_trt.tensors.profiles import parse_profiles


def result(precision: str, error: float, p50_ms: float | None, *, passed: bool = True):
    found = (OutputError("y", error, error, 1.0),)
    return PrecisionResult(precision, errors=found, passed=passed, p50_ms=p50_ms)


def never(one: str, other: str) -> bool:
    return False


def always(one: str, other: str) -> bool:
    return True


def test_best_is_the_fastest_within_tolerance() -> None:
    found = marked(
        [
            result("fp32", 0.0, 4.0),
            result("fp16", 1e-3, 2.0),
            result("int8", 0.5, 1.0, passed=False),
        ],
        always,
    )
    assert [one.best for one in found] == [False, True, False]
    assert [one.pareto for one in found] == [True, True, True]


def test_of_those_that_are_as_fast_the_most_accurate_is_best() -> None:
    found = marked([result("fp32", 0.0, 2.01), result("fp16", 1e-3, 2.0)], never)
    assert [one.precision for one in found if one.best] == ["fp32"]


def test_precision_that_another_one_beats_in_both_is_not_on_the_front() -> None:
    found = marked([result("fp32", 0.0, 2.0), result("fp16", 1e-3, 3.0)], always)
    assert [one.pareto for one in found] == [True, False]


def test_nothing_within_tolerance_has_no_best() -> None:
    found = marked([result("fp16", 1.0, 1.0, passed=False), result("int8", 0.1, None)], always)
    assert not any(one.best for one in found)


@pytest.fixture
def run(tmp_path: Path, monkeypatch):
    monkeypatch.setattr(sampling, "ON_CPU", quiet_host.SOON)
    made = TrtRun(settings(arch=("cpu",), cache_dir=tmp_path / "cache"))
    yield made
    made.close()


def question(path: Path, *precisions: str) -> Question:
    model = load_model(path)
    profiles = parse_profiles({"image": (4, 8)}, model.inputs, where="")
    samples = seeded_samples(model, profiles)[:2]
    return Question(model, "cpu", samples, "seeded inputs", precisions, budget_s=0.05)


def test_every_precision_is_measured_and_the_best_is_within_tolerance(run, tmp_path) -> None:
    asked = question(save_linear(tmp_path / "linear.onnx"), "fp32", "fp16", "int8")
    labelled = replace(asked, metric=lambda outputs, arrays: len(outputs), metric_name="count")
    found = suggest_precision(run, labelled)
    assert [one.precision for one in found.precisions] == ["fp32", "fp16", "int8"]
    assert found.best is not None
    exact, half, _ = found.precisions
    assert half.error > 10 * exact.error
    assert exact.metric == 2
    assert all(one.p50_ms and one.throughput and one.size_bytes for one in found.precisions)
    assert found.shapes == {"image": (4, 8)}


def test_what_overflows_or_cannot_be_built_is_no_suggestion(run, tmp_path) -> None:
    asked = question(save_overflowing(tmp_path / "large.onnx"), "fp16", "int8", "tf32")
    asked = replace(asked, samples=[Sample({"image": images(4)})])
    overflowing, refused, unknown = suggest_precision(run, asked).precisions
    assert overflowing.passed is False
    assert "nothing in large.onnx could be quantised" in refused.problem
    assert refused.code == "TRT355"
    assert "tf32" in unknown.problem
    assert not any(one.best for one in (overflowing, refused, unknown))


def test_own_tolerance_decides(run, tmp_path) -> None:
    asked = question(save_linear(tmp_path / "linear.onnx"), "fp16")
    assert suggest_precision(run, asked).best is not None
    strict = replace(asked, tolerance=Tolerance(0.0, 1e-7))
    found = suggest_precision(run, strict)
    assert found.best is None
    assert found.precisions[0].used > 1


def test_engines_for_another_gpu_are_not_timed(tmp_path) -> None:
    pytest.importorskip("tensorrt_rtx", reason="tensorrt_rtx is not installed")
    cross = TrtRun(settings(arch=("sm120",), backend="tensorrt_rtx", cache_dir=tmp_path / "cache"))
    if cross.backend("sm120").cannot_run(cross.backend("sm120").target("sm120")) is None:
        pytest.skip("this machine has that GPU")
    asked = replace(question(save_linear(tmp_path / "linear.onnx"), "fp32"), arch="sm120")
    (one,) = suggest_precision(cross, asked).precisions
    cross.close()
    assert one.problem
    assert one.passed is one.p50_ms is None
