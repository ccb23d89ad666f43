"""What a failure offers: nothing that would not help, and no tolerance that tests nothing."""

from __future__ import annotations

import ast
from dataclasses import replace

import numpy as np
import pytest

from pytest_trt.accuracy.compare import compare_outputs
from pytest_trt.accuracy.explanation import explain
from pytest_trt.accuracy.subject import MovedRows, OtherModel, Subject, Tried
from pytest_trt.accuracy.tolerance import DEFAULT_TOLERANCES, Tolerance

LOOSE = Tolerance(0.01, 0.01, origin="marker")
FP16 = Subject("m.onnx", "models/m.onnx", "fp16", "cpu")
SCRIPT = Subject()


def failure(actual, reference, tolerance=LOOSE, subject=FP16):
    sides = [
        side if isinstance(side, dict) else {"y": np.asarray(side)} for side in (actual, reference)
    ]
    comparison = compare_outputs(*sides, dict.fromkeys(sides[1], tolerance))
    return explain(comparison, subject)


def remedy_for(*args, **options):
    return failure(*args, **options).remedy


def in_precision(precision: str) -> Subject:
    return replace(FP16, precision=precision)


@pytest.mark.parametrize("subject", [*map(in_precision, ("fp32", "fp16", "int8")), SCRIPT])
@pytest.mark.parametrize(
    ("actual", "reference"),
    [([0.99, 0.0], [0.0, 0.99]), ([0.06, 0.0], [1.0, 0.1]), ([0.0, 0.0], [5.0, 4.0])],
)
def test_a_tolerance_that_would_disable_the_test_is_not_offered(actual, reference, subject):
    found = failure(actual, reference, subject=subject)
    assert found.facts["offer"] is None
    assert not any("rtol" in text for text in found.remedy.commands + found.remedy.alternatives)


def test_meaningless_tolerance_is_not_offered_even_if_only_slightly_wider():
    found = failure([0.7, 0.0], [0.0, 1.0], Tolerance(0.0, 0.4))
    assert found.facts["offer"] is None
    assert found.remedy.text.startswith("No tolerance that still tests anything would pass: 'y' ")


@pytest.mark.parametrize(("precision", "allowed"), [("fp16", False), ("", False), ("int8", True)])
def test_default_tolerance_decides_whether_a_wide_one_is_offered(precision, allowed):
    subject = in_precision(precision)
    found = failure([7.0, 7.0], [10.0, 10.0], Tolerance(0.0, 0.5), subject)
    assert (found.facts["offer"] is not None) is allowed


@pytest.mark.parametrize(
    ("actual", "reference", "offer"),
    [
        ([1.0505, 2.0], [1.0, 2.0], {"rtol": 0.01, "atol": 0.041}),
        ([101.5, 5.0], [100.0, 5.0], {"rtol": 0.015, "atol": 0.01}),
        ([0.0205], [0.0], {"rtol": 0.01, "atol": 0.021}),
        ([0.2], [0.0], None),
    ],
)
def test_honest_tolerances_are_offered(actual, reference, offer):
    assert failure(actual, reference).facts["offer"] == (offer and {"y": offer})


def test_the_other_part_is_raised_where_one_would_disable_the_test():
    found = failure([100.0, 0.06], [100.0, 1.0], Tolerance(rtol=0.01, atol=0.0001))
    assert found.facts["offer"] == {"y": {"rtol": 0.01, "atol": 0.94}}


def test_nothing_is_offered_where_one_of_two_outputs_cannot_be_helped():
    reference = {"a": np.array([1.0, 2.0]), "b": np.array([1.0, 0.0])}
    actual = {"a": np.array([1.05, 2.0]), "b": np.array([0.0, 0.9])}
    assert failure(actual, reference).facts["offer"] is None


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("scale", [1e-6, 1.0, 1e6])
def test_the_offered_tolerance_passes_and_loses_no_field(seed, scale):
    rng = np.random.default_rng(seed)
    reference = rng.standard_normal((8, 10)) * scale
    actual = reference + rng.standard_normal((8, 10)) * 0.02 * scale
    tolerance = Tolerance(0.01, 0.02 * scale, nan="match", max_mismatch_pct=0.5, origin="marker")
    offer = failure(actual, reference, tolerance).facts["offer"]["y"]
    assert offer.keys() == {"rtol", "atol", "nan", "max_mismatch_pct"}
    assert compare_outputs(actual, reference, Tolerance(**offer)).passed


