from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]

pytestmark = pytest.mark.gpu


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One cache for the runs of this module: the first builds what the next ones find."""
    return tmp_path_factory.mktemp("cache")


def run(cache: Path, *args: str) -> subprocess.CompletedProcess[str]:
    options = ["-p", "no:cacheprovider", f"--trt-cache-dir={cache}", "--color=no"]
    return subprocess.run(
        [sys.executable, "-m", "pytest", *_plugin(), *options, "example_project", *args],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )


def _plugin() -> list[str]:
    # A checkout that is not installed has no entry point for pytest to find.
    return ["-p", "pytest_trt.plugin"] if os.environ.get("PYTEST_TRT_NOT_INSTALLED") else []


def test_example_project_passes_on_the_gpu(gpu, cache: Path) -> None:
    done = run(cache)
    assert done.returncode == 0, done.stdout
    assert "trt: TensorRT " in done.stdout
    assert f"for {gpu.arch} ({gpu.name}" in done.stdout
    for precision in ("fp32", "fp16", "int8"):
        assert f"{gpu.arch} {precision}" in done.stdout


def test_second_run_builds_nothing(gpu, cache: Path) -> None:
    done = run(cache)
    assert done.returncode == 0, done.stdout
    assert "built" not in done.stdout
    assert "cached" in done.stdout


def test_another_architecture_is_refused_with_the_gpu_at_hand(gpu, cache: Path) -> None:
    other = "sm86" if gpu.arch != "sm86" else "sm89"
    done = run(cache, f"--trt-arch={other}")
    assert done.returncode == pytest.ExitCode.USAGE_ERROR
    assert f"--trt-arch {other}, but the GPU of this machine is {gpu.name}" in done.stderr
