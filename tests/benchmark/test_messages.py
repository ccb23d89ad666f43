from __future__ import annotations

from builders_benchmark import REGRESSED, benchmark_result, change

from pytest_trt.benchmark.commands import update_command
from pytest_trt.benchmark.messages import not_comparable, passed_in_spite, too_few_rounds
from pytest_trt.diagnostics import Remedy

TEST = "tests/test_speed.py::test_speed"


def test_one_round_is_singular() -> None:
    found = too_few_rounds(benchmark_result(), 1, 0, "warning", Remedy())
    assert "pytest-benchmark made 1 round, too few to judge" in found.message


def test_metric_that_passes_beyond_its_limit_says_why() -> None:
    exempt = change(change=1.47, why="the plan is the baseline's")
    (found,) = passed_in_spite(benchmark_result(exempt, change("p50")))
    assert found.severity == "note"
    assert found.message == (
        "P99 +147% exceeds its limit of 10%, but the test passed: the plan is the baseline's "
        "(digits.onnx, fp16, cpu)"
    )
    assert passed_in_spite(benchmark_result(REGRESSED)) == []


def test_what_cannot_be_compared_is_a_fact_and_a_command() -> None:
    found = not_comparable(benchmark_result(calls=0), "it has batch 4, this run has 8")
    assert found.message.startswith("not comparable with the baseline: it has batch 4, this run")
    assert found.remedy.commands == (update_command([TEST]),)
