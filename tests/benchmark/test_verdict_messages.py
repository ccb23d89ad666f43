from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from builders_baseline import TARGET, stored
from builders_benchmark import (
    INCONCLUSIVE,
    REGRESSED,
    TOO_SLOW,
    benchmark_result,
    change,
    speedup,
)

from pytest_trt.baseline.staged import Staged
from pytest_trt.benchmark.commands import update_command
from pytest_trt.benchmark.differences import Difference
from pytest_trt.benchmark.result import BenchmarkResult, MetricChange
from pytest_trt.benchmark.verdict_messages import verdict_diagnostics
from pytest_trt.diagnostics import Diagnostic
from pytest_trt.statistics.absolute import AbsoluteLimitResult
from pytest_trt.statistics.structure import StructuralLimitResult

TEST = "tests/test_speed.py::test_speed"

SHORT = change(
    "p99", "not measured", change=None, step="none", why="rounds of 14 calls are too short for it"
)


def diagnostic(*changes: MetricChange, strict: bool = True, **values: Any) -> Diagnostic:
    (found,) = verdict_diagnostics(benchmark_result(*changes, **values), strict=strict)
    return found


def test_result_that_passes_has_nothing_to_report() -> None:
    assert verdict_diagnostics(benchmark_result(change()), strict=True) == []


def test_regression_names_metric_change_limit_and_what_it_is_of() -> None:
    found = diagnostic(REGRESSED)
    assert found.code == "TRT501"
    assert found.message == "P99 +62% over the baseline, limit 10% (digits.onnx, fp16, cpu)"
    assert found.facts["metric"] == "p99"
    assert found.facts["change"] == 0.62
    assert found.details[0].startswith(
        "20 rounds of 70 calls interleaved with the baseline engine; "
    )
    assert any(line.split() == ["P50", "0.190", "ms", "0.310", "ms"] for line in found.details)
    (row,) = [line for line in found.details if line.startswith("P99  ")]
    assert "+62% (+58% to +66%)  +10%   regressed" in row
    same = "since the baseline of 2026-11-20: engine, toolchain and driver are the same"
    assert same in found.details
    assert found.remedy.commands[-1] == update_command([TEST])


@pytest.mark.parametrize(
    ("least", "most", "shown"),
    [(9.1, 11.8, "+1,050% (+910% to >+999%)"), (10.1, 11.8, "+1,050% (>+999%)")],
)
def test_bounds_beyond_ten_times_as_much_take_no_room(least, most, shown) -> None:
    found = diagnostic(change(outcome="regressed", change=10.5, least=least, most=most))
    assert any(shown in line for line in found.details)


@pytest.mark.parametrize(
    ("differences", "text", "commands"),
    [
        (
            (Difference("model", "aa", "bb"),),
            "Restore the model that the baseline was recorded with",
            ("git log",),
        ),
        ((Difference("options"),), "Restore the builder and its options", ()),
        (
            (Difference("environment", "570", "580", "driver"),),
            "Restore what the baseline was measured with (driver 570 -> 580)",
            (),
        ),
        ((), "Check what changed on this machine", ()),
    ],
)
def test_remedy_follows_from_what_differs(differences, text, commands) -> None:
    found = diagnostic(REGRESSED, differences=differences, restore=("git log",))
    assert found.remedy.text.startswith(text)
    assert found.remedy.commands == (*commands, update_command([TEST]))
    assert found.facts["causes"] == [one.kind for one in differences]
    assert any(str(one) in line for one in differences for line in found.details) or not differences


def test_added_layers_are_named_in_the_remedy() -> None:
    found = diagnostic(REGRESSED, differences=(Difference("model"),), added_layers=("a + b",))
    assert "or remove 1 added layer: a + b" in found.remedy.text
    many = ("c1/Conv", "Relu", *"abcdef")
    found = diagnostic(REGRESSED, differences=(Difference("model"),), added_layers=many)
    assert "or remove 8 added layers: c1/Conv, Relu and 6 more" in found.remedy.text


def test_lost_throughput_has_a_negative_limit() -> None:
    lost = change("throughput", "regressed", limit=0.05, change=-0.38, least=-0.36, most=-0.4)
    found = diagnostic(lost)
    assert found.message.startswith("throughput 38% under the baseline, limit 5% ")
    assert any("-38% (-40% to -36%)  -5%" in line for line in found.details)


def test_all_rows_are_of_the_step_that_judged() -> None:
    within = change("throughput", limit=0.05, step="interleaved", rounds=20)
    short = MetricChange("p95", "not measured", 0.1, why="rounds of 14 calls are too short for it")
    unlimited = MetricChange("p50", change=0.6, least=0.55, most=0.7)
    found = diagnostic(short, within, REGRESSED, unlimited=(unlimited,))
    assert found.details[0].startswith("20 rounds of 70 calls interleaved")
    (row,) = [line for line in found.details if line.startswith("P50 ")]
    assert row.split("  ")[-1] == "+60% (+55% to +70%)"


