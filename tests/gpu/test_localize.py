"""The first bad layer of engines that TensorRT built, and bundles of failing runs."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import builders_planted as planted
import onnx
import pytest

pytestmark = pytest.mark.gpu

SUITE = """
import numpy as np
import pytest

X = np.random.default_rng(0).standard_normal((8, 3, 28, 28)).astype(np.float32)
BUILD = {"profiles": {"x": (X.shape,) * 3}, "builder_options": {"builder_optimization_level": 1}}

@pytest.mark.trt_model("channel.onnx", precision="fp32", reference="right.onnx", **BUILD)
@pytest.mark.trt_consistency(rtol=1e-2, atol=1e-2)
def test_other(trt_session):
    trt_session.run({"x": X})

@pytest.mark.trt_model("right.onnx", precision="fp16", **BUILD)
@pytest.mark.trt_consistency(rtol=1e-6, atol=1e-6)
def test_tight(trt_session):
    trt_session.run({"x": X})
"""


def test_engines_are_searched_and_written_as_bundles(gpu, inner_pytest, tmp_path: Path) -> None:
    right = planted.network(channels=256, side=28)  # or the builder chooses FP32
    onnx.save(right, tmp_path / "right.onnx")
    onnx.save(planted.plant(right, "channel")[0], tmp_path / "channel.onnx")
    (tmp_path / "test_suite.py").write_text(SUITE)
    result = inner_pytest(tmp_path, "--trt-localize=always", "--trt-repro=out")
    found = " ".join(result.stdout.str().split())
    result.assert_outcomes(failed=2)
    assert "first bad layer: conv2 (Conv)" in found
    assert found.count("[TRT440]") + found.count("[TRT441]") == 2, found
    assert "TRT442" not in found
    bundles = sorted((tmp_path / "out").iterdir())
    assert len(bundles) == 2
    scripts = [
        subprocess.Popen(
            [sys.executable, str(bundle / "repro.py")],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        for bundle in bundles
    ]
    for script in scripts:
        shown, _ = script.communicate()
        assert script.returncode == 1, shown
        assert "it reproduces" in shown
