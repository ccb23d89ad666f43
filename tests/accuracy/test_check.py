"""Many runs of one test: judged together, the worst explained, in bounded memory."""

from __future__ import annotations

import fnmatch
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from pytest_trt.accuracy.check import NOTHING_COMPARED, ConsistencyCheck
from pytest_trt.accuracy.compare import compare_outputs
from pytest_trt.accuracy.metric_checks import MetricCheck, parse_metrics, resolve_metrics
from pytest_trt.accuracy.other_reference import OtherReference
from pytest_trt.accuracy.sketch import sketch_of
from pytest_trt.accuracy.tolerance import Tolerance
from pytest_trt.diagnostics import ModelError
from pytest_trt.engine.spec import Toolchain
from pytest_trt.tensors.spec import TensorSpec
from pytest_trt.terms import Verdict

REFERENCE = {"y": np.ones((2, 3))}
TOLERANCE = Tolerance(0.0, 0.01, origin="marker")


def engine(precision="fp16", notes=(), op_types=()):
    return SimpleNamespace(
        key=SimpleNamespace(digest=precision),
        model=SimpleNamespace(path=Path("m.onnx"), outputs=(), op_types=op_types),
        spec=SimpleNamespace(precision=precision),
        target=SimpleNamespace(arch="cpu"),
        plan_facts=SimpleNamespace(calibration=None),
        finished=False,
        toolchain=Toolchain("ONNX Runtime", {"onnxruntime": "1.24.1"}),
        notes=notes,
    )


def check(tolerance=TOLERANCE, **options):
    return ConsistencyCheck(lambda _: {"y": tolerance}, lambda _: REFERENCE, **options)


def run(of, by, *, on=None, line=1):
    outputs = {"y": REFERENCE["y"] + by}
    of.observe(on or engine(), {"x": np.ones((2, 8))}, outputs, f"test_it.py:{line}")


def test_a_check_without_runs_fails():
    assert check().diagnostics() == (NOTHING_COMPARED,)
    assert check().results() == []


def test_runs_that_pass_have_no_diagnostic():
    of = check()
    run(of, 0.005)
    run(of, 0.0)
    assert of.diagnostics() == ()
    assert not of.has_failed
    (result,) = of.results()
    assert (result.verdict, result.runs, result.failed_runs) == (Verdict.PASSED, 2, 0)
    assert result.used == pytest.approx(0.5)
    assert result.diagnostics == ()


def test_a_thousand_failing_runs_are_summed_up_with_the_worst_ten():
    of = check()
    for number in range(1000):
        run(of, 0.02 + 0.0001 * number, line=number)
    (found,) = of.diagnostics()
    assert found.message == "y: 12x over tolerance (m.onnx, fp16, cpu)"
    rows = [line for line in found.details if line.startswith("run ")]
    assert rows[0] == "run 1000 of 1000 at test_it.py:999, inputs x [2, 8], ONNX Runtime 1.24.1"
    assert rows[1] == "run 999 at test_it.py:998, inputs x [2, 8]: y: 12x over tolerance"
    assert len(rows) == 10
    assert "and 990 other runs failed by less" in found.details
    assert len(found.details) < 20
    (result,) = of.results()
    assert (result.runs, result.failed_runs) == (1000, 1000)
    assert (found.facts["runs"], found.facts["failed_runs"]) == (1000, 1000)
    assert [output.compared for output in result.outputs] == [6000]


def test_an_int8_failure_names_the_known_fault_of_this_version_on_this_cpu(tmp_path, monkeypatch):
    cpuinfo = tmp_path / "cpuinfo"
    cpuinfo.write_text("flags : amx_int8\n")
    monkeypatch.setattr("pytest_trt.engine.known_faults.CPUINFO", cpuinfo)
    for precision, known in (("int8", True), ("fp16", False)):
        of = check()
        run(of, 0.5, on=engine(precision))
        (found,) = of.diagnostics()
        assert ("onnxruntime>=1.25" in str(found.remedy.commands)) == known


def test_the_retained_run_is_as_it_was_when_it_was_compared():
    of = check(retained="failed")
    inputs, outputs = {"x": np.ones((2, 8))}, {"y": REFERENCE["y"] + 1.0}
    of.observe(engine(), inputs, outputs, "test_it.py:1")
    inputs["x"][:], outputs["y"][:] = 0.0, 0.0
    (evidence,) = of.evidence()
    assert evidence.inputs["x"].all()
    assert (evidence.outputs["y"] == 2.0).all()


def test_an_offered_tolerance_covers_every_run():
    of = check()
    run(of, 0.011)
    run(of, np.array([[0.0] * 3, [0.0115] * 3]))
    (found,) = of.diagnostics()
    assert found.facts["offer"] == {"y": {"rtol": 0.0, "atol": 0.012}}
    ranked = check(Tolerance(0.0, 0.01, nan="forbid"))
    run(ranked, 0.011)
    run(ranked, np.nan)
    (found,) = ranked.diagnostics()
    assert found.facts["offer"] is None


