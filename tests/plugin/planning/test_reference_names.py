"""References whose inputs and outputs have other names than the model's, or that have more."""

from __future__ import annotations

import json

import onnx
import pytest
from builders import save_linear
from onnx import TensorProto, helper
from plugin.conftest import assert_shows

C = "pytest.mark.trt_consistency"
M = "pytest.mark.trt_model"
P = 'profiles={"image": ((1, 8), (4, 8), (16, 8))}'
NAMES = 'reference_names={"image": "pixels", "logits": "scores", "probs": "shares"}'
ONLY = 'reference_only=("mask", "hidden")'


def save_reference(path, *, nudge: float = 0.0, mask: bool = False, swapped: bool = False) -> None:
    """Write pixels [batch, 8] (, mask [8]) -> scores, shares (, hidden [batch, 4])."""
    model = onnx.load(save_linear(path, nudge=nudge))
    graph = model.graph
    first = "shares" if swapped else "scores"
    new = {"image": "pixels", "logits": first, "probs": "scores" if swapped else "shares"}
    for value in (*graph.input, *graph.output):
        value.name = new[value.name]
    for node in graph.node:
        for names in (node.input, node.output):
            names[:] = [new.get(name, name) for name in names]
    if mask:
        graph.node.insert(0, helper.make_node("Mul", ["pixels", "mask"], ["masked"]))
        graph.node[1].input[0] = "masked"
        graph.input.append(helper.make_tensor_value_info("mask", TensorProto.FLOAT, [8]))
        graph.node.append(helper.make_node("Relu", [first], ["hidden"]))
        graph.output.append(helper.make_tensor_value_info("hidden", TensorProto.FLOAT, ["n", 4]))
    onnx.save(model, path)


RUNS = "def test_it(trt_session, images):\n    trt_session.run({'image': images})\n"


@pytest.fixture
def suite(project):
    """A project with references of other names: right, wrong, and with more of both."""
    models = project.path / "models"
    save_reference(models / "renamed.onnx")
    save_reference(models / "wrong.onnx", nudge=0.5)
    save_reference(models / "swapped.onnx", swapped=True)
    save_reference(models / "more.onnx", mask=True)

    def run(marks: str, test: str = "", *args: str) -> pytest.RunResult:
        project.test_file(f"@{M}('models/linear.onnx', {marks})\n@{C}\n{test or RUNS}")
        return project.run(*args)

    return run


@pytest.mark.parametrize("fixture", [False, True], ids=["path", "fixture"])
@pytest.mark.parametrize("reference", ["renamed", "wrong", "swapped"])
def test_outputs_are_compared_with_those_of_the_reference_by_its_names(
    suite, project, reference: str, fixture: bool
) -> None:
    marks = f'reference="models/{reference}.onnx", precision=("fp32", "fp16"), {NAMES}'
    if fixture:
        project.test_file(
            "@pytest.fixture\ndef given():\n    return 'models/linear.onnx'\n"
            f"@{M}(fixture='given', {marks})\n@{C}\n"
            "def test_it(trt_session, images):\n    trt_session.run({'image': images})\n"
        )
        result = project.run()
    else:
        result = suite(marks)
    right = reference == "renamed"
    result.assert_outcomes(passed=2 * right, failed=2 * (not right))
    if not right:
        result.stdout.fnmatch_lines([f"*against {reference}.onnx*TRT4??]"])


def test_names_that_are_crossed_on_purpose_match_a_reference_that_crosses_them(suite) -> None:
    crossed = 'reference_names={"image": "pixels", "logits": "shares", "probs": "scores"}'
    suite(f'reference="models/swapped.onnx", {crossed}').assert_outcomes(passed=1)
    suite(f'reference="models/renamed.onnx", {crossed}').assert_outcomes(failed=1)


@pytest.mark.parametrize(("mask", "outcome"), [(1.0, "passed"), (0.5, "failed")])
def test_input_that_only_the_reference_has_is_given_to_it_alone(suite, mask, outcome) -> None:
    result = suite(
        f'reference="models/more.onnx", {NAMES}, {ONLY}',
        "def test_it(trt_session, images):\n"
        f"    mask = np.full(8, {mask}, np.float32)\n"
        "    outputs = trt_session.run({'image': images, 'mask': mask})\n"
        "    assert sorted(outputs) == ['logits', 'probs']\n",
    )
    result.assert_outcomes(**{outcome: 1})