def test_most_certain_regression_comes_first() -> None:
    wide = change(outcome="regressed", change=1.9, least=0.13, most=2.3)
    certain = change("p50", "regressed", limit=0.05, change=0.68, least=0.66, most=0.69)
    assert diagnostic(wide, certain).message.startswith("P50 +68% over the baseline, limit 5%")


@pytest.mark.parametrize(("strict", "severity"), [(True, "error"), (False, "warning")])
def test_inconclusive_result_fails_where_that_is_strict(strict: bool, severity: str) -> None:
    found = diagnostic(INCONCLUSIVE, strict=strict)
    assert (found.code, found.severity) == ("TRT505", severity)
    assert found.message == (
        "P99 is inconclusive: +4.0% (-10% to +20%), limit +10% (digits.onnx, fp16, cpu)"
    )
    assert "smallest change that could have been detected: +31%" in found.details
    # 10% is the limit: a limit within the bounds would be as inconclusive.
    assert "Raise the limit above 20%" in found.remedy.alternatives
    lets_pass = "Let inconclusive tests pass: --trt-inconclusive=warn"
    assert (lets_pass in found.remedy.alternatives) == strict


def test_no_other_limit_is_advised_where_nothing_could_have_been_detected() -> None:
    blind = change("p99", "inconclusive", change=0.04, least=-0.1, most=0.2, detectable=None)
    found = diagnostic(blind)
    assert "no change of any size could have been detected" in found.details
    assert not any("limit" in one for one in found.remedy.alternatives)


def test_metric_that_rounds_are_too_short_for_says_so() -> None:
    found = diagnostic(SHORT, calls=14)
    assert found.message.startswith("P99 is not measured: limit +10%")
    assert "P99: rounds of 14 calls are too short for it" in found.details
    assert "40 rounds of 14 calls; end_to_end, batch 8, ONNX Runtime 1.23.0" in found.details
    assert "--trt-benchmark-time" in found.remedy.text


@pytest.mark.parametrize("outcome", ["failed", "inconclusive"])
def test_absolute_limit_is_not_fixed_by_a_new_baseline(outcome: Any) -> None:
    more = outcome == "inconclusive"
    limit = AbsoluteLimitResult("p99_ms", 3.0, 3.2, outcome, 9, 500, "too close", needs_calls=more)
    found = diagnostic(limits=(limit,))
    assert found.code == ("TRT502" if outcome == "failed" else "TRT506")
    assert ("--trt-benchmark-time" in found.remedy.text) == (outcome == "inconclusive")
    assert not found.remedy.commands


def test_reason_of_an_inconclusive_limit_is_shown_once_and_more_time_is_not_offered() -> None:
    why = "the host was overloaded during the measurement: threads waited"
    limit = AbsoluteLimitResult("p99_ms", 3.0, 3.2, "inconclusive", 9, 500, why)
    slower = change(outcome="inconclusive", change=0.1, least=0.0, most=0.2, why=why)
    now = Difference("host load", now="threads waited")
    (found,) = [
        one
        for one in verdict_diagnostics(
            benchmark_result(slower, limits=(limit,), differences=(now,), recorded="2026-01-01"),
            strict=False,
        )
        if one.code == "TRT506"
    ]
    assert sum("threads waited" in line for line in found.details) == 1
    assert found.remedy.text == (
        "Run again on an idle host, or raise p99_ms= (trt_benchmark marker or trt_limits)."
    )


def test_baseline_of_an_overloaded_host_is_recorded_again() -> None:
    then = Difference("host load", then="threads waited")
    found = diagnostic(INCONCLUSIVE, differences=(then,), same_engine=True)
    assert found.remedy.text == "Record the baseline again on an idle host:"
    assert found.remedy.commands == (update_command([TEST]),)


def test_baseline_of_another_version_is_recorded_again_with_that_version() -> None:
    upgrade = Difference("toolchain", "ONNX Runtime 1.24.4", "ONNX Runtime 1.32.0")
    then = Difference("host load", then="threads waited")
    found = diagnostic(INCONCLUSIVE, differences=(upgrade, then), same_engine=False)
    assert found.remedy.text == (
        "Record the baseline again on an idle host, with ONNX Runtime 1.24.4:"
    )


@pytest.mark.parametrize("kind", ["model", "options", "layers"])
def test_a_changed_model_is_timed_against_the_baseline_engine_and_never_recorded(kind) -> None:
    then = (Difference("host load", then="threads waited"), Difference(kind, "aa", "bb"))
    found = diagnostic(INCONCLUSIVE, differences=then, same_engine=False)
    assert found.remedy.commands[:2] == ("git checkout COMMIT", f"pytest {TEST} --trt-build-only")
    beside = diagnostic(
        replace(INCONCLUSIVE, step="interleaved"), differences=then, same_engine=False
    )
    assert beside.remedy.text == "Measure on an idle host."
    for one in (found, beside):
        assert "--trt-update" not in str(one.remedy)