def pasted(text: str) -> object:
    return ast.literal_eval(text.partition("=")[2])


def test_an_offer_is_typed_as_the_markers_argument_alone_on_its_line():
    reference = {"a": np.linspace(0.5, 1, 20), "b": np.linspace(1, 2, 20), "c": np.ones(2)}
    actual = {"a": reference["a"] * 1.03, "b": reference["b"] * 1.04, "c": reference["c"]}
    found = failure(actual, reference)
    (command,) = found.remedy.commands
    assert pasted(command) == found.facts["offer"]
    tolerances = {name: Tolerance(**fields) for name, fields in pasted(command).items()}
    assert compare_outputs(actual, reference, {**tolerances, "c": LOOSE}).passed
    several = failure(actual, reference, subject=replace(FP16, several=True))
    (command,) = several.remedy.commands
    assert pasted(command) == {"fp16": {"outputs": found.facts["offer"]}}


def test_in_a_script_an_offer_is_typed_as_the_functions_argument():
    found = failure([1.02 + 1e-6], [1.0], subject=SCRIPT)
    (command,) = found.remedy.commands
    assert command == 'tolerance={"y": Tolerance(rtol=0.01, atol=0.011)}'


@pytest.mark.parametrize("fields", [{"top1": 0.9}, {"cosine": 0.999}, {"topk": (1, 0.9)}])
@pytest.mark.parametrize("allowed", [0.01, 1.0])
def test_ranking_and_direction_are_never_answered_with_a_tolerance(fields, allowed):
    tolerance = Tolerance(0.0, allowed, **fields)
    found = failure([[0.5, 0.54]], [[0.5, 0.45]], tolerance)
    assert found.facts["offer"] is None
    assert "Keeping sensitive layers in FP32 may help; " in found.remedy.text
    assert not any("rtol" in text for text in found.remedy.commands + found.remedy.alternatives)


def test_a_changed_ranking_within_the_tolerance_is_named_as_such():
    tolerance = Tolerance(1.0, 1.0, top1=0.9)
    remedy = remedy_for([[0.5, 0.51]], [[0.5, 0.49]], tolerance)
    assert remedy.text.startswith("Each element is within its tolerance, but the ranking of 'y' ")


def test_elements_that_nothing_judges_are_not_called_within_their_tolerance():
    tolerance = replace(LOOSE, elementwise=False, top1=0.9)
    remedy = remedy_for([[0.0, 5.0]], [[5.0, 0.0]], tolerance)
    assert remedy.text.startswith("The ranking of 'y' changed. ")


@pytest.mark.parametrize("actual", [[500.0, 1.0], [1.6, 1.0], [[1.0], [1.0]]])
def test_preprocessing_is_suspected_only_where_the_plugin_does_not_feed_both_sides(actual):
    reference = [1.0, 1.0]
    assert "same inputs" not in str(failure(actual, reference))
    assert "same inputs" in str(failure(actual, reference, subject=SCRIPT))


@pytest.mark.parametrize(("precision", "beyond"), [("fp32", True), ("fp16", True), ("int8", False)])
def test_what_a_precision_cannot_explain_is_reported_as_not_rounding(precision, beyond):
    remedy = remedy_for([1.8, 2.0], [1.0, 2.0], subject=in_precision(precision))
    assert remedy.text.startswith(f"{precision.upper()} rounding does not explain this") is beyond


@pytest.mark.parametrize(("precision", "usual"), [("fp16", True), ("fp32", False), ("", False)])
def test_a_tolerance_tighter_than_the_precision_allows_is_reported(precision, usual):
    tight = Tolerance(rtol=0.0, atol=1e-7)
    remedy = remedy_for([1.003, 2.0], [1.0, 2.0], tight, in_precision(precision))
    assert remedy.text.startswith("fp16 engines usually differ by this much") is usual


@pytest.mark.parametrize(
    ("shape", "batch"),
    [((8, 3), True), ((8, 1), True), ((8, 3, 5), True), ((8, 1, 3), False), ((8, 1, 4, 4), False)],
)
def test_wrong_later_rows_point_to_the_batch_unless_axis_0_may_be_time(shape, batch):
    reference = np.ones(shape)
    actual = reference.copy()
    actual[1:] += 0.5
    assert ("at batch 1" in remedy_for(actual, reference).text) is batch