@pytest.mark.parametrize(
    ("outputs", "tried", "passing"),
    [([1.0, 2.0], ["a", "b"], ""), ([0.5, 0.0], ["a", "b"], "b"), ([0.0, 0.0], ["a"], "a")],
)
def test_options_are_tried_once_on_the_first_run_that_fails(outputs, tried, passing):
    calls = []

    def attempts(engine, inputs):
        calls.append(inputs)
        yield from zip("ab", ({"y": REFERENCE["y"] + by} for by in outputs), strict=True)

    of = check(attempts=attempts)
    run(of, 0.0)
    for _ in range(3):
        run(of, 1.0)
    (found,) = of.diagnostics()
    assert len(calls) == 1
    assert (found.facts["tried"], found.facts["passing"]) == (tried, passing)
    assert of.results()[0].diagnostics == (found,)


@pytest.mark.parametrize(("failing", "offered"), [(1, True), (2, False)])
def test_a_share_is_offered_only_where_one_run_needs_it(failing, offered):
    of = ConsistencyCheck(lambda _: {"y": Tolerance(0, 0)}, lambda _: {"y": np.arange(8)})
    for number in range(3):
        outputs = {"y": np.array([9 if number < failing else 0, *range(1, 8)])}
        of.observe(engine(), {}, outputs, "test_it.py:1")
    (found,) = of.diagnostics()
    assert (found.facts["offer"] is not None) is offered


def test_each_engine_has_its_own_result_and_the_worst_comes_first():
    of = check()
    run(of, 0.02, on=engine("fp16"))
    run(of, 0.5, on=engine("int8"))
    run(of, 0.0, on=engine("fp32"))
    assert [one.facts["precision"] for one in of.diagnostics()] == ["int8", "fp16"]
    assert [result.precision for result in of.results()] == ["fp16", "int8", "fp32"]
    verdicts = [result.verdict for result in of.results()]
    assert verdicts == [Verdict.FAILED, Verdict.FAILED, Verdict.PASSED]


def test_a_failing_run_is_reported_right_after_it_was_compared():
    seen = []
    of = check(on_failure=seen.append)
    run(of, 0.0)
    assert seen == []
    run(of, 1.0)
    assert [one.code for (one,) in seen] == ["TRT401"]


def test_notes_of_the_build_explain_where_an_overflow_begins():
    notes = [f"constant c{i} became 65504" for i in range(6)]
    of = check()
    run(of, np.nan, on=engine(notes=notes))
    (found,) = of.diagnostics()
    assert "at build time: constant c0 became 65504" in found.details
    assert "and 2 more notes, in the report" in found.details


def test_a_difference_of_a_random_model_is_attributed_to_its_random_numbers():
    of = check()
    run(of, 0.5, on=engine("fp32", op_types={"Add": 1, "RandomNormalLike": 1}))
    run(of, 0.5, on=engine("fp16", op_types={"Add": 1}))
    texts = [one.remedy.text for one in of.diagnostics()]
    assert ["random numbers (RandomNormalLike)" in text for text in texts] == [True, False]


def test_a_twin_has_the_same_tolerances_and_no_runs():
    of = check()
    run(of, 1.0)
    twin = of.twin()
    assert not twin.has_failed
    run(twin, 1.0)
    assert twin.has_failed


def model(name):
    return SimpleNamespace(
        path=Path(name),
        inputs=(),
        outputs=(),
        elements={},
        is_quantized=False,
        size_bytes=3 * 10**9,
        digest=name,
    )


def unable(_):
    raise ModelError("only TensorRT runs it", fix="use TensorRT")


@pytest.mark.parametrize(
    ("own", "agrees"),
    [(lambda _: {"y": REFERENCE["y"] + 1}, True), (lambda _: REFERENCE, False), (unable, None)],
)
def test_a_failing_run_is_compared_with_the_engines_own_model(own, agrees):
    other = OtherReference(model("new.onnx"), model("ref.onnx"), own)
    of = check(other=other)
    run(of, 1.0)
    (found,) = of.diagnostics()
    assert (found.code == "TRT415") is (agrees is True)
    stated = "the engine does not agree with its own model in FP32 either" in found.details
    assert stated is (agrees is False)


def test_a_measure_that_cannot_be_checked_is_not_a_disagreement():
    other = OtherReference(model("new.onnx"), model("ref.onnx"), lambda _: REFERENCE)
    tolerances = {"y": Tolerance(0.0, 0.01, topk=(20, 0.9))}
    failed = compare_outputs({"y": REFERENCE["y"] + 1}, REFERENCE)
    agrees, _ = other.agrees({}, failed, lambda own: compare_outputs(REFERENCE, own, tolerances))
    assert agrees


_EITHER = "the engine does not agree with its own model in FP32 either"