@pytest.mark.parametrize("detectable", [None, 0.3])
def test_what_another_environment_hides_is_not_shown_by_an_idle_host(detectable: Any) -> None:
    clocks = Difference("environment", "1980 MHz", "1095 MHz", "SM clock")
    unsure = change("p99", "inconclusive", change=0.04, least=-0.1, most=0.2, detectable=detectable)
    text = diagnostic(unsure, differences=(clocks,)).remedy.text
    assert (text == "Measure on an idle host.") == (detectable is not None)
    assert ("Restore what the baseline was measured with (SM clock" in text) == (detectable is None)


def test_absolute_limit_counts_the_calls_beyond_it() -> None:
    found = diagnostic(limits=(AbsoluteLimitResult("p99_ms", 0.4, 0.42, "failed", 90, 1400),))
    assert found.message.startswith(
        "P99 of all calls 0.420 ms exceeds the limit of 0.400 ms (digits.onnx"
    )
    counted = "p99_ms=0.4: failed, 90 of 1,400 calls above 0.400 ms"
    assert any(line.startswith(counted) for line in found.details)


def test_every_kind_of_limit_that_fails_has_its_own_diagnostic() -> None:
    result = benchmark_result(
        REGRESSED,
        limits=(AbsoluteLimitResult("p99_ms", 0.4, 0.42, "failed", 90, 1400),),
        structure=(StructuralLimitResult("layers", 0.0, "failed", 74, 72),),
    )
    found = verdict_diagnostics(result, strict=False)
    assert [one.code for one in found] == ["TRT501", "TRT502", "TRT503"]
    assert found[2].message == "layers +2.8% over the baseline, limit 0% (digits.onnx, fp16, cpu)"


def test_engine_that_is_not_fast_enough_is_shown_with_both_medians_and_what_ran() -> None:
    found = diagnostic(change(), speedups=(speedup(opponent="onnxruntime"), TOO_SLOW))
    assert found.code == "TRT517"
    assert found.message == "1.12x as fast as fp32, limit 1.5x (digits.onnx, fp16, cpu)"
    assert (found.facts["ratio"], found.facts["limit"]) == (1.12, 1.5)
    at = [line.startswith("faster_than fp32") for line in found.details].index(True)
    assert found.details[at : at + 2] == (
        "faster_than fp32: failed, 1.12x (1.06x to 1.18x), at least 1.5x; median latency 0.310 ms, "
        "of fp32 0.347 ms",
        "  20 rounds of 70 calls, interleaved; graph; fp32 is digits.onnx, fp32, sm90, TensorRT "
        "10.16.1",
    )
    where = "lower faster_than= (trt_benchmark marker or trt_limits)"
    assert found.remedy.text == f"Make the engine faster, or {where}."


def test_layers_that_stayed_in_fp32_are_the_remedy_where_there_are_some() -> None:
    found = diagnostic(speedups=(TOO_SLOW,), fp32_layers=(12, 40), plan="/cache/a b/engine.plan")
    assert found.remedy.text == "12 of 40 layers that compute are still FP32. This lists them:"
    assert found.remedy.commands == ("pytest-trt inspect --layers '/cache/a b/engine.plan'",)
    finished = diagnostic(speedups=(TOO_SLOW,), fp32_layers=(12, 40))
    assert finished.remedy.text == "12 of 40 layers that compute are still FP32."
    assert finished.remedy.commands == ()


def test_ratio_that_is_too_close_is_shown_with_one_that_would_pass() -> None:
    found = diagnostic(speedups=(speedup("inconclusive", 1.51),), strict=False)
    assert (found.code, found.severity) == ("TRT518", "warning")
    assert found.message == (
        "faster_than is inconclusive: 1.51x as fast as fp32 (1.43x to 1.59x), limit 1.5x "
        "(digits.onnx, fp16, cpu)"
    )
    assert found.details[0] == "smallest ratio that would have passed: 1.55x"
    assert diagnostic(speedups=(speedup("inconclusive", 1.51),)).severity == "error"


def test_result_survives_json() -> None:
    result = benchmark_result(
        REGRESSED,
        INCONCLUSIVE,
        differences=(Difference("model", "a", "b"),),
        limits=(AbsoluteLimitResult("p99_ms", 0.4, 0.42, "failed", 90, 1400),),
        staged=Staged(Path("a.json"), "a.json", TARGET, "test_a", stored()),
        diagnostics=(diagnostic(INCONCLUSIVE),),
    )
    data = json.loads(json.dumps(result.to_dict(), allow_nan=False))
    assert BenchmarkResult.from_dict(data) == result
    assert result.failed
    assert result.p99_ms == 0.42
    assert result.throughput == 23456.7