@pytest.mark.parametrize(
    ("precision", "choosing", "text"),
    [
        (
            "fp16",
            (),
            "FP16 rounding does not explain this, but an intermediate overflow above 65504 could.",
        ),
        (
            "fp16",
            ("ArgMin", "TopK"),
            "FP16 rounding alone does not explain this, but near ties that ArgMin or TopK decides "
            "otherwise or an intermediate overflow above 65504 could.",
        ),
        (
            "bf16",
            ("TopK",),
            "BF16 rounding alone does not explain this difference, but near ties that TopK decides "
            "otherwise could.",
        ),
        ("int4", (), "INT4 rounding does not explain this difference."),
    ],
)
def test_choices_between_near_ties_may_explain_what_rounding_does_not(precision, choosing, text):
    """Such as the code of a code book, or an expert: what follows from it differs as a whole."""
    subject = replace(in_precision(precision), choosing=choosing)
    assert remedy_for([100.0, 1.0], [1.0, 1.0], subject=subject).text.startswith(text)


def test_axis_0_of_different_lengths_is_not_a_batch():
    reference = {"y": np.ones((8, 4, 3)), "state": np.ones((1, 4, 3))}
    actual = {name: array.copy() for name, array in reference.items()}
    actual["y"][1:] += 0.5
    assert "batch 1" not in remedy_for(actual, reference).text


def test_wrong_rows_here_and_there_do_not_point_to_the_batch():
    reference = np.ones((8, 3))
    actual = reference.copy()
    actual[[1, 7]] += 0.5
    assert "at batch 1" not in remedy_for(actual, reference).text


@pytest.mark.parametrize(
    ("precision", "words"),
    [
        ("fp16", "65504"),
        ("mixed", "65504"),
        ("bf16", "3.39e38"),
        ("", "If the engine computes in FP16"),
        ("fp32", "FP32's range"),
        ("int4", "FP32's range"),
    ],
)
def test_nonfinite_values_of_the_engine_point_to_overflow_where_that_can_be(precision, words):
    assert words in remedy_for([np.inf, 1.0], [1.0, 1.0], subject=in_precision(precision)).text


def test_of_a_finished_plan_that_overflows_the_plan_is_doubted_first():
    remedy = remedy_for([np.inf, 1.0], [1.0, 1.0], subject=replace(FP16, plan="dist/m.plan"))
    assert "The plan dist/m.plan may have been built from another version" in remedy.text
    assert not remedy.commands


def test_fp32_of_a_gpu_has_no_option_of_onnx_runtime():
    on_gpu = replace(in_precision("fp32"), arch="sm90")
    assert "fuses or computes differently" in remedy_for([1.1], [1.0], subject=on_gpu).text
    assert "graph_optimization_level" not in str(remedy_for([1.1], [1.0], subject=on_gpu))


def test_the_gravest_finding_decides_the_remedy():
    assert "overflows" in remedy_for([np.inf, 9.0], [1.0, 1.0]).text


def test_nonfinite_values_of_the_reference_point_to_the_model():
    remedy = remedy_for([np.inf, 1.0], [np.inf, 1.0])
    assert remedy.text.startswith("The FP32 reference itself is not finite")
    assert remedy.alternatives[0].endswith('outputs={"y": {"nan": "match"}}')


def test_advice_on_nan_names_every_output_that_has_some():
    bad, good = np.array([1.0, np.nan]), np.array([1.0, 2.0])
    remedy = remedy_for({"a": bad, "b": good, "c": bad}, {"a": good, "b": good, "c": good})
    assert "compute 'a' and 'c' in FP32" in remedy.text


def test_nan_of_the_reference_and_of_the_engine_have_a_remedy_each():
    bad, good = np.array([1.0, np.nan]), np.array([1.0, 2.0])
    remedy = remedy_for({"a": bad, "b": bad, "c": bad}, {"a": bad, "b": bad, "c": good})
    assert "compute 'c' in FP32" in remedy.text
    assert remedy.alternatives[-1].endswith(
        'outputs={"a": {"nan": "match"}, "b": {"nan": "match"}}'
    )


