"""`trt_consistency(metrics=...)`: what a test under it passes and fails with."""

from __future__ import annotations

import json
import xml.etree.ElementTree as ET

import pytest
from builders import save_linear
from builders_report import check_schema
from plugin.conftest import RUNS, assert_shows, checked

#: The engine is compared with another model, so that it differs.
NUDGED = '"models/nudged.onnx", reference="models/linear.onnx"'

FUNCTIONS = """
def agreement(outputs, reference):
    return (outputs.argmax(axis=1) == reference.argmax(axis=1)).mean()

def in_all(outputs, reference):
    assert set(outputs) == set(reference) == {"logits", "probs"}
    return float(abs(outputs["logits"] - reference["logits"]).max())

def of_inputs(outputs, reference, inputs):
    return abs(inputs["image"]).max() * agreement(outputs["probs"], reference["probs"])

RUNS = []

def falling(outputs, reference):
    RUNS.append(1)
    return 1.0 - 0.1 * len(RUNS)

def broken(outputs, reference):
    return reference["boxes"]
"""


@pytest.fixture
def nudged(project, save):
    save(save_linear, "nudged.onnx", nudge=0.05)
    project.pytester.makepyfile(functions=FUNCTIONS)
    return project


def source(consistency, *, model=NUDGED, body=RUNS):
    return "from functions import *\n" + checked(body, model=model, consistency=consistency)


def check(project, consistency, *args, model=NUDGED, body=RUNS):
    project.test_file(source(consistency, model=model, body=body))
    return project.run(*args)


def within(limit):
    return f"metrics={{'max_abs': {limit!r}}}, "


def at_probs(given):
    return f"outputs={{'probs': dict({given})}}, "


def at_fp32(given):
    return f"by_precision={{'fp32': dict({given})}}"


LOOSE = "rtol=1.0, atol=1.0, "


JUDGED = [
    ('metrics={"max_abs": "<= 0.2"}', ""),
    ('metrics={"max_abs": "<= 0.001"}', "*, required *"),
    ('outputs={"probs": {"metrics": {"kl_divergence": "<= 0.01"}}}', ""),
    ('outputs={"probs": {"metrics": {"kl_divergence": "<= 1e-9"}}}', "*, required *"),
    ('outputs={"logits": {"metrics": {"snr_db": ">= 10", "psnr_db": ">= 10"}}}', ""),
    ('outputs={"logits": {"metrics": {"snr_db": ">= 90"}}}', "*, required *"),
    ('outputs={"probs": {"metrics": {"same": (agreement, ">= 0.7")}}}', ""),
    ('outputs={"probs": {"metrics": {"same": (agreement, "> 1")}}}', "*, required *"),
    ('metrics={"far": (in_all, "<= 0.2")}', ""),
    ('metrics={"far": (in_all, "<= 0.001")}', "*, required *"),
    ('metrics={"of_inputs": (of_inputs, "> 1")}', ""),
    ('metrics={"of_inputs": (of_inputs, "<= 1")}', "*, required *"),
    (within("<= 0") + at_fp32("metrics={'max_abs': None}"), ""),
    (within("<= 1") + at_fp32(within("<= 0")), "*, required *"),
    (at_probs(within("<= 1")) + at_fp32(at_probs(within("<= 0"))), "*, required *"),
]


def test_metrics_are_judged_beside_the_tolerance(nudged) -> None:
    result = nudged.ends({source(LOOSE + metrics): lines for metrics, lines in JUDGED})
    result.assert_outcomes(passed=7, failed=8)


def test_tolerance_applies_beside_metrics_unless_elements_are_not_compared(nudged) -> None:
    metrics = 'metrics={"max_abs": "<= 0.2"}'
    check(nudged, f"rtol=0, atol=1e-6, {metrics}").assert_outcomes(failed=1)
    check(nudged, f"elementwise=False, {metrics}").assert_outcomes(passed=1)
    one = 'outputs={"logits": {"elementwise": False, "metrics": {"max_abs": "<= 0.2"}}}'
    result = check(nudged, f"rtol=0, atol=1e-6, {one}")
    assert_shows(result, "probs: * over tolerance*", "  logits: its elements are not*", failed=1)


