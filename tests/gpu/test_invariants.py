"""Invariants of engines that TensorRT built: one suite, in one process."""

from __future__ import annotations

from pathlib import Path

import pytest
from builders import save_linear
from builders_invariants import save_mixing

pytestmark = pytest.mark.gpu

SUITE = """
import numpy as np
import pytest

PROFILES = {"image": ((1, 8), (8, 8), (40, 8))}

@pytest.mark.trt_model("linear.onnx", profiles=PROFILES)
@pytest.mark.trt_consistency(batch_invariant=True, deterministic=4, rebuilds=2)
def test_sound(trt_session):
    images = np.random.default_rng(1).normal(size=(5, 8)).astype(np.float32)
    trt_session.run({"image": images})

@pytest.mark.trt_model("linear.onnx", profiles=PROFILES)
@pytest.mark.trt_consistency(sweep="profile")
def test_swept(trt_session, trt_inputs):
    trt_session.run(trt_inputs)

@pytest.mark.trt_model("mixing.onnx", profiles=PROFILES)
@pytest.mark.trt_consistency(batch_invariant=True)
def test_mixing(trt_session):
    images = np.random.default_rng(1).normal(size=(5, 8)).astype(np.float32)
    trt_session.run({"image": images})
"""


def test_sound_engines_pass_and_one_that_mixes_samples_fails(
    gpu, inner_pytest, tmp_path: Path
) -> None:
    save_linear(tmp_path / "linear.onnx")
    save_mixing(tmp_path / "mixing.onnx")
    (tmp_path / "test_suite.py").write_text(SUITE)
    result = inner_pytest(tmp_path)
    found = " ".join(result.stdout.str().split())
    # The seven points of the profile, too.
    result.assert_outcomes(passed=1 + 7, failed=1)
    assert "FAILED test_suite.py::test_mixing" in found
    assert "TRT435" in found
    assert "the FP32 reference depends on the batch as well: the model mixes samples" in found