def test_tolerances_of_whole_numbers_are_offered_like_others():
    """`max_mismatch_pct=5` of a marker is an int: its failure was an exception of this package."""
    found = failure([1.0, 2.0], [1.1, 2.0], Tolerance(0, 1e-6, max_mismatch_pct=5))
    assert found.facts["offer"]["y"]["max_mismatch_pct"] == 5


def test_a_policy_that_is_set_already_is_not_offered():
    tolerance = Tolerance(0.01, 0.01, nan="match")
    assert "match" not in str(remedy_for([np.nan, np.nan], [np.nan, 1.0], tolerance))


def test_strings_are_not_reported_as_near_ties():
    remedy = remedy_for(np.array(["0.5"], object), np.array(["0.4"], object))
    assert remedy.text.startswith("Strings must be equal")


def test_a_share_is_offered_for_exact_outputs_unless_it_is_most_of_them():
    exact = Tolerance(0, 0)
    found = failure([3, 2, 3, 4, 5, 6], [1, 2, 3, 4, 5, 6], exact)
    (share,) = found.remedy.alternatives
    assert share.startswith('If 17% of them may differ: outputs={"y": {')
    assert pasted(share.partition(": ")[2]) == found.facts["offer"]
    assert found.facts["offer"]["y"]["max_mismatch_pct"] == 17.0
    assert remedy_for([3, 2, 3], [1, 2, 3], exact).alternatives == ()


@pytest.mark.parametrize(
    ("largest", "step", "wrong", "rounded"),
    [
        (255, 1, 20, True),
        (255, 2, 20, True),
        (255, 3, 20, False),
        (20, 1, 20, False),
        (255, 1, 15, False),
    ],
)
def test_rounded_numbers_are_offered_a_step_and_classes_a_share(largest, step, wrong, rounded):
    """A share of pixels that may differ lets them have any value."""
    reference = np.arange(largest + 1, dtype=np.uint8).repeat(50)
    actual = reference.copy()
    actual[:wrong] += np.uint8(step)
    found = failure(actual, reference, Tolerance(0, 0))
    entry = found.facts["offer"]["y"]
    assert (entry["atol"], "max_mismatch_pct" in entry) == (step * rounded, not rounded)
    (line,) = found.remedy.alternatives
    assert line.startswith(f"If they may differ by {step}: " if rounded else "If ")
    assert pasted(line.partition(": ")[2]) == found.facts["offer"]
    assert found.remedy.text.startswith("They are off by a step" if rounded else "Near ties")


@pytest.mark.parametrize(
    ("precision", "names_options"), [("fp16", True), ("int8", True), ("fp32", False), ("", False)]
)
def test_lost_precision_names_the_options_that_keep_it(precision, names_options):
    test = "tests/test_a.py::test_it[int8]"
    subject = replace(in_precision(precision), test=test)
    tune = f"pytest-trt tune '{test}' --precision {precision}"
    for actual in ([1.5, 100.0], [np.inf, 100.0]):
        remedy = remedy_for(actual, [1.0, 100.0], subject=subject)
        assert any("keep_fp32" in line for line in remedy.alternatives) is names_options
        lines = (*remedy.commands, *remedy.alternatives)
        assert any(tune in line for line in lines) is names_options


@pytest.mark.parametrize(
    ("tried", "words", "commands"),
    [
        (None, "A graph optimisation may be the cause.", 1),
        (Tried(('{"level": "basic"}',), '{"level": "basic"}'), "A graph optimisation causes it", 1),
        (Tried(("basic", "disabled")), "also fails with basic and with disabled.", 0),
    ],
)
def test_fp32_on_the_cpu_names_the_level_of_graph_optimisation(tried, words, commands):
    subject = replace(in_precision("fp32"), tried=tried)
    remedy = remedy_for([1.1, 1.0], [1.0, 1.0], subject=subject)
    assert words in remedy.text
    assert len(remedy.commands) == commands