def test_failure_names_the_metric_its_worst_value_and_its_limit(nudged) -> None:
    result = check(nudged, LOOSE + 'outputs={"probs": {"metrics": {"max_abs": "<= 1e-3"}}}')
    result.stdout.fnmatch_lines(
        [
            "probs: max_abs 0.0*, required <= 0.001 against linear.onnx (nudged.onnx, *TRT415*",
            "  metric 'max_abs' of output 'probs' is 0.0*, required: <= 0.001",
            "Fix: The engine agrees with models/nudged.onnx, which differs from *",
        ]
    )


HIDDEN = """
class Reference:
    def __init__(self, session):
        self.session = session

    def run(self, inputs):
        found = self.session.run(inputs)
        return {name: np.where(np.arange(64)[:, None] < WRONG, 0, one)
                for name, one in found.items()}

@pytest.fixture
def trt_reference(trt_reference):
    return Reference(trt_reference)

@pytest.mark.trt_model("models/wide.onnx")
@pytest.mark.trt_consistency(elementwise=False, metrics={"snr_db": ">= 10"}, LESS)
def test_it(trt_session):
    images = np.random.default_rng(0).normal(size=(64, 8)).astype(np.float32)
    trt_session.run({"image": images})
"""


@pytest.mark.parametrize(
    ("wrong", "more", "noted", "passed"),
    [(0, "", False, 1), (1, "", True, 1), (1, "cosine=0.9", True, 0)],
)
def test_sample_that_a_ratio_of_the_batch_hides_is_noted(
    project, save, wrong: int, more: str, noted: bool, passed: int
) -> None:
    save(save_linear, "wide.onnx", classes=16)
    project.test_file(HIDDEN.replace("WRONG", str(wrong)).replace("LESS", more))
    result = project.run()
    result.assert_outcomes(passed=passed, failed=1 - passed)
    note = "*metric 'snr_db' of output 'logits' passed 1 sample of a run with wrong values: *"
    if noted:
        result.stdout.fnmatch_lines([note])
    else:
        result.stdout.no_fnmatch_line(note)


def test_failure_of_an_engine_has_its_own_code(project) -> None:
    project.pytester.makepyfile(functions=FUNCTIONS)
    given = 'metrics={"never": (lambda o, r: 0.5, ">= 0.9")}'
    result = check(project, given, model='"models/linear.onnx"')
    assert_shows(result, "never 0.5, required >= 0.9 (linear.onnx, fp32, cpu)*TRT414*", failed=1)


NO_VALUE = [
    ("broken", "it raised KeyError: 'boxes', line * of broken"),
    ("lambda o, r: float('nan')", "it returned NaN"),
    ("lambda o, r: None", "it returned None, not one real number"),
    ("lambda o, r: o['probs']", "it returned ndarray of shape [[]4, 4], not one real number"),
]


def test_metric_without_a_value_fails_by_name(project) -> None:
    project.pytester.makepyfile(functions=FUNCTIONS)
    given = 'metrics={{"mine": ({}, ">= 0.9")}}'
    project.refuses(
        {
            source(given.format(function), model='"models/linear.onnx"'): [
                "mine has no value (linear.onnx, fp32, cpu)*TRT419*",
                f"  metric 'mine' has no value: {problem}",
                "Fix: Correct the metric, *",
            ]
            for function, problem in NO_VALUE
        },
        where="",
    )


def test_worst_of_all_runs_is_judged_and_reported(project) -> None:
    project.pytester.makepyfile(functions=FUNCTIONS)
    body = 'for _ in range(3):\n    trt_session.run({"image": images})'
    own = 'outputs={"probs": {"metrics": {"cosine": "> 0.9"}}}'
    for limit, outcome in ((0.65, "passed"), (0.75, "failed")):
        given = f'metrics={{"falling": (falling, ">= {limit}")}}, {own}'
        result = check(project, given, model='"models/linear.onnx"', body=body)
        assert_shows(
            result,
            f"metric  linear.onnx fp32 cpu  falling 0.7 (limit >= {limit})  {outcome}",
            "metric  linear.onnx fp32 cpu  probs: cosine 1 (limit > 0.9)  passed",
            **{outcome: 1},
        )


