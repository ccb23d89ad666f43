"""A wrong model under a project's own reference, and stored answers: the true cause alone."""

from __future__ import annotations

import pytest
from builders import save_linear

TEST = """
@pytest.fixture
def trt_reference():
    rng = np.random.default_rng(0)
    weight, bias = (rng.normal(size=size).astype(np.float32) for size in ((8, 4), 4))

    def run(inputs):
        logits = inputs["image"] @ weight + bias + OFF
        powers = np.exp(logits)
        return {"logits": logits, "probs": powers / powers.sum(1, keepdims=True)}

    return run

@pytest.mark.trt_model("models/linear.onnx", precision=["fp32", "fp16"])
@pytest.mark.trt_consistency(against="AGAINST")
def test_it(trt_session, images):
    trt_session.run({"image": images})
"""

FALSE = (
    "*the engine differs*",
    "*could not run in FP32*",
    "*no layer differs*",
    "*graph_optimization_level*",
    "*pytest-trt tune*",
    "*If it is accurate enough*",
    "*TRT401*",
)


def write(project, against: str, off: float = 0.0) -> None:
    project.pytester.makeini("[pytest]\n")
    project.test_file(TEST.replace("AGAINST", against).replace("OFF", f"np.float32({off})"))


@pytest.fixture(params=["both", "stored"])
def against(request, project) -> str:
    write(project, request.param)
    project.run("--trt-update-new").assert_outcomes(passed=2)
    return request.param


def test_wrong_model_is_the_only_cause(project, save, against) -> None:
    project.run().assert_outcomes(passed=2)
    save(save_linear, "linear.onnx", nudge=0.5)
    found = project.run("--trt-localize=auto")
    found.assert_outcomes(failed=2)
    for text in FALSE:
        found.stdout.no_fnmatch_line(text)
    reference = {"both": "trt_reference", "stored": "the stored answers"}[against]
    found.stdout.fnmatch_lines([f"*logits: * over tolerance against {reference} (*[[]TRT415]"])
    found.stdout.fnmatch_lines(["*The engine agrees with models/linear.onnx in FP32*"])
    found.stdout.no_fnmatch_line("*against trt_reference * against*")
    said = {"both": "the stored answers differ too: *", "stored": "* models/linear.onnx differs"}
    found.stdout.fnmatch_lines([f"*{said[against]}"])


def test_reference_that_changed_is_named(project, save, against) -> None:
    write(project, against, off=0.5)
    save(save_linear, "linear.onnx", nudge=0.5)
    found = project.run("-k", "fp32")
    found.stdout.fnmatch_lines(["trt_reference's answers changed: *TRT416*"])
    found.stdout.no_fnmatch_line("*the model's own answers*")
    found.stdout.no_fnmatch_line("*the engine differs*")
