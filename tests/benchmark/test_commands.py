from __future__ import annotations

from builders_benchmark import benchmark_result

from pytest_trt.benchmark.commands import command_again
from pytest_trt.benchmark.messages import not_comparable


def test_commands_repeat_the_options_that_decide_the_result() -> None:
    given = ("--trt-arch=sm86", "--trt-benchmark-time=5", "--trt-update-reason=a new runtime")
    result = benchmark_result(update_options=given)
    more = "--trt-benchmark-time=30", "--trt-checks=8"
    test = "pytest tests/test_speed.py::test_speed"
    assert command_again(result, *more, update=False) == (
        f"{test} --trt-arch=sm86 --trt-benchmark-time=30 --trt-checks=8"
    )
    assert command_again(result, *more, update=True) == (
        f"{test} --trt-update --trt-arch=sm86 '--trt-update-reason=a new runtime' "
        "--trt-benchmark-time=30 --trt-checks=8"
    )
    given = ("--trt-arch=sm86", "--trt-baseline-runs=5")
    found = not_comparable(benchmark_result(update_options=given), "another mode")
    assert found.remedy.commands == (
        f'{test} --trt-update --trt-update-reason "..." --trt-arch=sm86 --trt-baseline-runs=5',
    )
    assert found.facts["update_options"] == [*given]
