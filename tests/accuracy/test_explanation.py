from __future__ import annotations

import ast
from dataclasses import replace

import numpy as np
import pytest

from pytest_trt.accuracy.compare import compare_outputs
from pytest_trt.accuracy.explanation import explain
from pytest_trt.accuracy.remedy import OtherModel
from pytest_trt.accuracy.tolerance import Tolerance
from pytest_trt.units import rounded_up, share

LOOSE = Tolerance(rtol=1e-2, atol=1e-2, origin="marker")


def lines_for(actual, reference, tolerance=LOOSE, /, **kwargs):
    comparison = compare_outputs(actual, reference, dict.fromkeys(reference, tolerance))
    return explain(comparison, subject="run 1, fp16 on sm86", **kwargs)


def fix_for(actual, reference, tolerance=LOOSE, **kwargs):
    lines = lines_for({"y": np.asarray(actual)}, {"y": np.asarray(reference)}, tolerance, **kwargs)
    (fix,) = [line for line in lines if line.startswith("Fix: ")]
    assert fix == lines[-1]
    return fix


@pytest.fixture
def reference():
    return {"probs": np.linspace(0.5, 1, 20).reshape(4, 5), "logits": np.ones(3)}


def test_the_whole_text_of_a_mismatch(reference):
    actual = {name: array.copy() for name, array in reference.items()}
    actual["probs"][2, 3] += 0.03
    actual["logits"] += 0.005
    assert lines_for(actual, reference) == [
        "probs at 1.63x its tolerance (run 1, fp16 on sm86): 1 of 2 outputs failed.",
        "  probs: float64[4, 5]",
        "    1 of 20 elements (5%) mismatched.",
        "    allowed: |actual - reference| <= 0.01 + 0.01 * |reference|  (marker)",
        "    worst absolute difference 0.03 at [2, 3] (actual 0.8721, reference 0.8421), "
        "allowed 0.01842, 1.63 times that",
        "    worst relative difference 0.03563 at [2, 3] (actual 0.8721, reference 0.8421), "
        "allowed 0.02188",
        "    mismatches are in row 2 of 4 along axis 0; the others agree",
        "    the smallest tolerance that would have passed: atol=0.02158 at rtol=0.01, "
        "or rtol=0.02376 at atol=0.01",
        "  logits: passed, 25% of the tolerance used",
        "Fix: if this difference is acceptable for 'probs', allow it: "
        'outputs={"probs": {"rtol": 0.01, "atol": 0.022}}.',
    ]


def test_a_passing_comparison_has_a_line_per_output_and_no_fix(reference):
    actual = {name: array.copy() for name, array in reference.items()}
    assert lines_for(actual, reference) == [
        "run 1, fp16 on sm86: 2 of 2 outputs passed.",
        "  probs: passed, equal in every element",
        "  logits: passed, equal in every element",
    ]


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("scale", [1e-6, 1.0, 1e6])
def test_the_pasted_tolerance_passes(seed, scale):
    rng = np.random.default_rng(seed)
    reference = rng.standard_normal((8, 10)) * scale
    actual = reference + rng.standard_normal((8, 10)) * 0.02 * scale
    tolerance = Tolerance(0.01, 0.02 * scale, nan="match", max_mismatch_pct=0.5, origin="marker")
    fix = fix_for(actual, reference, tolerance)
    pasted = ast.literal_eval(fix.split("outputs=")[1].removesuffix("."))["y"]
    assert pasted.keys() == {"rtol", "atol", "nan", "max_mismatch_pct"}
    again = compare_outputs({"y": actual}, {"y": reference}, {"y": Tolerance(**pasted)})
    assert again.passed


def test_the_element_furthest_beyond_is_shown_where_it_is_not_the_largest_difference():
    actual, reference = np.array([1005.0, 1.05, 1e-9]), np.array([1000.0, 1.0, 1e-12])
    lines = lines_for({"y": actual}, {"y": reference})
    assert any("furthest beyond its tolerance, 2.5 times it, at [1]" in line for line in lines)


