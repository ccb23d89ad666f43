from __future__ import annotations

import importlib
from pathlib import Path

import builders_calibrated as calibrated
import pytest

pytestmark = pytest.mark.gpu

EXAMPLE = Path(__file__).resolve().parents[2] / "example_project"


@pytest.fixture(scope="module")
def run(inner_pytest, tmp_path_factory: pytest.TempPathFactory):
    """One cache for the runs of this module: the first builds what the next ones find."""
    cache = tmp_path_factory.mktemp("cache")
    return lambda *args: inner_pytest(EXAMPLE, *args, cache=cache)


# TensorRT is asked for every precision of the two models, so this takes minutes.
@pytest.mark.heavy
def test_example_project_passes_on_the_gpu_and_builds_nothing_the_second_time(gpu, run) -> None:
    done = run()
    assert done.ret == pytest.ExitCode.OK
    done.stdout.fnmatch_lines([f"trt: TensorRT * for {gpu.arch} ({gpu.name}*"])
    for precision in ("fp32", "fp16", "int8"):
        done.stdout.fnmatch_lines([f"*{gpu.arch} {precision}*"])
    again = run()
    assert again.ret == pytest.ExitCode.OK
    again.stdout.fnmatch_lines(["*cached*"])
    again.stdout.no_fnmatch_line("*built*")


def test_another_architecture_is_refused_with_the_gpu_at_hand(gpu, run) -> None:
    other = "sm86" if gpu.arch != "sm86" else "sm89"
    done = run(f"--trt-arch={other}")
    assert done.ret == pytest.ExitCode.USAGE_ERROR
    message = f"--trt-arch {other}, but the GPU of this machine is {gpu.name}"
    done.stderr.fnmatch_lines([f"*{message}*"])


@pytest.mark.parametrize("options", [{}, {"calibrator": "entropy"}], ids=["Q/DQ", "calibrator"])
def test_representative_calibration_loses_less_than_half_a_point(
    gpu, inner_pytest, tmp_path: Path, options: dict[str, str]
) -> None:
    if options and not hasattr(importlib.import_module("tensorrt"), "IInt8EntropyCalibrator2"):
        pytest.skip("this TensorRT has no calibrators")
    calibrated.lay_out(tmp_path, tuple(range(10)), options)
    # The tolerances of the other test are those of Q/DQ: with a calibrator, 0.065 of probs is seen.
    tests = ("-k", "accuracy") if options else ()
    inner_pytest(tmp_path, *tests).assert_outcomes(passed=1 if options else 2)


def test_calibration_on_one_class_fails_the_check(gpu, inner_pytest, tmp_path: Path) -> None:
    calibrated.lay_out(tmp_path, (3,))
    inner_pytest(tmp_path).stdout.fnmatch_lines(["FAILED *::test_same_answers*over tolerance*"])
