"""Published models whose weights got noise: model and engine agree, the stored answers do not."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

#: The package, its file, and a set of inputs.
MODELS = {
    "silero": (
        "silero-vad",
        "silero_vad_16k_op15.onnx",
        '{"input": rng.normal(size=(1, 576)).astype(np.float32) / 10,'
        ' "state": np.zeros((2, 1, 128), np.float32), "sr": np.array(16000)}',
    ),
    "magika": (
        "magika",
        "standard_v3_3/model.onnx",
        '{"bytes": rng.integers(0, 256, (1, 2048)).astype(np.int32)}',
    ),
    "ocr": (
        "ddddocr",
        "common.onnx",
        '{"input1": rng.uniform(size=(1, 1, 64, 128)).astype(np.float32)}',
    ),
    "detector": (
        "ddddocr",
        "common_det.onnx",
        '{"images": rng.uniform(size=(1, 3, 416, 416)).astype(np.float32)}',
    ),
    "nudenet": (
        "nudenet",
        "320n.onnx",
        '{"images": rng.uniform(size=(1, 3, 320, 320)).astype(np.float32)}',
    ),
}

TEST = """
rng = np.random.default_rng(0)
INPUTS = {inputs}

@pytest.mark.filterwarnings("ignore::pytest_trt.PytestTrtWarning")
@pytest.mark.trt_model("m.onnx")
@pytest.mark.trt_consistency(against="{against}")
def test_answers(trt_session):
    trt_session.run(INPUTS)
"""


def with_noise(source: Path, target: Path) -> None:
    """Add noise of half their standard deviation to the largest weights of a model."""
    model = onnx.load(source)
    floats = [one for one in model.graph.initializer if one.data_type == onnx.TensorProto.FLOAT]
    largest = max(floats, key=lambda one: len(one.raw_data) or len(one.float_data))
    values = numpy_helper.to_array(largest)
    noise = np.random.default_rng(0).normal(size=values.shape) * values.std() / 2
    noisy = numpy_helper.from_array((values + noise).astype(np.float32), largest.name)
    largest.CopyFrom(noisy)
    onnx.save(model, target)


@pytest.mark.parametrize("name", MODELS)
def test_noise_in_the_largest_weights_is_named_as_a_change_of_the_model(
    name: str, project, package_file
) -> None:
    package, file, inputs = MODELS[name]
    source, model = package_file(package, file), project.path / "m.onnx"
    model.write_bytes(source.read_bytes())
    test = TEST.format(inputs=inputs, against="stored")
    project.run(test, "--trt-update-new").assert_outcomes(passed=1)
    project.run(test, "--trt-missing-baseline=fail").assert_outcomes(passed=1)
    with_noise(source, model)
    result = project.run(test)
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["the model's own answers changed: *TRT416*"])
    # Beside itself, the changed model is right.
    test = TEST.format(inputs=inputs, against="model")
    project.run(test).assert_outcomes(passed=1)