@pytest.mark.parametrize(
    ("precision", "words"),
    [("fp16", "65504"), (None, "if the engine computes in FP16"), ("fp32", "FP32's range")],
)
def test_nonfinite_values_of_the_engine_point_to_overflow_where_that_can_be(precision, words):
    assert words in fix_for([np.inf, 1.0], [1.0, 1.0], precision=precision)


def test_nonfinite_values_of_the_reference_point_to_the_model():
    fix = fix_for([np.inf, 1.0], [np.inf, 1.0])
    assert "the reference of 'y' computes in FP32" in fix
    assert 'outputs={"y": {"nan": "match"}}' in fix


def test_the_worst_finding_decides_the_fix():
    assert "overflow" in fix_for([np.inf, 9.0], [1.0, 1.0], precision="fp16")


def test_a_large_difference_is_not_answered_with_a_tolerance():
    fix = fix_for([500.0, 1.0], [1.0, 1.0])
    assert "preprocessed inputs" in fix
    assert "outputs=" not in fix


@pytest.mark.parametrize(
    ("shape", "batch"),
    [((8, 3), True), ((8, 1), True), ((8, 3, 5), True), ((8, 1, 3), False), ((8, 1, 4, 4), False)],
)
def test_wrong_later_rows_point_to_the_batch_unless_axis_0_may_be_time(shape, batch):
    reference = np.ones(shape)
    actual = reference.copy()
    actual[1:] += 0.5
    fix = fix_for(actual, reference)
    assert ("at batch 1" in fix) is batch
    assert ("along axis 0" in fix) is batch


def test_axis_0_of_different_lengths_is_no_batch():
    reference = {"y": np.ones((8, 4, 3)), "state": np.ones((1, 4, 3))}
    actual = {name: array.copy() for name, array in reference.items()}
    actual["y"][1:] += 0.5
    assert "batch 1" not in lines_for(actual, reference)[-1]


def test_wrong_rows_here_and_there_do_not_point_to_the_batch():
    reference = np.ones((8, 3))
    actual = reference.copy()
    actual[[1, 7]] += 0.5
    assert "at batch 1" not in fix_for(actual, reference)


def test_integers_are_told_to_be_exact_and_not_given_an_atol():
    exact = Tolerance(0, 0, origin="integers are exact")
    lines = lines_for({"y": np.array([3, 2])}, {"y": np.array([1, 2])}, exact)
    assert "    allowed: no difference  (integers are exact)" in lines
    assert not any("smallest tolerance" in line for line in lines)
    assert 'outputs={"y": {"max_mismatch_pct": 50}}' in lines[-1]


def test_the_fix_is_for_the_scores_where_a_class_fails_with_them():
    actual = {"label": np.array([3, 2]), "scores": np.array([1.03, 1.0])}
    reference = {"label": np.array([1, 2]), "scores": np.array([1.0, 1.0])}
    tolerances = {"label": Tolerance(0, 0), "scores": LOOSE}
    comparison = compare_outputs(actual, reference, tolerances)
    assert "'scores'" in explain(comparison, subject="run 1")[-1]


def test_a_tolerance_is_not_said_to_pass_where_something_else_fails_too():
    lines = lines_for({"y": np.array([1.03, np.nan])}, {"y": np.array([1.0, 1.0])})
    (line,) = [line for line in lines if "smallest tolerance" in line]
    assert "under which every finite element passes" in line


def test_strings_show_the_first_difference():
    lines = lines_for({"y": np.array(["cat", "cow"])}, {"y": np.array(["cat", "dog"])})
    assert "    first difference at [1] (actual 'cow', reference 'dog')" in lines


def test_a_changed_ranking_beyond_the_tolerance_is_not_answered_with_a_tolerance():
    tolerance = Tolerance(0.01, 0.01, top1=0.9)
    fix = fix_for([[0.5, 0.53]], [[0.5, 0.49]], tolerance)
    assert "outputs=" not in fix
    assert "in FP32" in fix


def test_a_changed_ranking_within_the_tolerance_is_named_as_such():
    tolerance = Tolerance(1.0, 1.0, top1=0.9)
    assert "the ranking of 'y' changed" in fix_for([[0.5, 0.51]], [[0.5, 0.49]], tolerance)


