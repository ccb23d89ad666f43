"""What a failure says: the headline, the details, and the same as facts."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest

from pytest_trt.accuracy.compare import compare_outputs
from pytest_trt.accuracy.explanation import explain, explain_stored
from pytest_trt.accuracy.result import merge_runs
from pytest_trt.accuracy.subject import OtherModel, Subject
from pytest_trt.accuracy.tolerance import Tolerance
from pytest_trt.codes import CODES
from pytest_trt.diagnostics import Remedy
from pytest_trt.engine.known_faults import KnownFault
from pytest_trt.records import to_data
from pytest_trt.tensors.calibration import OutsideRange

ONES = np.ones((2, 4))
LOOSE = Tolerance(0.01, 0.01, origin="set on the marker")
EXACT = Tolerance(0.0, 0.0)
SUBJECT = Subject("digits.onnx", "models/digits.onnx", "int8", "cpu")

#: What is left of the line after "Failed: " in pytest's short summary at 80 columns.
SURVIVES = 45


def with_values(*values, fill=1.0):
    array = np.full((2, 4), fill)
    array.ravel()[: len(values)] = values
    return array


def explained(actual, reference, tolerance=LOOSE, subject=SUBJECT, **options):
    comparison = compare_outputs(actual, reference, dict.fromkeys(reference, tolerance))
    return explain(comparison, subject, **options)


def details_of(actual, reference, tolerance=LOOSE):
    return explained({"y": np.asarray(actual)}, {"y": np.asarray(reference)}, tolerance).details


def test_a_known_fault_of_the_backend_comes_first():
    fault = KnownFault("ONNX Runtime before 1.25 computes INT8 incorrectly", Remedy("Upgrade it:"))
    subject = replace(SUBJECT, fault=fault)
    found = explained({"y": ONES * 2}, {"y": ONES}, subject=subject)
    assert found.details[0] == f"likely cause: {fault.text}"
    assert found.facts["known_fault"] == fault.text
    assert found.remedy.text == "Upgrade it:"
    assert found.remedy.alternatives[0].startswith("If it still fails: ")
    # It is no cause of a wrong shape.
    shape = explained({"y": ONES[:1]}, {"y": ONES}, subject=subject)
    assert "known_fault" not in shape.facts
    assert "Upgrade" not in str(shape)


def test_the_whole_text_of_a_mismatch():
    reference = {"probs": np.linspace(0.5, 1, 20).reshape(4, 5), "logits": np.ones(3)}
    actual = {name: array.copy() for name, array in reference.items()}
    actual["probs"][2, 3] += 0.03
    actual["logits"] += 0.005
    found = explained(actual, reference, context=["run 1 of 1 at test_it.py:7"])
    assert str(found).splitlines() == [
        "probs: 1.63x over tolerance (digits.onnx, int8, cpu) [TRT401]",
        "  1 of 20 elements (5%) differ by more than 0.01 + 0.01*|reference| (set on the marker)",
        "  worst at [2, 3]: 0.8721, reference 0.8421",
        "  only row 2 of 4 along axis 0 differs",
        "  smallest tolerance that passes: atol=0.02158 at rtol=0.01, or rtol=0.02376 at atol=0.01",
        "  run 1 of 1 at test_it.py:7",
        "  logits: passed, 25% of the tolerance used",
        "Fix: If this difference is acceptable for 'probs', set:",
        '    outputs={"probs": {"rtol": 0.01, "atol": 0.022}}',
    ]


def test_facts_have_everything_that_the_text_says():
    reference = {"probs": np.linspace(0.5, 1, 20).reshape(4, 5)}
    actual = {"probs": reference["probs"].copy()}
    actual["probs"][2, 3] += 0.03
    facts = json.loads(json.dumps(to_data(explained(actual, reference).facts), allow_nan=False))
    assert facts.pop("needed_rtol") == pytest.approx(0.02376, rel=1e-3)
    assert facts.pop("needed_atol") == pytest.approx(0.02158, rel=1e-3)
    assert facts.pop("used") == pytest.approx(1.629, rel=1e-3)
    assert facts == {
        "model": "digits.onnx",
        "path": "models/digits.onnx",
        "precision": "int8",
        "arch": "cpu",
        "several_precisions": False,
        "reference": None,
        "kind": "mismatch",
        "output": "probs",
        "outputs": ["probs"],
        "mismatched": 1,
        "total": 20,
        "rtol": 0.01,
        "atol": 0.01,
        "worst_index": [2, 3],
        "worst_actual": pytest.approx(0.8721, rel=1e-3),
        "worst_reference": pytest.approx(0.8421, rel=1e-3),
        "offer": {"probs": {"rtol": 0.01, "atol": 0.022}},
    }


@pytest.mark.parametrize(
    ("actual", "reference", "fact", "code"),
    [
        ({"a": ONES * 1.173, "b": ONES}, {"a": ONES, "b": ONES}, "a: 8.65x over tolerance", 401),
        ({"a": with_values(1.0200001)}, {"a": ONES}, "a: just over tolerance", 401),
        ({"a": with_values(1.0, fill=0.0)}, {"a": ONES * 0}, "a: 100x over tolerance", 401),
        ({"a": with_values(np.nan)}, {"a": ONES}, "a: NaN in the output", 402),
        ({"a": with_values(-np.inf, np.nan)}, {"a": ONES}, "a: NaN and Inf in the output", 402),
        (
            {"a": ONES * np.inf, "b": ONES * np.inf},
            {"a": ONES, "b": ONES},
            "a and b: Inf in the output",
            402,
        ),
        ({"a": ONES}, {"a": with_values(np.nan)}, "a: the reference is not finite", 403),
        ({"a": ONES[:1], "b": ONES[:1]}, {"a": ONES, "b": ONES}, "a and b: wrong shape", 404),
        ({"a": ONES.astype("f4")}, {"a": ONES}, "a: wrong dtype", 405),
        ({"a": ONES}, {"a": ONES, "b": ONES}, "b is missing", 406),
        ({"a": ONES}, {"a": ONES, "b": ONES, "c": ONES}, "b and c are missing", 406),
        ({"a": ONES, "b": ONES}, {"a": ONES}, "b is not in the reference", 406),
        ({"a": ONES, "c": ONES}, {"a": ONES, "b": ONES}, "b is missing, c is new", 406),
        ({"a": ONES, "b": ONES + 5}, {"a": ONES + 5, "b": ONES}, "a and b are swapped", 407),
        ({"a": np.array(["x"])}, {"a": np.array(["y"])}, "a: 1 of 1 element differ", 413),
        ({"a": ONES[:0]}, {"a": ONES[:0]}, "nothing compared", 400),
        ({}, {}, "nothing compared", 400),
    ],
)
def test_each_kind_has_its_headline_and_code(actual, reference, fact, code):
    found = explained(actual, reference)
    assert found.headline == f"{fact} (digits.onnx, int8, cpu) [TRT{code}]"
    assert found.severity == "error"
    assert found.code in CODES


@pytest.mark.parametrize(
    ("tolerance", "fact", "code"),
    [
        (EXACT, "label: 1 of 8 elements differ", 413),
        (Tolerance(0.01, 0.01, max_mismatch_pct=5), "label: 1 of 8 elements over tolerance", 401),
        (Tolerance(9.0, 9.0, top1=0.9), "label: top1 0.5 < 0.9", 410),
        (Tolerance(9.0, 9.0, topk=(3, 0.9)), "label: top3 0.8333 < 0.9", 410),
        (Tolerance(9.0, 9.0, cosine=0.999), "label: cosine 0.8695 < 0.999", 411),
        (Tolerance(9.0, 9.0, topk=(5, 0.9)), "label: cannot be checked as requested", 412),
    ],
)
def test_each_measure_has_its_own_headline(tolerance, fact, code):
    reference = np.array([[9, 8, 7, 0], [9, 8, 7, 0]])
    actual = np.array([[9, 8, 7, 0], [2, 8, 7, 0]])
    if tolerance.topk == (3, 0.9):
        actual = np.array([[9, 8, 7, 0], [9, 8, 7, 7.5]])
        reference = reference.astype(float)
    found = explained({"label": actual}, {"label": reference}, tolerance)
    assert found.headline == f"{fact} (digits.onnx, int8, cpu) [TRT{code}]"


def test_the_fact_survives_with_names_of_any_length():
    names = [f"StatefulPartitionedCall/model/dense_{i}/BiasAdd:0" for i in range(4)]
    reference = dict.fromkeys(names, ONES)
    far = explained(dict.fromkeys(names, ONES * 1.173), reference)
    assert far.message.index("8.65x") + len("8.65x") <= SURVIVES
    assert far.details[0] == names[0]
    nan = explained(dict.fromkeys(names, ONES * np.nan), reference)
    assert nan.message.index("NaN") + len("NaN") <= SURVIVES


def test_two_long_names_that_are_swapped_are_both_in_the_headline():
    one, other = "StatefulPartitionedCall:0", "StatefulPartitionedCall:1"
    found = explained({one: ONES, other: ONES + 5}, {one: ONES + 5, other: ONES})
    assert found.message.startswith("State..all:0 and State..all:1 are swapped (")


def test_names_that_differ_at_their_ends_stay_different():
    name = "StatefulPartitionedCall/model/dense/BiasAdd:{}".format
    lines = [explained({name(i): ONES * 2}, {name(i): ONES}).message for i in range(2)]
    assert lines[0] != lines[1]


def test_ranges_of_an_engine_do_not_explain_what_its_model_computes() -> None:
    outside = (OutsideRange("x", (-1.0, 1.0), (-4.0, 4.0), 1, 1, 100, 50),)
    sides = compare_outputs({"y": np.ones(3)}, {"y": np.zeros(3)}, LOOSE)
    subject = Subject("m.onnx", "m.onnx", "int8", "cpu", outside=outside)
    for changed, shown in ((None, True), (sides, False)):
        found = explain_stored(sides, changed, subject, runs=sides, update="pytest --trt-update")
        assert any("calibrated" in line for line in found.details) is shown


def test_outside_of_a_test_the_headline_ends_with_the_fact():
    found = compare_outputs({"a": ONES * 1.173}, {"a": ONES}, {"a": LOOSE}).diagnostics[0]
    assert found.message == "a: 8.65x over tolerance"


def test_each_further_output_has_one_row_the_worst_first():
    names = [f"y{i}" for i in range(20)]
    reference = dict.fromkeys(names, ONES)
    actual = {name: ONES * (1 + 0.03 * i) for i, name in enumerate(names)}
    found = explained(actual, reference)
    assert found.message.startswith("y19: ")
    *rows, failed, passed = found.details[-12:]
    assert [row.partition(":")[0] for row in rows] == [f"y{i}" for i in range(18, 8, -1)]
    assert rows[0] == "y18: 27x over tolerance (8 of 8 elements)"
    assert (failed, passed) == ("and 8 more outputs failed", "and 1 more output passed")


def test_a_row_of_what_passed_shows_what_the_tolerance_left_out():
    few = Tolerance(0.01, 0.01, max_mismatch_pct=25)
    same = Tolerance(0.01, 0.01, nan="match")
    comparison = compare_outputs(
        {"bad": ONES * 2, "few": with_values(1.2), "same": with_values(np.nan)},
        {"bad": ONES, "few": ONES, "same": with_values(np.nan)},
        {"bad": LOOSE, "few": few, "same": same},
    )
    rows = explain(comparison, SUBJECT).details
    assert "few: passed, 12.5% of the elements over tolerance (25% may be)" in "".join(rows)
    assert "1 non-finite position the same on both sides" in "".join(rows)


def test_infinite_figures_are_text_as_json_has_none():
    facts = explained({"y": ONES * np.nan}, {"y": ONES}).facts
    assert facts["used"] == "inf"
    json.dumps(facts, allow_nan=False)


def test_integers_are_compared_exactly_and_no_tolerance_is_shown():
    exact = Tolerance(0, 0, origin="default for this type")
    details = details_of(np.array([3, 2]), np.array([1, 2]), exact)
    assert details == (
        "50% of the elements differ; equality is required (default for this type)",
        "first at [0]: 3, reference 1",
    )


def test_the_scores_come_first_where_a_class_fails_with_them():
    actual = {"label": np.array([3, 2]), "scores": np.array([1.03, 1.0])}
    reference = {"label": np.array([1, 2]), "scores": np.array([1.0, 1.0])}
    comparison = compare_outputs(actual, reference, {"label": EXACT, "scores": LOOSE})
    assert explain(comparison).message.startswith("scores: ")


def test_a_tolerance_is_not_offered_where_something_else_fails_too():
    details = details_of([1.03, np.nan], [1.0, 1.0])
    assert not any("smallest tolerance" in line for line in details)


def test_strings_show_the_first_difference():
    assert "first at [1]: 'cow', reference 'dog'" in details_of(["cat", "cow"], ["cat", "dog"])


def test_values_that_are_equal_in_four_digits_are_shown_in_full():
    assert "first at [0]: 1.00001, reference 1.0" in details_of([1.00001], [1.0], EXACT)


def test_the_worst_place_is_where_most_of_the_tolerance_is_used():
    details = details_of([1005.0, 1.05, 1e-9], [1000.0, 1.0, 1e-12])
    assert "worst at [1]: 1.05, reference 1" in details


def test_an_empty_output_next_to_another_is_named():
    outputs = {"y": np.zeros((0, 3)), "z": np.zeros(2)}
    found = explained({**outputs, "z": np.ones(2)}, outputs)
    assert "y: passed, but it has no elements ([0, 3])" in found.details


@pytest.mark.parametrize(
    ("rows", "text"),
    [
        ([2], "only row 2 of 4 along axis 0 differs"),
        ([1, 2], "rows 1 to 2 of 4 along axis 0 differ"),
        ([0, 3], "2 of 4 rows along axis 0 differ (0 to 3)"),
        ([0, 1, 2, 3], "all 4 rows along axis 0 differ"),
    ],
)
def test_rows_with_mismatches_are_named(rows, text):
    reference = np.ones((4, 3))
    actual = reference.copy()
    actual[rows] += 1
    assert text in details_of(actual, reference)


def test_a_single_row_is_not_named():
    assert not any("row" in line for line in details_of(np.ones((1, 3)) + 1, np.ones((1, 3))))


@pytest.mark.parametrize(
    ("agrees", "code", "said"),
    [(True, "TRT415", False), (False, "TRT401", True), (None, "TRT401", False)],
)
def test_agreement_with_the_own_model_is_stated_only_where_it_was_computed(agrees, code, said):
    subject = Subject(
        "v2.onnx", "v2.onnx", "fp16", "cpu", other=OtherModel("v1.onnx", "v2.onnx", agrees)
    )
    found = explained({"y": ONES * 1.03}, {"y": ONES}, subject=subject)
    assert found.code == code
    assert found.message == "y: 1.5x over tolerance against v1.onnx (v2.onnx, fp16, cpu)"
    assert ("the engine does not agree with its own model in FP32 either" in found.details) is said
    assert found.facts["reference"] == "v1.onnx"


def test_a_tolerance_is_offered_only_if_all_runs_would_pass():
    references = [{"y": np.array([[2.0, 1.0, 0.0]])}, {"y": np.array([[2.0, 2.01, 0.0]])}]
    tolerance = {"y": Tolerance(0.0, 0.05, top1=0.9)}
    actual = {"y": np.array([[2.1, 1.0, 0.0]])}
    runs = [compare_outputs(actual, reference, tolerance) for reference in references]
    assert explain(runs[0]).facts["offer"] is not None
    assert explain(runs[0], runs=merge_runs(runs)).facts["offer"] is None


@pytest.mark.parametrize(
    ("no_reference", "first"),
    [
        ("", "the model's own FP32 outputs agree with the stored answers: the engine differs"),
        ("no kernel", "the model's own FP32 outputs could not be computed for these inputs: no"),
    ],
)
def test_own_outputs_agree_with_stored_answers_only_if_they_were_computed(
    no_reference: str, first: str
) -> None:
    compared = compare_outputs({"y": np.ones(4)}, {"y": np.zeros(4)}, LOOSE)
    found = explain_stored(
        compared, None, SUBJECT, runs=compared, update="", no_reference=no_reference
    )
    assert found.details[0].startswith(first)
