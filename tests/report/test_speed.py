from __future__ import annotations

import json
from typing import Any

import pytest

from pytest_trt.benchmark.result import BenchmarkResult, MetricChange
from pytest_trt.report.speed_failure import explain_speed, plot_lines
from pytest_trt.report.summary import speed_lines
from pytest_trt.statistics.absolute import AbsoluteLimitResult


def change(metric: str = "p99", outcome: str = "passed", **values: Any) -> MetricChange:
    given = {"limit": 0.1, "change": -0.012, "least": -0.03, "most": 0.02, "step": "screening"}
    return MetricChange(metric, outcome, **{**given, **values})


REGRESSED = change(
    outcome="regressed", change=0.62, least=0.58, most=0.66, step="taking turns", rounds=20
)
UNTOLD = change(
    outcome="inconclusive", change=0.04, least=-0.1, most=0.2, detectable=0.31, step="one process"
)


def record(*changes: MetricChange, **values: Any) -> BenchmarkResult:
    given: dict[str, Any] = {
        "test": "tests/test_speed.py::test_speed",
        "model": "digits.onnx",
        "precision": "fp16",
        "arch": "cpu",
        "toolchain": "ONNX Runtime 1.23.0",
        "verdict": "passed",
        "fails": False,
        "mode": "end_to_end",
        "batch": 8,
        "calls": 70,
        "rounds": 40,
        "changes": changes,
        "candidate": {"p50_ms": 0.31, "p99_ms": 0.42, "throughput_qps": 23456.7},
        "baseline": {"p50_ms": 0.19, "p99_ms": 0.26, "throughput_qps": 41234.5},
        "candidate_rounds": {"p99": (0.41, 0.42, 0.43)},
        "baseline_rounds": {"p99": (0.25, 0.26, 0.26)},
        "recorded": "2026-11-20T10:00:00+00:00",
    }
    return BenchmarkResult(**{**given, **values})


def lines(*records: BenchmarkResult, width: int = 80, color: bool = False) -> list[str]:
    return list(speed_lines(records, width=width, color=color))


def test_line_tells_figure_change_limit_and_verdict() -> None:
    assert lines(record(change())) == [
        "speed  digits.onnx fp16 cpu  p99 0.420 ms  -1.2% (limit 10%)  passed"
    ]


def test_lines_are_aligned_and_fit_the_terminal() -> None:
    long = record(change(), model="a-model-with-quite-a-long-name-indeed-v2-final.onnx")
    shown = lines(long, record(REGRESSED, verdict="regressed"), record(update="first"))
    assert all(len(line) <= 80 for line in shown)
    assert shown[0].index("p99") == shown[1].index("p99") == shown[2].index("p99")
    assert shown[0].endswith("passed")
    assert shown[1].endswith("+62% (limit 10%)   regressed")
    assert shown[2].endswith("recorded")


def test_tests_of_one_engine_are_told_by_their_names() -> None:
    shown = lines(record(change()), record(change(), test="tests/test_speed.py::test_batch[8]"))
    assert shown[0].startswith("speed  test_speed cpu")
    assert shown[1].startswith("speed  test_batch[8] cpu")


def test_absolute_limit_that_is_not_kept_is_told_before_a_change() -> None:
    beyond = AbsoluteLimitResult("p99_ms", 0.4, 0.42, "failed", 90, 1400)
    (line,) = lines(record(change(), limits=(beyond,), verdict="regressed"))
    assert "p99 0.420 ms  (limit 0.400 ms)  regressed" in line


def test_color_is_for_the_verdict_alone() -> None:
    (line,) = lines(record(change()), color=True)
    assert line.endswith("\x1b[32mpassed\x1b[0m")


def test_failure_begins_with_the_fact_and_ends_with_what_to_type() -> None:
    text = explain_speed(record(REGRESSED, verdict="regressed", fails=True)).splitlines()
    assert text[0] == "P99 +62%, limit +10% (digits.onnx in fp16 on cpu)"
    assert text[1].startswith("  20 rounds of 70 calls in turns with the baseline engine; ")
    assert any(line.split() == ["P50", "0.190", "ms", "0.310", "ms"] for line in text)
    (row,) = [line for line in text if line.startswith("  P99  ")]
    assert "+62% (+58% to +66%)  +10%   regressed" in row


@pytest.mark.parametrize(
    ("least", "most", "told"),
    [(9.1, 11.8, "+1,050% (+910% to >+999%)"), (10.1, 11.8, "+1,050% (>+999%)")],
)
def test_bounds_beyond_ten_times_as_much_take_no_room(least, most, told) -> None:
    beyond = change(outcome="regressed", change=10.5, least=least, most=most)
    text = explain_speed(record(beyond, verdict="regressed", fails=True)).splitlines()
    (row,) = [line for line in text if line.startswith("  P99  ")]
    assert told in row
    assert "  since the baseline of 2026-11-20: engine, toolchain and driver are the same" in text
    assert text[-1].endswith(
        'pytest "tests/test_speed.py::test_speed" --trt-update --trt-update-reason "..."'
    )