@pytest.mark.parametrize(
    ("actual", "reference", "words"),
    [
        ({"b": np.zeros(2)}, {"a": np.zeros(2)}, "old output names"),
        ({"a": np.zeros(2)}, {"a": np.zeros(2), "b": np.zeros(3)}, "mark the tensor as an output"),
        ({"a": np.zeros(2), "b": np.zeros(3)}, {"a": np.zeros(2)}, "renew the reference"),
        ({"a": np.zeros(2)}, {"a": np.zeros(3)}, "feed both sides the same inputs"),
        ({"a": np.zeros(2, "f4")}, {"a": np.zeros(2)}, "cast the output"),
        ({}, {}, "compare at least one output"),
    ],
)
def test_structural_findings_have_their_own_fix(actual, reference, words):
    assert words in lines_for(actual, reference)[-1]


def test_values_that_look_alike_in_four_digits_are_shown_in_full():
    lines = lines_for({"y": np.array([1.00001])}, {"y": np.array([1.0])}, Tolerance(0, 0))
    assert any("(actual 1.00001, reference 1.0)" in line for line in lines)


def test_an_empty_output_beside_another_is_told():
    outputs = {"y": np.zeros((0, 3)), "z": np.zeros(2)}
    assert "  y: passed, but it has no elements ([0, 3])" in lines_for(outputs, outputs)


def test_outputs_that_are_all_empty_are_not_said_to_pass():
    outputs = {"y": np.zeros((0, 3)), "z": np.zeros(0)}
    assert lines_for(outputs, outputs) == [
        "nothing compared (run 1, fp16 on sm86): no value was compared.",
        "  nothing was compared: all 2 outputs have 0 elements ('y' [0, 3], 'z' [0]).",
        "Fix: give inputs for which the model finds something: an output without elements is right "
        "whatever the engine computes.",
    ]


@pytest.mark.parametrize(
    ("value", "expected"), [(0.0231, 0.024), (0.02, 0.02), (1e-7, 1e-7), (99.1, 100.0), (0.0, 0.0)]
)
def test_rounding_up_never_goes_below(value, expected):
    assert rounded_up(value) == expected


@pytest.mark.parametrize(
    ("pct", "text"), [(0.0, "0%"), (1e-5, "under 0.01%"), (99.99, "over 99.9%"), (100.0, "100%")]
)
def test_shares_are_never_rounded_to_nothing_or_everything(pct, text):
    assert share(pct) == text


def test_the_pasted_tolerances_cover_every_output_that_fails_and_pass():
    reference = {"a": np.linspace(0.5, 1, 20), "b": np.linspace(1, 2, 20), "c": np.ones(2)}
    actual = {"a": reference["a"] * 1.03, "b": reference["b"] * 1.04, "c": reference["c"]}
    fix = lines_for(actual, reference)[-1]
    pasted = ast.literal_eval(fix.partition("outputs=")[2].rstrip("."))
    assert pasted.keys() == {"a", "b"}
    tolerances = {name: Tolerance(**fields) for name, fields in pasted.items()} | {"c": LOOSE}
    assert compare_outputs(actual, reference, tolerances).passed


@pytest.mark.parametrize(("precision", "usual"), [("fp16", True), ("fp32", False), (None, False)])
def test_a_tolerance_tighter_than_the_precision_holds_is_said_to_be_so(precision, usual):
    tight = Tolerance(rtol=0.0, atol=1e-7)
    fix = fix_for([1.003, 2.0], [1.0, 2.0], tight, precision=precision)
    assert ("fp16 usually differs by this much" in fix) is usual
    assert ("hardly rounding" in fix) is not usual


def test_rows_are_told_where_there_are_several_only():
    reference = np.ones((4, 3))
    assert any(
        "in all 4 rows" in line for line in lines_for({"y": reference + 1}, {"y": reference})
    )
    one = reference[:1]
    assert not any(" row" in line for line in lines_for({"y": one + 1}, {"y": one}))


