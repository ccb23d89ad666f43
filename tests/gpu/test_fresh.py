"""Fresh processes on a real GPU: TensorRT started anew, beside a parent that holds a context."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from builders import save_linear

pytestmark = pytest.mark.gpu

TEST = """
import numpy as np
import pytest


@pytest.mark.trt_model("linear.onnx", profiles={"image": ((1, 8), (4, 8), (16, 8))})
@pytest.mark.trt_benchmark(p50="10%", p95="off", p99="20%", throughput="10%")
def test_speed(trt_benchmark):
    trt_benchmark({"image": np.ones((4, 8), np.float32)})
"""

#: Outputs of a model that takes many times as long as the usual one of a thousand.
SLOW = 2_000_000


@pytest.fixture
def folder(gpu, tmp_path: Path) -> Path:
    (tmp_path / "test_it.py").write_text(TEST)
    save_linear(tmp_path / "linear.onnx", classes=1000)
    return tmp_path


def entry(folder: Path) -> dict:
    (file,) = folder.glob("trt_baselines/*/test_it.json")
    (found,) = json.loads(file.read_text())["tests"].values()
    return found


def test_calibration_measures_graphs_in_fresh_processes(folder: Path, inner_pytest) -> None:
    done = inner_pytest(folder, "--trt-calibrate", "--trt-calibrate-runs=3")
    done.assert_outcomes(passed=1)
    done.stdout.fnmatch_lines(["noise *: 4 processes, placement *%", "*throughput *%*"])
    found = entry(folder)
    assert found["mode"] == "graph"
    assert len(found["runs"]) == 4
    # Replayed graphs repeat themselves; a tenth would be another clock or another process.
    assert found["noise"]["between_runs"]["p50"] < 0.1


def test_slower_engine_is_detected_without_the_baseline_engine(
    folder: Path, inner_pytest, tmp_path: Path
) -> None:
    cache = tmp_path / "cache"
    recorded = inner_pytest(
        folder, "--trt-baseline-runs=2", "--trt-missing-baseline=record", cache=cache
    )
    recorded.assert_outcomes(passed=1)
    assert len(entry(folder)["runs"]) == 2
    shutil.rmtree(cache)
    save_linear(folder / "linear.onnx", classes=SLOW)
    done = inner_pytest(folder, cache=cache)
    done.assert_outcomes(failed=1)
    done.stdout.fnmatch_lines(["*in fresh processes, against stored rounds; graph*"])
