from __future__ import annotations

from builders_benchmark import REGRESSED, TOO_SLOW, benchmark_result, change, speedup

from pytest_trt.benchmark.result import BenchmarkResult
from pytest_trt.report.summary import speed_lines
from pytest_trt.statistics.absolute import AbsoluteLimitResult
from pytest_trt.statistics.structure import StructuralLimitResult


def lines(*results: BenchmarkResult, width: int = 80, color: bool = False) -> list[str]:
    return list(speed_lines(results, width=width, color=color))


def test_line_reports_figure_change_limit_and_verdict() -> None:
    assert lines(benchmark_result(change())) == [
        "speed  digits.onnx fp16 cpu  p99 0.420 ms  -1.2% (limit 10%)  passed"
    ]


def test_lines_are_aligned_and_fit_the_terminal() -> None:
    long = benchmark_result(change(), model="a-model-with-quite-a-long-name-indeed-v2-final.onnx")
    shown = lines(
        long, benchmark_result(REGRESSED, verdict="regressed"), benchmark_result(update="first")
    )
    assert all(len(line) <= 80 for line in shown)
    assert shown[0].index("p99") == shown[1].index("p99") == shown[2].index("p99")
    assert shown[0].endswith("passed")
    assert shown[1].endswith("+62% (limit 10%)   regressed")
    assert shown[2].endswith("recorded")


def test_tests_of_one_engine_are_distinguished_by_their_names() -> None:
    shown = lines(
        benchmark_result(change()),
        benchmark_result(change(), test="tests/test_speed.py::test_batch[8]"),
    )
    assert shown[0].startswith("speed  test_speed cpu")
    assert shown[1].startswith("speed  test_batch[8] cpu")


def test_tests_of_one_name_are_named_in_full() -> None:
    tests = ["a/test_it.py::test_speed", "b/test_it.py::test_speed"]
    shown = lines(*(benchmark_result(change(), test=test) for test in tests), width=120)
    assert [line.split()[1] for line in shown] == tests


def test_an_exceeded_absolute_limit_is_reported_before_a_change() -> None:
    beyond = AbsoluteLimitResult("p99_ms", 0.4, 0.42, "failed", 90, 1400)
    (line,) = lines(benchmark_result(change(), limits=(beyond,), verdict="regressed"))
    assert "p99 0.420 ms  (limit 0.400 ms)  regressed" in line


def test_color_is_for_the_verdict_alone() -> None:
    (line,) = lines(benchmark_result(change()), color=True)
    assert line.endswith("\x1b[32mpassed\x1b[0m")


def test_baseline_that_was_replaced_is_shown_without_the_change_that_no_limit_holds() -> None:
    replaced = benchmark_result(
        change("p50", "regressed", change=1.65), change(change=-0.77), update="replaced"
    )
    assert lines(replaced) == ["speed  digits.onnx fp16 cpu  p99 0.420 ms    replaced"]


def test_ratio_is_shown_where_it_decides_or_is_all_there_is() -> None:
    only = benchmark_result(speedups=(speedup(opponent="models/small.onnx"),))
    (line,) = lines(only)
    assert line == "speed  digits.onnx fp16 cpu  p50 0.310 ms  1.9x small.onnx (limit 1.5x)  passed"
    failed = benchmark_result(change(), speedups=(speedup(), TOO_SLOW), verdict="failed")
    assert "p50 0.310 ms  1.12x fp32 (limit 1.5x)  failed" in lines(failed)[0]
    passed = benchmark_result(change(), speedups=(speedup(),))
    assert "p99 0.420 ms  -1.2% (limit 10%)  passed" in lines(passed)[0]


def test_speed_that_regressed_is_shown_before_a_plan_that_grew() -> None:
    grown = StructuralLimitResult("plan_size", 0.1, "failed", 689e3, 610e3)
    both = benchmark_result(REGRESSED, structure=(grown,), verdict="failed")
    (line,) = lines(both)
    assert "+62% (limit 10%)" in line
    (line,) = lines(benchmark_result(change(), structure=(grown,), verdict="failed"))
    assert "plan size 689 kB  +13% (limit 10%)" in line


def test_recorded_baseline_shows_a_metric_that_is_limited() -> None:
    (line,) = lines(benchmark_result(update="first", limited=("p50", "throughput")))
    assert "p50 0.310 ms" in line
    (line,) = lines(benchmark_result(update="first"))
    assert "p99 0.420 ms" in line
