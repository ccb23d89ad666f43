"""Hooks that a project's conftest.py implements."""

from __future__ import annotations

import json
import shutil

import pytest
from builders import save_linear
from plugin.conftest import assert_shows, assert_usage_error

FACTS = """
def pytest_trt_machine_facts(config):
    return {"rack": "7", "power_limit_w": 700}
"""

RESULTS = """
def pytest_trt_result(item, result):
    with open("results.txt", "a") as file:
        file.write(f"{item.name} {type(result).__name__} {result.verdict}\\n")
"""


def add_hooks(project, source: str) -> None:
    conftest = project.path / "conftest.py"
    conftest.write_text(conftest.read_text() + "\n" + source)


def test_facts_of_the_machine_are_in_the_report(project) -> None:
    for facts in ({}, {"rack": "7", "power_limit_w": "700"}):
        if facts:
            add_hooks(project, FACTS)
        project.check(args=("--trt-report=report.json",)).assert_outcomes(passed=1)
        (run,) = json.loads((project.path / "report.json").read_text())["runs"]
        assert run["machine_facts"] == facts


@pytest.mark.parametrize(("nudge", "verdict"), [(0.0, "passed"), (0.5, "failed")])
def test_result_of_a_check_is_passed_to_the_hook_as_it_is_judged(project, nudge, verdict) -> None:
    save_linear(project.path / "models" / "reference.onnx", nudge=nudge)
    add_hooks(project, RESULTS)
    model = '"models/linear.onnx", reference="models/reference.onnx"'
    project.check(model=model).assert_outcomes(**{verdict: 1})
    lines = (project.path / "results.txt").read_text().splitlines()
    assert lines == [f"test_it AccuracyResult {verdict}"]


def test_result_of_a_benchmark_is_passed_to_the_hook(project) -> None:
    add_hooks(project, RESULTS)
    project.test_file(
        "@pytest.mark.trt_model('models/linear.onnx')\n"
        "@pytest.mark.trt_benchmark(p50_ms=1e6)\n"
        "def test_it(trt_benchmark, images):\n    trt_benchmark({'image': images})\n"
    )
    project.run().assert_outcomes(passed=1)
    lines = (project.path / "results.txt").read_text().splitlines()
    assert lines == ["test_it BenchmarkResult passed"]


def test_hook_that_raises_fails_the_test(project) -> None:
    add_hooks(project, "def pytest_trt_result(item, result):\n    raise ValueError('refused')\n")
    assert_shows(project.check(), "*ValueError: refused*", failed=1)


BACKEND = """
import pytest_trt
from pytest_trt.backends.onnxruntime.backend import OnnxRuntimeBackend

class Mine(OnnxRuntimeBackend):
    name = "mine"

def pytest_trt_backends(config):
    def factory(settings):
        return Mine(threads=1)
    return {"mine": pytest_trt.AdditionalBackend(factory, probe=lambda gpus: ARCHS)}
"""


def test_backend_of_a_plugin_builds_and_runs_engines(project) -> None:
    add_hooks(project, BACKEND.replace("ARCHS", "('cpu',)"))
    result = project.check(args=("--trt-backend=mine",))
    assert_shows(result, "trt: * - requested with --trt-backend", passed=1)


def test_precision_that_a_backend_of_a_plugin_lacks_is_skipped_among_others(project) -> None:
    add_hooks(project, BACKEND.replace("ARCHS", "('cpu',)"))
    model = '"models/linear.onnx", precision=("fp32", "tf32")'
    project.check(model=model, args=("--trt-backend=mine",)).assert_outcomes(passed=1, skipped=1)


def test_backend_of_a_plugin_tests_finished_plans_if_it_reads_them(project) -> None:
    backend = BACKEND.replace("ARCHS", "('cpu',)")
    add_hooks(project, backend)
    model = '"models/linear.onnx", precision=("fp32", "fp16")'
    project.check(model=model, args=("--trt-backend=mine",)).assert_outcomes(passed=2)
    for plan in project.plans():
        precision = plan.parent.name.split("-")[1]
        shutil.copy(plan, project.path / f"{precision}.plan")
    model += ', plan="{precision}.plan"'
    project.check(model=model, args=("--trt-backend=mine",)).assert_outcomes(passed=2)
    # Not skipped, though the marker names another precision: nothing would be tested.
    add_hooks(project, backend.replace('"mine"\n', '"mine"\n    read_plan = None\n', 1))
    result = project.check(model=model, args=("--trt-backend=mine",))
    assert_shows(result, "*the backend mine cannot test finished plans*", errors=2)


def test_backend_that_cannot_be_used_here_is_refused(project) -> None:
    add_hooks(project, BACKEND.replace("ARCHS", "()"))
    result = project.check(args=("--trt-backend=mine",))
    assert_usage_error(result, "*its plugin reports that it cannot be used on this machine*")


def test_backend_with_a_name_of_ours_is_refused(project) -> None:
    add_hooks(project, BACKEND.replace("ARCHS", "('cpu',)").replace('{"mine"', '{"tensorrt"'))
    result = project.check(args=("--trt-backend=mine",))
    assert_usage_error(result, "*'tensorrt' is not an identifier, or already registered*")