def test_fixtures_of_inputs_reference_and_speed_know_the_input(suite, project) -> None:
    marks = f'reference="models/more.onnx", {NAMES}, {ONLY}, {P}'
    suite(
        marks,
        "@pytest.mark.trt_benchmark\n"
        "def test_it(trt_session, trt_benchmark, trt_reference, trt_inputs, trt_calibration):\n"
        "    assert set(trt_inputs) == {'image', 'mask'} and set(trt_calibration[0]) == {'image'}\n"
        "    given = {**trt_inputs, 'mask': np.ones(8, np.float32)}\n"
        "    trt_session.run(given)\n"
        "    trt_benchmark(given)\n"
        "    assert sorted(trt_reference.run(given)) == ['logits', 'probs']\n",
    ).assert_outcomes(passed=3)


@pytest.mark.parametrize("nudge", [0.0, 0.5])
def test_own_model_of_a_run_that_fails_is_compared_without_it(suite, project, nudge) -> None:
    save_reference(project.path / "models" / "more.onnx", mask=True, nudge=nudge)
    result = suite(
        f'reference="models/more.onnx", {NAMES}, {ONLY}',
        "def test_it(trt_session, images):\n"
        "    trt_session.run({'image': images, 'mask': np.ones(8, np.float32)})\n",
        "--trt-report=report.json",
    )
    result.assert_outcomes(passed=int(not nudge), failed=int(bool(nudge)))
    if nudge:
        result.stdout.fnmatch_lines(
            ["*The engine agrees with models/linear.onnx, which differs from*"]
        )


def test_missing_input_of_the_reference_is_named(suite) -> None:
    result = suite(f'reference="models/more.onnx", {NAMES}, {ONLY}')
    assert_shows(result, "*missing inputs: mask*TRT221*", failed=1)


@pytest.mark.parametrize("reference", ["renamed", "wrong"])
def test_shared_engines_take_the_names(project, suite, reference: str) -> None:
    given = f'reference="models/{reference}.onnx", {NAMES}'
    project.test_file(
        "@pytest.fixture(scope='module')\ndef shared(trt_engines):\n"
        f"    return trt_engines('models/linear.onnx', {given})\n"
        f"@{M}('models/linear.onnx', {given})\n@{C}\n"
        "def test_it(shared, images):\n    shared.run({'image': images})\n"
    )
    right = reference == "renamed"
    result = project.run()
    result.assert_outcomes(passed=right, failed=not right)
    if not right:
        result.stdout.fnmatch_lines(["*over tolerance against wrong.onnx*TRT415]"])


def test_shared_engine_with_other_names_is_not_the_one_that_the_markers_name(
    project, suite
) -> None:
    crossed = 'reference_names={"image": "pixels", "logits": "shares", "probs": "scores"}'
    project.test_file(
        "@pytest.fixture(scope='module')\ndef shared(trt_engines):\n"
        f"    return trt_engines('models/linear.onnx', {crossed},\n"
        "        reference='models/swapped.onnx')\n"
        f"@{M}('models/linear.onnx', reference='models/swapped.onnx', {NAMES})\n@{C}\n"
        "def test_it(shared, images):\n    shared.run({'image': images})\n"
    )
    assert_shows(project.run(), "*with other reference=*TRT160*", failed=1)


def test_stored_answers_are_those_of_the_reference_under_the_models_names(suite, project) -> None:
    marks = f'reference="models/renamed.onnx", {NAMES}'
    body = "def test_it(trt_session, images):\n    trt_session.run({'image': images})\n"
    project.test_file(f"@{M}('models/linear.onnx', {marks})\n@{C}(against='stored')\n{body}")
    project.run("--trt-missing-baseline=record")
    (path,) = project.path.glob("trt_baselines/*/*.json")
    assert set(json.loads(path.read_text())["tests"]) == {"test_it"}
    assert '"logits"' in path.read_text()
    project.run().assert_outcomes(passed=1)


R = 'reference="models/renamed.onnx"'


def test_keyword_for_outputs_that_differ_is_offered_and_helps(suite, project) -> None:
    model = onnx.load(project.path / "models" / "renamed.onnx")
    new = {"pixels": "image", "scores": "logits_0", "shares": "probs_0"}
    for node in model.graph.node:
        for names in (node.input, node.output):
            names[:] = [new.get(name, name) for name in names]
    for value in (*model.graph.input, *model.graph.output):
        value.name = new[value.name]
    onnx.save(model, project.path / "models" / "outputs.onnx")
    reference = 'reference="models/outputs.onnx"'
    result = suite(reference)
    result.assert_outcomes(failed=1)
    offered = "reference_names={'logits': 'logits_0', 'probs': 'probs_0'}"
    result.stdout.fnmatch_lines([f"*map them in trt_model, such as {offered}"])
    suite(f"{reference}, {offered}").assert_outcomes(passed=1)