@pytest.mark.parametrize("actual", [[1.5, 100.0], [np.inf, 100.0]])
@pytest.mark.parametrize(("passing", "commands"), [('keep_fp32=["Mul"]', 1), ("", 0)])
def test_what_to_keep_is_named_only_where_it_was_tried(actual, passing, commands):
    subject = replace(FP16, tried=Tried(('keep_fp32=["Mul"]',), passing))
    remedy = remedy_for(actual, [1.0, 100.0], subject=subject)
    assert len([one for one in remedy.commands if "keep_fp32" in one]) == commands
    assert ("may need" in remedy.text) is not bool(passing)
    assert len([part for part in remedy.text.rstrip(".:").split(". ") if part]) <= 2


@pytest.mark.parametrize("several", [False, True])
def test_what_to_keep_by_name_is_of_one_precision(several):
    remedy = remedy_for([np.inf, 100.0], [1.0, 100.0], subject=replace(FP16, several=several))
    (by_name,) = (one for one in remedy.alternatives if one.startswith("By operator or node"))
    argument = 'by_precision={"fp16": {"keep_fp32": [...]}}' if several else "keep_fp32=[...]"
    assert by_name.endswith(f": trt_model({argument})")


@pytest.mark.parametrize(
    ("calibrated_by", "words"),
    [
        ("seeded", "override the trt_calibration fixture"),
        ("project", "Calibrating on more inputs"),
        ("model", "Quantising the model again"),
        ("", "may help"),
    ],
)
def test_int8_advice_depends_on_what_the_engine_was_calibrated_on(calibrated_by, words):
    subject = replace(in_precision("int8"), calibrated_by=calibrated_by)
    assert words in remedy_for([1.5, 100.0], [1.0, 100.0], subject=subject).text


@pytest.mark.parametrize("precision", ["int8", "fp16"])
def test_just_over_tolerance_an_int8_engine_is_calibrated_first(precision):
    subject = replace(in_precision(precision), calibrated_by="project")
    default = DEFAULT_TOLERANCES["int8"]
    remedy = remedy_for([1.0, 115.0], [1.0, 100.0], default, subject)
    assert ("Calibrating on more" in remedy.text) is (precision == "int8")
    assert any("outputs=" in one for one in (*remedy.commands, *remedy.alternatives))


def test_a_reference_of_the_project_that_the_model_does_not_match_is_named():
    other = OtherModel("trt_reference", "models/m.onnx", True, is_fixture=True)
    found = failure([1.03, 1.0], [1.0, 1.0], subject=replace(FP16, other=other))
    assert found.code == "TRT415"
    assert found.message.startswith("y: 1.5x over tolerance against trt_reference")
    assert "the outputs of trt_reference differ from the model's" in found.remedy.text
    assert found.remedy.alternatives == ()
    assert found.remedy.commands == ()


@pytest.mark.parametrize(
    ("actual", "reference", "words"),
    [
        ({"b": np.zeros(2)}, {"a": np.zeros(2)}, "previous output names"),
        ({"a": np.zeros(2)}, {"a": np.zeros(2), "b": np.zeros(3)}, "Mark the tensor as an output"),
        ({"a": np.zeros(2), "b": np.zeros(3)}, {"a": np.zeros(2)}, "Remove the output"),
        ({"a": np.zeros(2)}, {"a": np.zeros(3)}, "Check the layout"),
        ({"a": np.zeros(2, "f4")}, {"a": np.zeros(2)}, "Cast the output"),
        ({}, {}, "Compare at least one output"),
        (
            {"a": np.zeros(0)},
            {"a": np.zeros(0)},
            "Use inputs for which the model returns non-empty outputs",
        ),
    ],
)
def test_structural_findings_have_their_own_remedy(actual, reference, words):
    assert words in remedy_for(actual, reference).text


@pytest.mark.parametrize("precision", ["fp32", "tf32", "fp16", "bf16", "int8"])
@pytest.mark.parametrize(
    ("actual", "reference", "tolerance"),
    [
        ([1.2, 1.0], [1.0, 1.0], Tolerance(1e-3, 1e-4)),
        ([1.005, 1.0], [1.0, 1.0], Tolerance(1e-3, 1e-4)),
        ([1] * 9 + [2], [1] * 10, Tolerance(0.0, 0.0)),
    ],
    ids=["far", "near", "exact"],
)
def test_no_tolerance_is_offered_for_a_wrong_export(precision, actual, reference, tolerance):
    of_engine = replace(in_precision(precision), several=True)
    assert failure(actual, reference, tolerance, of_engine).facts["offer"]  # of the engine alone
    other = OtherModel("trt_reference", "models/m.onnx", True, is_fixture=True)
    subject = replace(of_engine, other=other)
    found = failure(actual, reference, tolerance, subject)
    assert found.code == "TRT415"
    assert found.facts["offer"] is None
    assert found.remedy.alternatives == ()
    assert not [line for line in found.details if "tolerance that passes" in line]


