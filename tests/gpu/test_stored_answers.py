"""Stored answers on a GPU: those of the CPU hold, and a changed model is told from an engine."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from builders import save_linear

pytestmark = pytest.mark.gpu

TEST = """
import numpy as np
import pytest

IMAGES = np.random.default_rng(1).normal(size=(4, 8)).astype(np.float32)

@pytest.mark.trt_model(
    "linear.onnx", precision="fp32", profiles={"image": ((1, 8), (4, 8), (16, 8))}
)
@pytest.mark.trt_consistency(against="both", rtol=0.01, atol=0.02)
def test_it(trt_session):
    trt_session.run({"image": IMAGES})
"""


def test_answers_of_the_cpu_hold_on_the_gpu(gpu, inner_pytest, tmp_path: Path) -> None:
    save_linear(tmp_path / "linear.onnx")
    (tmp_path / "test_it.py").write_text(TEST)
    (tmp_path / "pytest.ini").write_text("[pytest]\n")
    recorded = inner_pytest(tmp_path, "--trt-arch=cpu", "--trt-update-new")
    recorded.assert_outcomes(passed=1)
    path = tmp_path / "trt_baselines" / "answers" / "test_it.json"
    stored = json.loads(path.read_text())["tests"]["test_it"]
    assert stored["errors"].keys() == {"cpu fp32"}
    on_gpu = inner_pytest(tmp_path, f"--trt-arch={gpu.arch}", "--trt-update-new")
    on_gpu.assert_outcomes(passed=1)
    added = json.loads(path.read_text())["tests"]["test_it"]
    assert added["errors"].keys() >= {"cpu fp32", f"{gpu.arch} fp32"}
    assert added["answers"] == stored["answers"]
    save_linear(tmp_path / "linear.onnx", nudge=1.0)
    changed = inner_pytest(tmp_path, f"--trt-arch={gpu.arch}")
    changed.assert_outcomes(failed=1)
    assert "the model's own answers changed" in changed.stdout.str()
