"""Invariants of published models: their samples are independent, and a sequence's are not."""

from __future__ import annotations

import pytest

#: The package, its file, and inputs of several samples.
MODELS = {
    # Its output names the batch otherwise than its input.
    "magika": (
        "magika",
        "standard_v3_3/model.onnx",
        '{"bytes": rng.integers(0, 256, (3, 2048)).astype(np.int32)}',
    ),
    # The batch is axis 1 of its state, and "sr" has none.
    "silero": (
        "silero-vad",
        "silero_vad_16k_op15.onnx",
        '{"input": rng.normal(size=(3, 576)).astype(np.float32) / 10,'
        ' "state": rng.normal(size=(2, 3, 128)).astype(np.float32) / 10, "sr": np.array(16000)}',
    ),
    # Axis 0 is time: what comes first changes what comes after it.
    "sequence": (
        "silero-vad",
        "silero_vad_16k_sequence.onnx",
        '{"input": rng.normal(size=(3, 576)).astype(np.float32) / 10,'
        ' "h": np.zeros((1, 1, 128), np.float32), "c": np.zeros((1, 1, 128), np.float32)}',
    ),
}

TEST = """
rng = np.random.default_rng(0)
INPUTS = {inputs}

@pytest.mark.filterwarnings("ignore::pytest_trt.PytestTrtWarning")
@pytest.mark.trt_model(MODEL)
@pytest.mark.trt_consistency({invariants})
def test_invariants(trt_session):
    trt_session.run(INPUTS)
"""


def run(project, package_file, name: str, invariants: str) -> pytest.RunResult:
    package, file, inputs = MODELS[name]
    source = TEST.format(inputs=inputs, invariants=invariants)
    return project.run(source, MODEL=package_file(package, file))


@pytest.mark.parametrize("name", ["magika", "silero"])
def test_samples_of_a_published_model_are_independent(name, project, package_file) -> None:
    invariants = "batch_invariant=True, deterministic=3, rebuilds=1"
    run(project, package_file, name, invariants).assert_outcomes(passed=1)


def test_steps_of_a_sequence_are_not_a_batch(project, package_file) -> None:
    run(project, package_file, "sequence", "deterministic=2, rebuilds=1").assert_outcomes(passed=1)
    result = run(project, package_file, "sequence", "batch_invariant=True")
    result.assert_outcomes(failed=1)
    found = " ".join(result.stdout.str().split())
    assert "TRT435" in found
    assert "the FP32 reference depends on the batch as well: the model mixes samples" in found