@pytest.mark.parametrize("precision", ["fp32", "fp16", "int8", "tf32"])
def test_command_of_an_alternative_stands_behind_it(precision):
    other = OtherModel("v1.onnx", "models/v2.onnx", None)
    found = failure([3.0, 1.0], [1.0, 1.0], subject=replace(in_precision(precision), other=other))
    assert found.remedy.commands == ()
    assert not [line for line in found.remedy.alternatives if line.endswith(":")]
    shown = "\n".join(found.lines())
    commands = {"fp32": "graph_optimization_level", "fp16": "pytest-trt tune"}
    assert commands.get(precision, "") in shown.partition("- If the models agree: ")[2]


def against(agrees, **of):
    other = OtherModel("v1.onnx", "models/v2.onnx", agrees, **of)
    return failure([1.03, 1.0], [1.0, 1.0], subject=replace(FP16, other=other))


@pytest.mark.parametrize("moved", [None, MovedRows(0, 3, 4)])
def test_a_fixture_that_returns_rows_in_another_order_has_no_other_weights(moved):
    other = OtherModel("trt_reference", "models/v2.onnx", agrees=True, is_fixture=True)
    subject = replace(FP16, other=other, moved=moved)
    remedy = remedy_for([9.0, 1.0], [1.0, 1.0], subject=subject)
    assert ("in another order" in remedy.text) is (moved is not None)
    assert ("same weights" in remedy.text) is (moved is None)


def test_engine_that_agrees_with_its_own_model_is_not_offered_a_tolerance():
    found = against(True, differs="weight w of fc")
    assert found.facts["offer"] is None
    assert found.remedy.text == (
        "The engine agrees with models/v2.onnx, which differs from v1.onnx in weight w of fc. "
        "Restore the model, unless the change is intended:"
    )
    assert found.remedy.commands == (
        "git log -- models/v2.onnx",
        "git checkout COMMIT -- models/v2.onnx",
    )
    assert found.remedy.alternatives[0].endswith("`cp models/v2.onnx v1.onnx`")
    assert not [line for line in found.details if "tolerance that passes" in line]


def test_converted_model_that_loses_a_little_is_offered_one():
    found = against(True, converted=True)
    assert "Convert it again" in found.remedy.text
    assert "outputs=" in found.remedy.alternatives[0]


def test_engine_that_differs_from_its_own_model_gets_the_advice_for_engines():
    assert against(False).remedy == failure([1.03, 1.0], [1.0, 1.0]).remedy


def test_where_the_own_model_could_not_run_both_are_possible():
    found = against(None)
    assert "could not run in FP32 here" in found.remedy.text
    assert found.remedy.alternatives[0].startswith("If the models agree: ")
    assert found.facts["offer"] is None


def test_what_cannot_be_checked_says_nothing_about_two_models():
    other = OtherModel("v1.onnx", "models/v2.onnx", None)
    tolerance = Tolerance(1.0, 1.0, topk=(20, 0.9))
    found = failure([1.0, 2.0], [1.0, 2.0], tolerance, replace(FP16, other=other))
    assert found.code == "TRT412"
    assert found.remedy.text.startswith("Remove the measure from this output")


@pytest.mark.parametrize(
    "found",
    [
        failure([0.0, 0.0], [5.0, 4.0]),
        failure([1.5, 2.0], [1.0, 2.0]),
        failure([np.inf, 9.0], [1.0, 1.0]),
        failure([[0.5, 0.51]], [[0.5, 0.49]], Tolerance(1.0, 1.0, top1=0.9)),
        against(True),
        against(None),
    ],
    ids=lambda found: found.message,
)
def test_a_remedy_is_two_sentences_at_most(found):
    text = found.remedy.text.replace("65504.", "65504")
    assert len([part for part in text.rstrip(".:").split(". ") if part]) <= 2
    assert len(text) < 240