def test_what_differs_from_then_is_told() -> None:
    text = explain_speed(record(REGRESSED, differences=("driver 570 -> 580", "layers 90 -> 95")))
    assert "since the baseline of 2026-11-20: driver 570 -> 580; layers 90 -> 95" in text


def test_lost_throughput_has_a_negative_limit() -> None:
    lost = change("throughput", "regressed", limit=0.05, change=-0.38, least=-0.36, most=-0.4)
    text = explain_speed(record(lost))
    assert text.startswith("throughput -38%, limit -5% ")
    assert "-38% (-40% to -36%)" in text


def test_all_that_is_shown_is_what_turns_told() -> None:
    """Neither the header nor a row speaks of another step than the one that judged."""
    within = change("throughput", limit=0.05, step="taking turns", rounds=20)
    short = MetricChange("p95", "not testable", 0.1, why="rounds of 14 calls are too short for it")
    text = explain_speed(
        record(
            short,
            within,
            REGRESSED,
            unlimited=(MetricChange("p50", change=0.6, least=0.55, most=0.7),),
            verdict="regressed",
        )
    ).splitlines()
    assert text[1].startswith("  20 rounds of 70 calls in turns with the baseline engine; ")
    (row,) = [line for line in text if line.startswith("  P50 ")]
    assert row.split("  ")[-1] == "+60% (+55% to +70%)"


def test_what_nothing_could_judge_was_measured_all_the_same() -> None:
    short = MetricChange("p99", "not testable", 0.1, why="rounds of 14 calls are too short for it")
    text = explain_speed(record(short, calls=14, verdict="inconclusive")).splitlines()
    assert text[1].startswith("  40 rounds of 14 calls; end_to_end")


def test_surest_regression_is_told_first() -> None:
    wide = change(outcome="regressed", change=1.9, least=0.13, most=2.3)
    sure = change("p50", "regressed", limit=0.05, change=0.68, least=0.66, most=0.69)
    assert explain_speed(record(wide, sure)).startswith("P50 +68%, limit +5%")


def test_inconclusive_failure_says_what_could_have_been_told() -> None:
    text = explain_speed(record(UNTOLD, verdict="inconclusive", fails=True))
    assert text.startswith("P99 is inconclusive against its limit of +10%")
    assert "only a change of +31% would have been called" in text
    assert text.endswith("--trt-inconclusive=warn.")


def test_metric_that_rounds_are_too_short_for_says_so() -> None:
    short = MetricChange("p99", "not testable", 0.1, why="rounds of 14 calls are too short for it")
    text = explain_speed(record(short, verdict="inconclusive", fails=True))
    assert text.startswith("P99 is not testable against its limit of +10%")
    assert "P99: rounds of 14 calls are too short for it" in text
    assert "--trt-benchmark-time" in text


@pytest.mark.parametrize("outcome", ["failed", "inconclusive"])
def test_absolute_limit_is_not_mended_by_a_new_baseline(outcome: str) -> None:
    limit = AbsoluteLimitResult("p99_ms", 3.0, 3.2, outcome, 9, 500, "")
    *_, fix = explain_speed(record(limits=(limit,))).splitlines()
    assert ("--trt-benchmark-time" in fix) == (outcome == "inconclusive")
    assert "--trt-update" not in fix


def test_absolute_limit_tells_how_many_calls_were_beyond() -> None:
    beyond = AbsoluteLimitResult("p99_ms", 0.4, 0.42, "failed", 90, 1400)
    text = explain_speed(record(limits=(beyond,), recorded="", verdict="regressed"))
    assert text.startswith(
        "P99 of all calls, 0.420 ms, is above its limit of 0.400 ms (digits.onnx"
    )
    assert "p99_ms=0.4: failed, 90 of 1,400 calls above 0.400 ms" in text


def test_what_could_not_be_compared_is_a_fact_and_a_fix() -> None:
    text = explain_speed(record(calls=0, why="there is no baseline", fix="record it."))
    assert text == "there is no baseline (digits.onnx in fp16 on cpu).\nFix: record it."


def test_plot_has_both_sides_on_one_scale() -> None:
    head, then, now = plot_lines("p99", (1.0, 1.0, 1.01), (2.0, 1.99, 2.0))
    assert head == "  P99 of each round, from 1.00 ms to 2.00 ms (. for few, @ for most):"
    assert len(then) == len(now)
    assert then.rstrip(" |").endswith("@") or "@" in then.split("|")[1][:3]
    assert now.split("|")[1].endswith("@")
    assert now.split("|")[1].strip() != now.split("|")[1]


def test_plot_of_equal_figures_is_drawn_too() -> None:
    assert len(list(plot_lines("p50", (1.0,), (1.0,)))) == 3


@pytest.mark.parametrize(
    "one",
    [
        record(REGRESSED, unlimited=(MetricChange("p50", change=0.6, least=0.55, most=None),)),
        record(UNTOLD, staged={"file": "a"}),
    ],
)
def test_record_survives_json(one: BenchmarkResult) -> None:
    data = json.loads(json.dumps(one.to_dict(), allow_nan=False))
    assert BenchmarkResult.from_dict(data) == one
