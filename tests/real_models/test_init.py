"""A first test module for published models: what `pytest-trt init` writes passes at once."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from builders_cli import run_command

MODELS = {
    "detector": ("nudenet", "320n.onnx"),
    "files": ("magika", "standard_v3_3/model.onnx"),
    "quantised": ("ddddocr", "common_old.onnx"),
    "speech": ("silero-vad", "silero_vad_op18_ifless.onnx"),
    "voice": ("silero-vad", "silero_vad.onnx"),
}


def test_module_for_published_models_passes_at_once(
    pytester: pytest.Pytester, package_file: Callable[[str, str], Path]
) -> None:
    pytester.makeini("[pytest]\ntrt_cache_dir = cache\n")
    folder = pytester.mkdir("models")
    for name, (package, file) in MODELS.items():
        shutil.copy(package_file(package, file), folder / f"{name}.onnx")
    # A branch of this model runs for a rate of 16 kHz alone, which no seed gives.
    noise = np.random.default_rng(0).uniform(-0.3, 0.3, (2, 512)).astype(np.float32)
    state = np.zeros((2, 2, 128), np.float32)
    np.savez(folder / "noise.npz", input=noise, state=state, sr=np.int64(16000))
    done = run_command("init")
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert "wrote test_engines.py: tests of 5 models" in lines
    assert "  models/detector.onnx: fp32, fp16, on seeded inputs" in lines
    assert "  models/quantised.onnx: fp32, on seeded inputs" in lines
    assert "  models/voice.onnx: fp32, fp16, on its data" in lines
    # Sums of squares of 191,000 are no float16; an integer operator cannot be converted.
    assert "left out: fp16 of models/files.onnx: no tolerance of fp16" in done.stderr
    assert "left out: fp16 of models/quantised.onnx: " in done.stderr
    result = pytester.runpytest_inprocess("-pno:cacheprovider", "--trt-arch=cpu")
    assert set(result.parseoutcomes()) == {"passed"}
