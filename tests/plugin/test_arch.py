from __future__ import annotations

import importlib.util

import pytest
from plugin.conftest import assert_shows, assert_usage_error

from pytest_trt.backends.devices.probe import probe_devices

TEST = (
    '@pytest.mark.trt_model("models/linear.onnx", precision=("fp32", "fp16"),'
    ' profiles={"image": ((1, 8), (4, 8), (16, 8))})\n'
    "@pytest.mark.trt_consistency()\n"
    'def test_it(trt_session, images):\n    trt_session.run({"image": images})\n'
)
no_gpu = pytest.mark.skipif(bool(probe_devices().gpus), reason="this machine has a GPU")
HAS_RTX = importlib.util.find_spec("tensorrt_rtx") is not None
with_rtx = pytest.mark.skipif(not HAS_RTX, reason="tensorrt_rtx is not installed")
without_rtx = pytest.mark.skipif(HAS_RTX, reason="tensorrt_rtx is installed")


@no_gpu
def test_without_options_the_cpu_is_tested_and_the_header_says_why(project) -> None:
    project.test_file(TEST)
    result = project.run(arch=None)
    assert_shows(result, "trt: ONNX Runtime * for cpu (*) - no NVIDIA GPU (*", passed=2)


@no_gpu
@without_rtx
def test_arch_that_cannot_be_tested_is_a_usage_error_with_both_fixes(project) -> None:
    project.test_file(TEST)
    assert_usage_error(
        project.run("--trt-arch=sm86"),
        "ERROR: --trt-arch sm86: this machine has neither an sm86 GPU*",
        "Fix: Run on a machine with an sm86 GPU*",
        "*pip install 'tensorrt-rtx>=*",
    )


@no_gpu
@with_rtx
@pytest.mark.exhaustive
def test_engines_are_cross_built_and_what_needs_to_run_is_skipped(project) -> None:
    project.test_file(TEST + "def test_engine(trt_engine):\n    pass\n")
    project.test_file(
        TEST + '@pytest.mark.trt_model("models/linear.onnx", profiles={"image": ((1, 8),) * 3})\n'
        "def test_engine(trt_engine):\n    assert trt_engine.plan.read_bytes()[:4] == b'vtrt'\n"
    )
    result = project.run("--trt-arch=sm86,sm89", "-rs")
    result.assert_outcomes(skipped=4, passed=2)
    result.stdout.fnmatch_lines(
        ["trt: TensorRT-RTX * for sm86 - cross-building*", "*SKIPPED*built for sm86, not run: *"]
    )
    assert len(list(project.cache.glob("v1/engines/*/engine.plan"))) == 6
    result = project.run("--trt-arch=sm86,sm89")
    result.stdout.fnmatch_lines(["linear.onnx*sm86 fp32*cached*"])


def test_several_archs_of_which_one_is_the_cpu_run_the_test_for_each(project) -> None:
    project.test_file(TEST)
    project.run("--trt-arch=cpu", "-v").assert_outcomes(passed=2)