@pytest.mark.parametrize(
    ("precision", "names_options"), [("fp16", True), ("int8", True), ("fp32", False), (None, False)]
)
def test_lost_precision_names_the_options_that_keep_it(precision, names_options):
    for actual in ([1.5, 100.0], [np.inf, 100.0]):
        fix = fix_for(actual, [1.0, 100.0], precision=precision)
        assert ('trt_model(builder_options={"op_block_list": "..."})' in fix) is names_options
        assert ('{"node_block_list": "..."}' in fix) is names_options


def test_advice_on_nan_names_every_output_that_has_some():
    bad, good = np.array([1.0, np.nan]), np.array([1.0, 2.0])
    fix = lines_for({"a": bad, "b": good, "c": bad}, {"a": good, "b": good, "c": good})[-1]
    assert "before 'a' and 'c' in FP32" in fix


def test_nan_of_the_reference_and_of_the_engine_have_a_fix_each():
    bad, good = np.array([1.0, np.nan]), np.array([1.0, 2.0])
    sides = {"a": bad, "b": bad, "c": bad}, {"a": bad, "b": bad, "c": good}
    fix = lines_for(*sides, precision="fp16")[-1]
    assert "before 'c' in FP32" in fix
    assert "the reference of 'a' and 'b'" in fix
    pasted = ast.literal_eval(fix.partition("set outputs=")[2].rstrip("."))
    assert pasted == {"a": {"nan": "match"}, "b": {"nan": "match"}}


def test_a_policy_that_is_set_already_is_not_offered():
    tolerance = Tolerance(0.01, 0.01, nan="match")
    assert "match" not in fix_for([np.nan, np.nan], [np.nan, 1.0], tolerance)


def test_a_reference_from_another_model_is_named_before_any_other_advice():
    actual, reference = {"y": np.array([1.03, 1.0])}, {"y": np.ones(2)}

    def told(**of):
        other = OtherModel("v1.onnx", "models/v2.onnx", "`git log`", **of)
        return lines_for(actual, reference, precision="fp16", other=other)

    fix = told()[-1]
    assert fix.startswith("Fix: tell first whether the engine or the model is to blame: take ref")
    assert "models/v2.onnx differs from its reference: Bring back what it was: `git log`." in fix
    assert "allow it" in fix
    fix = told(agrees=False)[-1]
    assert fix.startswith("Fix: the engine does not agree with its own model either: ")
    assert "allow it" in fix
    assert "to blame" not in lines_for(actual, reference, precision="fp16")[-1]


def test_engine_that_agrees_with_its_own_model_is_not_offered_a_tolerance():
    actual, reference = {"y": np.array([1.03, 1.0])}, {"y": np.ones(2)}
    other = OtherModel(
        "v1.onnx", "models/v2.onnx", "`git log`", agrees=True, differs="weight w of fc"
    )
    lines = lines_for(actual, reference, precision="fp16", other=other)
    assert lines[-1] == (
        "Fix: models/v2.onnx differs from its reference in weight w of fc, and the engine computes "
        "what models/v2.onnx says, so that none of its options mends this. Bring back what it was: "
        "`git log`. If the change is meant, make it the reference: `cp models/v2.onnx v1.onnx`."
    )
    assert not [line for line in lines if "tolerance that would have passed" in line]
    converted = lines_for(
        actual, reference, precision="fp16", other=replace(other, differs="", converted=True)
    )
    mend = (
        "none of its options mends this. Convert it with more care: calibrate on more inputs from "
        "real use, or leave what loses precision as it was; or, if it is good enough on real data, "
        "allow it: outputs="
    )
    assert mend in converted[-1]


def test_the_element_that_fails_comes_first_and_a_larger_difference_is_said_to_be_allowed():
    lines = lines_for({"y": np.array([1005.0, 0.05])}, {"y": np.array([1000.0, 0.01])})
    told = [line.strip() for line in lines if "worst" in line or "furthest" in line]
    assert told[0].startswith("worst absolute difference 5 at [0]")
    assert told[0].endswith("within the allowed 10.01")
    assert "within" not in told[1]
    lines = lines_for({"y": np.array([1005.0, 1.05, 1e-9])}, {"y": np.array([1000.0, 1.0, 1e-12])})
    told = [line.strip() for line in lines if "worst" in line or "furthest" in line]
    assert told[0].startswith("furthest beyond its tolerance")
