"""A wrong model under a project's own reference, and stored answers: the true cause alone."""

from __future__ import annotations

import json

import pytest
from builders import save_linear
from plugin.conftest import assert_shows

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
    causes = {
        "both": "*The model file changed since the answers of *, which trt_reference *",
        "stored": "*The engine agrees with models/linear.onnx in FP32*",
    }
    found.stdout.fnmatch_lines([causes[against]])
    found.stdout.no_fnmatch_line("*against trt_reference * against*")
    (entry,) = [line for line in found.outlines if line.startswith("worst of ")]
    assert entry.startswith("worst of 2 tests: ")
    assert "TRT415" in found.stdout.str()
    said = {"both": "the stored answers differ too: *", "stored": "* models/linear.onnx differs"}
    found.stdout.fnmatch_lines([f"*{said[against]}"])


def test_reference_that_changed_is_named(project, save, against) -> None:
    write(project, against, off=0.5)
    save(save_linear, "linear.onnx", nudge=0.5)
    found = project.run("-k", "fp32")
    found.stdout.fnmatch_lines(["trt_reference's answers changed: *TRT416*"])
    found.stdout.no_fnmatch_line("*the model's own answers*")
    found.stdout.no_fnmatch_line("*the engine differs*")


def test_engine_that_differs_is_still_called_so(project) -> None:
    write(project, "stored")
    project.run("--trt-update-new").assert_outcomes(passed=2)
    source = (project.path / "test_it.py").read_text()
    tight = source.replace('against="stored"', 'against="stored", rtol=0, atol=1e-5')
    (project.path / "test_it.py").write_text(tight)
    assert_shows(
        project.run(),
        "*over tolerance against the stored answers (linear.onnx, fp16, cpu)*TRT401*",
        "*the outputs of trt_reference agree with the stored answers: the engine differs",
        passed=1,
        failed=1,
    )


NO_CASE = """
    other = {"logits": np.zeros((1, 4), np.float32), "probs": np.zeros((1, 4), np.float32)}
    return [{"inputs": {"image": np.zeros((1, 8), np.float32)}, "outputs": other}]
"""


@pytest.mark.parametrize(
    ("changed", "reason"),
    [
        (("    def run(inputs):\n", "    def run(inputs):\n        1 / 0\n"), "division by zero"),
        (("\n    return run\n", NO_CASE), "*no golden outputs for the inputs of this run*"),
    ],
    ids=["error", "no case"],
)
def test_reference_that_cannot_be_computed_agrees_with_nothing(project, changed, reason) -> None:
    write(project, "stored")
    project.run("--trt-update-new").assert_outcomes(passed=2)
    path = project.path / "test_it.py"
    path.write_text(path.read_text().replace(*changed))
    project.run().assert_outcomes(passed=2)
    tight = path.read_text().replace('against="stored"', 'against="stored", rtol=0, atol=1e-9')
    path.write_text(tight)
    found = project.run("-k", "fp16", "--trt-report=report.json")
    assert_shows(
        found,
        "*over tolerance against the stored answers (linear.onnx, fp16, cpu)*TRT401*",
        f"  the outputs of trt_reference could not be computed for these inputs: {reason}",
        "*so the model or the engine may be the cause*",
        failed=1,
    )
    found.stdout.no_fnmatch_line("*agree with the stored answers*")
    for text in FALSE[:-1]:  # it does exceed its tolerance
        found.stdout.no_fnmatch_line(text)


def test_wrong_model_beside_a_reference_model_is_the_only_cause(project, save) -> None:
    save(save_linear, "right.onnx")
    write(project, "stored")
    source = (project.path / "test_it.py").read_text()
    source = source.replace("def trt_reference", "def unused")
    source = source.replace('linear.onnx"', 'linear.onnx", reference="models/right.onnx"')
    (project.path / "test_it.py").write_text(source)
    project.run("--trt-update-new").assert_outcomes(passed=2)
    save(save_linear, "linear.onnx", nudge=0.5)
    found = project.run()
    for text in FALSE:
        found.stdout.no_fnmatch_line(text)
    found.stdout.fnmatch_lines(
        [
            "*against the stored answers (linear.onnx, fp??, cpu)*TRT415*",
            "*models/right.onnx agree with the stored answers*: models/linear.onnx differs",
            "*Restore the model*",
        ]
    )


def test_engine_that_differs_from_both_is_explained_once(project) -> None:
    write(project, "both")
    project.run("--trt-update-new").assert_outcomes(passed=2)
    path = project.path / "test_it.py"
    path.write_text(path.read_text().replace('"both"', '"both", rtol=0, atol=1e-5'))
    found = project.run("--trt-report=report.json")
    found.assert_outcomes(passed=1, failed=1)
    headlines = [line for line in found.outlines if line.endswith("[TRT401]")]
    assert len(headlines) == 1
    assert "against trt_reference" in headlines[0]
    found.stdout.fnmatch_lines(["  the stored answers differ too: *"])
    (failed,) = [
        one
        for one in json.loads((project.path / "report.json").read_text())["tests"]
        if one["outcome"] == "failed"
    ]
    assert [one["code"] for one in failed["diagnostics"]] == ["TRT401"]