@pytest.mark.parametrize(
    ("wrong", "by", "elements", "code", "line"),
    [
        (6, 2.0, 1, "TRT415", "the engine differs from its own model in FP32 too: y: 200x *"),
        (2, 2.0, 1, "TRT415", "the engine differs from its own model in FP32 too: y: 200x *"),
        (1, 2.0, 1, "TRT401", _EITHER),
        (0, 2.0, 1, "TRT401", _EITHER),
        # In all elements, but by little.
        (6, 0.5, 6, "TRT415", "the engine differs from its own model in FP32 too: y: 50x *"),
        (6, 2.0, 6, "TRT401", _EITHER),
    ],
)
def test_most_of_a_difference_may_be_that_of_the_model(wrong, by, elements, code, line):
    """Such as a near tie that FP16 decides otherwise, beside another export of the model."""
    own = REFERENCE["y"].copy()
    own.reshape(-1)[:wrong] += 1.0
    outputs = own.copy()
    outputs.reshape(-1)[:elements] += by
    other = OtherReference(model("new.onnx"), model("ref.onnx"), lambda _: {"y": own})
    of = check(other=other)
    of.observe(engine("fp16"), {"x": np.ones((2, 8))}, {"y": outputs}, "test_it.py:1")
    (found,) = of.diagnostics()
    assert found.code == code
    assert fnmatch.filter(found.details, line)
    is_model = found.remedy.text.startswith("Most of the difference arises because new.onnx")
    assert is_model is (code == "TRT415")


@pytest.mark.parametrize("wrong", [False, True])
def test_rows_in_another_order_are_named_with_how_to_compare_them(wrong):
    """Such as detections, whose scores nearly tie: no rounding and no overflow explains that."""
    boxes = np.arange(40.0).reshape(10, 4) ** 2
    of = ConsistencyCheck(lambda _: {"boxes": TOLERANCE}, lambda _: {"boxes": boxes})
    outputs = boxes[[0, 2, 1, *range(3, 10)]] if not wrong else boxes + 100.0
    of.observe(engine(), {"x": np.ones((2, 8))}, {"boxes": outputs}, "test_it.py:1")
    (found,) = of.diagnostics()
    line = "the 2 rows along axis 0 that differ are those of the reference in another order"
    assert (line in found.details) is not wrong
    assert ("Compare them in any order" in found.remedy.text) is not wrong
    assert ("overflow" in found.remedy.text) is wrong


@pytest.mark.parametrize(("rows", "code"), [(3, "TRT415"), (4, "TRT404")])
def test_another_number_of_rows_may_be_that_of_the_model(rows, code):
    """Such as a detector whose threshold differs from that of its reference."""
    own = {"y": np.ones((3, 3))}
    other = OtherReference(model("new.onnx"), model("ref.onnx"), lambda _: own)
    of = check(other=other)
    outputs = np.ones((rows, 3))
    outputs[0, 0] = 2.0
    of.observe(engine("fp16"), {"x": np.ones((2, 8))}, {"y": outputs}, "test_it.py:1")
    (found,) = of.diagnostics()
    assert found.code == code


@pytest.mark.parametrize("whole", [True, False])
def test_metrics_need_all_of_a_stored_answer(whole):
    answer = {"y": REFERENCE["y"] if whole else sketch_of(REFERENCE["y"], 100)}
    stored = SimpleNamespace(
        compares_model=lambda: False,
        answer=lambda _: answer,
        measure=lambda *_: None,
        about=lambda: (),
        argument="test_it.py",
        update_command="pytest --trt-update",
        update_tests=[],
        update_options=(),
    )
    (metric,) = resolve_metrics(
        [TensorSpec("y", "float64", (2, 3))], parse_metrics({"max_abs": "<= 0.01"}, "here"), {}
    )
    of = check(stored=stored, metrics=lambda _: [metric])
    run(of, 0.005)
    (result,) = of.results()
    assert (result.verdict is Verdict.PASSED) is whole
    problem = result.metrics[0].problem
    assert problem == "" if whole else "only a sketch of 'y' is stored" in problem
    assert [one.code for one in of.diagnostics()] == ([] if whole else ["TRT679"])


@pytest.mark.parametrize(("values", "measured"), [([0.0, 9.0], 3 + 1), ([1.0, 1.0], 3 + 3)])
def test_what_one_run_shows_to_fail_is_not_tried_in_the_others(monkeypatch, values, measured):
    calls = []
    value = MetricCheck._value
    monkeypatch.setattr(MetricCheck, "_value", lambda *a: calls.append(1) or value(*a))
    outputs = [TensorSpec("y", "float32", (2, 3))]
    metrics = resolve_metrics(outputs, parse_metrics({"max_abs": "<= 0.1"}, "marker"), {})
    reference = {"y": np.repeat(np.array(values)[:, None], 3, axis=1)}
    of = ConsistencyCheck(
        lambda _: {"y": Tolerance(0, 0, elementwise=False)},
        lambda _: reference,
        metrics=lambda _: metrics,
    )
    for line in range(2):
        of.observe(engine(), {"x": np.ones((2, 8))}, dict(reference), f"test_it.py:{line}")
    (result,) = of.results()
    assert len(calls) == measured
    assert result.metrics[0].one_value is result.metrics[0].same_samples is (measured == 6)