def test_outputs_that_only_the_reference_has_are_offered_to_be_ignored(suite, project) -> None:
    model = onnx.load(project.path / "models" / "linear.onnx")
    for name in ("one", "two"):
        model.graph.node.append(helper.make_node("ReduceSum", ["logits"], [name], keepdims=0))
        model.graph.output.append(helper.make_tensor_value_info(name, TensorProto.FLOAT, []))
    onnx.save(model, project.path / "models" / "outputs.onnx")
    result = suite('reference="models/outputs.onnx"')
    assert_shows(result, "*add to trt_model: reference_only=[[]'one', 'two'[]]", failed=1)
    suite("reference='models/outputs.onnx', reference_only=['one', 'two']").assert_outcomes(
        passed=1
    )


NEITHER_HAS = [
    (R, "*different inputs: pixels (float32); image (float32)*TRT152*"),
    (f'{R}, reference_names={{"imag": "pixels"}}', "*names 'imag', but the model has no such*"),
    (f'{R}, reference_names={{"image": "pixel"}}', "*names 'pixel', but the reference has no*"),
    (
        f'{R}, reference_names={{"image": "scores"}}',
        "*'scores', but the reference has no*input*",
    ),
    (f'{R}, {NAMES}, reference_only="hidden"', "*reference_only names 'hidden', but the ref*"),
    (f'{R}, {NAMES}, reference_only="scores"', "*'scores' of the reference has no single*"),
    (
        f'{R}, reference_names={{"image": "pixels", "logits": "scores", "probs": "scores"}}',
        "*'scores' of the reference has no single counterpart*TRT150*",
    ),
    (f'{R}, reference_names=["image"]', "*invalid reference_names=*TRT150*"),
    (f"{R}, reference_only=7", "*invalid reference_only=7*TRT150*"),
    (NAMES, "*need reference=*TRT150*"),
    ('reference_only=("mask",)', "*need reference=*TRT150*"),
    (f'reference="models/more.onnx", {NAMES}', "*different inputs: pixels *mask*TRT152*"),
    (
        'reference="models/crossing.onnx", reference_names={"logits": "probs", "probs": "more"}',
        "*'logits' of the reference has no single counterpart*",
    ),
    (
        'reference="models/both.onnx", reference_names={"image": "pixels"}, reference_only="image"',
        "*'image' of the reference has no single counterpart*",
    ),
]


def test_names_that_neither_side_has_are_refused(suite, project) -> None:
    models = project.path / "models"
    crossing = onnx.load(models / "linear.onnx")
    crossing.graph.node.append(helper.make_node("Relu", ["logits"], ["more"]))
    crossing.graph.output.append(
        helper.make_tensor_value_info("more", TensorProto.FLOAT, ["batch", 4])
    )
    onnx.save(crossing, models / "crossing.onnx")
    both = onnx.load(models / "renamed.onnx")
    both.graph.input.append(helper.make_tensor_value_info("image", TensorProto.FLOAT, [8]))
    onnx.save(both, models / "both.onnx")
    project.refuses(
        {
            f"@{M}('models/linear.onnx', {marks})\n@{C}\n{RUNS}": message
            for marks, message in NEITHER_HAS
        }
    )


def test_dynamic_input_that_only_the_reference_has_is_not_generated(suite, project) -> None:
    more = onnx.load(project.path / "models" / "more.onnx")
    more.graph.input[1].CopyFrom(
        helper.make_tensor_value_info("mask", TensorProto.FLOAT, ["batch", 8])
    )
    onnx.save(more, project.path / "models" / "dynamic.onnx")
    marks = f'reference="models/dynamic.onnx", {NAMES}, {ONLY}, {P}'
    test = "def test_it(trt_session, trt_inputs):\n    trt_session.run(trt_inputs)\n"
    result = suite(marks, test)
    assert_shows(result, "*mask*only the reference has*TRT211*", "*Override trt_inputs*", errors=1)
    project.test_file(
        "@pytest.fixture\ndef trt_inputs(images):\n"
        "    return {'image': images, 'mask': np.ones((4, 8), np.float32)}\n"
        f"@{M}('models/linear.onnx', {marks})\n@{C}\n{test}"
    )
    project.run().assert_outcomes(passed=1)