def test_reports_have_every_metric(project) -> None:
    report, junit, text = (project.path / name for name in ("r.json", "j.xml", "m.prom"))
    given = 'metrics={"snr_db": ">= 40"}, outputs={"probs": {"metrics": {"top1": ">= 1"}}}'
    result = project.check(
        consistency=given,
        args=(f"--trt-report={report}", f"--trt-report={text}", f"--junitxml={junit}"),
    )
    result.assert_outcomes(passed=1)
    written = json.loads(report.read_text())
    check_schema(written)
    (found,) = written["tests"][0]["results"]
    shown = {(one["output"], one["name"]): one for one in found["accuracy"]["metrics"]}
    assert shown.keys() == {("logits", "snr_db"), ("probs", "snr_db"), ("probs", "top1")}
    assert shown["probs", "top1"]["value"] == 1.0
    assert shown["probs", "snr_db"]["unit"] == "dB"
    properties = [one.get("value") for one in ET.parse(junit).iter("property")]
    assert "top1 of probs: 1 (>= 1)" in properties
    assert 'metric="top1",output="probs"} 1.0' in text.read_text()


NEVER = "output 'logits' has elementwise=False and no metric, so it could never fail"
UNKNOWN_OUTPUT = "a tolerance is given for output 'prob', which the model does not have"


MISTAKES = [
    ("elementwise=False", NEVER),
    ('elementwise=False, outputs={"probs": {"metrics": {"max_abs": "<= 1"}}}', NEVER),
    ('metrics={"iou": ">= 0.9"}', "*metric 'iou' is unknown"),
    ('metrics={"iou": (lambda o: 1, ">= 0.9")}', "*metric 'iou': its function takes (o)"),
    ('metrics={"max_abs": ">= 0.1"}', "*'>= 0.1' would fail the better engines*"),
    ('outputs={"prob": {"metrics": {"max_abs": "<= 0.1"}}}', UNKNOWN_OUTPUT),
    ('by_precision={"fp32": {"metrics": {"max_abs": "0.1"}}}', "*'0.1' is not a limit"),
    ('elementwise="no", metrics={"max_abs": "<= 1"}', "*elementwise='no' is not True or False"),
]


def test_mistakes_are_errors_at_collection(project) -> None:
    project.refuses(
        {
            checked(consistency=given): [f"{message} ?TRT14?]", "  in test_*.py::test_*"]
            for given, message in MISTAKES
        }
    )


def test_selftest_proves_metrics(nudged) -> None:
    good = 'elementwise=False, metrics={"max_abs": "<= 0.2"}'
    check(nudged, good, "--trt-selftest").assert_outcomes(passed=1)
    blind = 'elementwise=False, metrics={"blind": (lambda o, r: 1.0, ">= 0.9")}'
    result = check(nudged, blind, "--trt-selftest")
    assert_shows(result, "*elements are not compared*no metric detects it*", failed=1)


def test_stored_answers_are_judged_by_metrics_too(nudged, save) -> None:
    nudged.pytester.makeini("[pytest]\n")
    given = 'against="stored", elementwise=False, metrics={"far": (in_all, "<= LIMIT")}'
    recorded = check(
        nudged, given.replace("LIMIT", "0"), "--trt-update-new", model='"models/linear.onnx"'
    )
    recorded.assert_outcomes(passed=1)
    save(save_linear, "linear.onnx", nudge=0.05)
    for limit, outcome in (("0.2", "passed"), ("0.001", "failed")):
        result = check(nudged, given.replace("LIMIT", limit), model='"models/linear.onnx"')
        result.assert_outcomes(**{outcome: 1})
    result.stdout.fnmatch_lines(["the model's own answers changed: far 0.1*, required <= 0.001 *"])


def test_metric_of_an_output_that_is_stored_as_a_sketch_says_how_to_store_all(nudged) -> None:
    nudged.pytester.makeini("[pytest]\n")
    size = "--trt-answers-size=8"
    given = 'against="stored", metrics={"snr_db": ">= 30"}'
    linear = '"models/linear.onnx"'
    check(nudged, given, "--trt-update-new", size, model=linear).assert_outcomes(passed=1)
    result = check(nudged, given, size, model=linear)
    result.assert_outcomes(failed=1)
    lines = result.stdout
    lines.fnmatch_lines(["*only a sketch of * is stored", "*--trt-answers-size=1KB --trt-update *"])
    lines.no_fnmatch_line("*the engine differs*")
