from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor

import ml_dtypes
import numpy as np
import pytest

from pytest_trt.accuracy.compare import compare_outputs
from pytest_trt.accuracy.result import AccuracyResult, Comparison, ComparisonError, merge_runs
from pytest_trt.accuracy.tolerance import Tolerance
from pytest_trt.diagnostics import ConfigurationError, PytestTrtError
from pytest_trt.records import from_data, to_data
from pytest_trt.terms import Verdict

TIGHT = Tolerance(rtol=1e-3, atol=1e-4)


@pytest.fixture
def reference():
    rng = np.random.default_rng(0)
    return {
        "probs": rng.random((8, 10), dtype=np.float32),
        "boxes": rng.random((8, 10), dtype=np.float32) + 5,
        "label": np.arange(8),
    }


@pytest.fixture
def actual(reference):
    return {name: array.copy() for name, array in reference.items()}


def compare(actual, reference, tolerance=TIGHT):
    return compare_outputs(actual, reference, dict.fromkeys(reference, tolerance))


def compare_one(actual, reference, **fields):
    tolerance = Tolerance(**{"rtol": 1e-3, "atol": 1e-4, **fields})
    return compare({"y": np.asarray(actual)}, {"y": np.asarray(reference)}, tolerance).outputs[0]


def kinds(comparison):
    of_outputs = [f.kind for output in comparison.outputs for f in output.findings]
    return [finding.kind for finding in comparison.findings] + of_outputs


def text_of(output, kind):
    (text,) = [finding.text for finding in output.findings if finding.kind == kind]
    return text


def test_equal_outputs_pass_and_all_are_listed_in_the_references_order(actual, reference):
    comparison = compare(dict(reversed(actual.items())), reference)
    assert comparison.passed
    assert [output.name for output in comparison.outputs] == ["probs", "boxes", "label"]
    assert comparison.used == 0.0
    assert comparison.outputs[0].worst_abs is None


def test_a_perturbed_value_fails_and_is_named_with_both_values(actual, reference):
    actual["probs"][3, 7] += 0.5
    comparison = compare(actual, reference)
    assert kinds(comparison) == ["mismatch"]
    probs, boxes, label = comparison.outputs
    assert boxes.passed
    assert label.passed
    assert probs.mismatched == 1
    assert probs.mismatched_pct == pytest.approx(1.25)
    assert probs.worst_abs.index == (3, 7)
    assert probs.worst_abs.value == pytest.approx(0.5)
    assert probs.worst_abs.actual == float(actual["probs"][3, 7])
    assert probs.worst_abs.reference == float(reference["probs"][3, 7])


def test_a_perturbation_inside_the_tolerance_passes_and_shows_what_it_used(actual, reference):
    actual["probs"] += np.float32(5e-5)
    comparison = compare(actual, reference)
    assert comparison.passed
    assert 0.0 < comparison.used < 1.0


def test_every_failing_output_is_reported(actual, reference):
    actual["probs"][0, 0] += 1
    actual["label"][2] = 7
    assert kinds(compare(actual, reference)) == ["mismatch", "mismatch"]


def test_swapped_outputs_are_recognised(actual, reference):
    actual["probs"], actual["boxes"] = actual["boxes"], actual["probs"]
    comparison = compare(actual, reference)
    assert kinds(comparison) == ["swapped", "mismatch", "mismatch"]
    assert "'probs' and 'boxes' hold each other's values" in comparison.findings[0].text


def test_two_wrong_outputs_are_not_reported_as_swapped(actual, reference):
    actual["probs"], actual["boxes"] = actual["boxes"] + 1, actual["probs"] + 1
    assert kinds(compare(actual, reference)) == ["mismatch", "mismatch"]


def test_batch_1_right_and_batch_8_wrong_shows_in_the_rows(actual, reference):
    first = {name: array[:1] for name, array in actual.items()}
    assert compare(first, {name: array[:1] for name, array in reference.items()}).passed
    actual["probs"][1:] += 1
    comparison = compare(actual, reference)
    assert not comparison.passed
    rows = comparison.outputs[0].rows
    assert (rows.total, rows.mismatched, rows.first, rows.last) == (8, 7, 1, 7)


def test_a_missing_output_fails(actual, reference):
    del actual["label"]
    comparison = compare(actual, reference)
    assert kinds(comparison) == ["missing"]
    assert "'label' (int64[8])" in comparison.findings[0].text
    assert "'probs', 'boxes'" in comparison.findings[0].text


def test_an_extra_output_fails(actual, reference):
    actual["debug"] = np.zeros(3)
    comparison = compare(actual, reference)
    assert kinds(comparison) == ["extra"]
    assert "'debug' (float64[3])" in comparison.findings[0].text


def test_a_renamed_output_is_recognised_by_shape_and_dtype(actual, reference):
    actual["classes"] = actual.pop("label")
    comparison = compare(actual, reference)
    assert kinds(comparison) == ["renamed"]
    assert "'label'" in comparison.findings[0].text
    assert "'classes'" in comparison.findings[0].text


def test_of_several_candidates_the_closest_name_is_the_renamed_one(actual, reference):
    actual["other"] = actual.pop("boxes")
    actual["probs_0"] = actual.pop("probs")
    texts = [finding.text for finding in compare(actual, reference).findings]
    assert any("'probs'" in text and "'probs_0'" in text for text in texts)
    assert any("'boxes'" in text and "'other'" in text for text in texts)


def test_missing_and_extra_of_different_shape_are_not_reported_as_renamed(actual, reference):
    del actual["label"]
    actual["classes"] = np.arange(9)
    assert kinds(compare(actual, reference)) == ["missing", "extra"]


@pytest.mark.parametrize("outputs", [{}, {"z": np.zeros(2, np.int8)}])
def test_comparing_no_output_at_all_fails(outputs):
    assert "nothing compared" in kinds(compare(outputs, {}))
    assert "nothing compared" in kinds(compare(outputs, {"y": np.zeros(3)}))


@pytest.mark.parametrize(
    ("shape", "hint"),
    [
        (
            (4, 3, 5),
            "shape [4, 3, 5], reference [8, 3, 5]: only axis 0, usually the batch, differs",
        ),
        ((8, 5, 3), "the axes are permuted, as between NHWC and NCHW"),
        ((8, 3, 5, 1), "only axes of length 1 differ"),
        ((8, 15), "reshaped, the number of elements is the same"),
        ((8, 3, 6), "shape [8, 3, 6], reference [8, 3, 5]"),
    ],
)
def test_a_wrong_shape_fails_and_says_how_it_differs(shape, hint):
    output = compare_one(np.zeros(shape), np.zeros((8, 3, 5)))
    assert hint in text_of(output, "shape")
    assert output.compared == 0


def test_a_wrong_dtype_fails_and_the_values_are_still_compared():
    reference = np.array([1.0, 2.0], np.float32)
    output = compare_one(reference.astype(np.float16), reference)
    assert [finding.kind for finding in output.findings] == ["dtype"]
    assert text_of(output, "dtype") == "dtype float16, reference float32"
    assert output.compared == 2
    worse = compare_one(reference.astype(np.float16) + 1, reference)
    assert [finding.kind for finding in worse.findings] == ["dtype", "mismatch"]


@pytest.mark.parametrize("dtype", [">f8", ">i8", ">f2"])
def test_another_byte_order_is_the_same_dtype(dtype):
    native = np.arange(3).astype(np.dtype(dtype).newbyteorder("="))
    exact = {"rtol": 0.0, "atol": 0.0}
    assert compare_one(native, native.astype(dtype), **exact).passed
    assert compare_one(native[::-1], native.astype(dtype), **exact).mismatched == 2


def test_wide_integers_of_another_byte_order_are_exact_too():
    reference = np.array([2**53], ">i8")
    assert not compare_one(np.array([2**53 + 1]), reference, rtol=0.0, atol=0.0).passed


def test_one_array_is_compared_with_one_array():
    comparison = compare_outputs([1.0, 2.0], [1.0, 2.0])
    assert comparison
    assert comparison.passed
    assert [output.name for output in comparison.outputs] == ["output"]
    assert str(comparison) == "1 output passed, using 0% of the tolerance"


def test_a_failed_comparison_is_false_and_raises_with_its_explanation():
    comparison = compare_outputs([1.0, 2.5], [1.0, 2.0])
    assert not comparison
    (found,) = comparison.diagnostics
    assert str(comparison) == str(found)
    assert repr(comparison) == f"<Comparison: {found.headline}>"
    with pytest.raises(ComparisonError, match=r"output: 238x over tolerance \[TRT401\]") as caught:
        comparison.raise_if_failed()
    assert isinstance(caught.value, AssertionError)
    assert isinstance(caught.value, PytestTrtError)
    assert caught.value.diagnostic == found
    compare_outputs([1.0], [1.0]).raise_if_failed()


@pytest.mark.parametrize(("precision", "passed"), [("fp32", False), ("fp16", True)])
def test_the_default_tolerance_is_that_of_the_precision(precision, passed):
    assert compare_outputs([1.005], [1.0], precision=precision).passed is passed


def test_one_tolerance_for_all_outputs_leaves_integers_exact():
    expected = {"scores": np.array([1.0]), "label": np.array([500])}
    wide = Tolerance(0.1, 0.1)
    assert compare_outputs({**expected, "scores": np.array([1.1])}, expected, wide).passed
    actual = {**expected, "label": np.array([501])}
    assert not compare_outputs(actual, expected, wide).passed
    assert compare_outputs(actual, expected, {"scores": wide, "label": wide}).passed
    assert compare_outputs(np.array([501]), np.array([500]), wide).passed


@pytest.mark.parametrize(
    ("actual", "expected", "tolerance", "match"),
    [
        ([1.0], {"y": [1.0]}, None, "one side is a single array, the other has outputs by name"),
        ({"y": [1.0]}, [1.0], None, "one side is a single array, the other has outputs by name"),
        ({"y": [1.0]}, {"y": [1.0]}, {"y": TIGHT, "z": TIGHT}, "for output 'z', which neither"),
    ],
)
def test_mismatched_outputs_and_tolerances_are_a_configuration_error(
    actual, expected, tolerance, match
):
    with pytest.raises(ConfigurationError, match=match):
        compare_outputs(actual, expected, tolerance)


def test_many_threads_may_compare_at_once():
    rng = np.random.default_rng(0)
    reference = rng.standard_normal(100_000)
    offsets = [0.0, 1e-5, 1.0, 0.0, 1e-5, 1.0] * 4
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(lambda by: compare_outputs(reference + by, reference), offsets))
    assert [one.passed for one in found] == [by < 1.0 for by in offsets]


def test_an_output_without_a_tolerance_is_a_configuration_error():
    with pytest.raises(ConfigurationError, match="no tolerance is given for output 'y'"):
        compare_outputs({"y": np.zeros(1)}, {"y": np.zeros(1)}, {})


def test_forbid_reports_one_nan_with_count_place_and_side():
    reference = np.ones((4, 5), np.float32)
    actual = reference.copy()
    actual[2, 3] = np.nan
    output = compare_one(actual, reference)
    assert [finding.kind for finding in output.findings] == ["nonfinite"]
    text = text_of(output, "nonfinite")
    assert text == (
        "1 NaN in the output (20 elements), none in the reference; "
        "first at [2, 3]: nan, reference 1"
    )
    assert output.mismatched == 0


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_forbid_fails_even_where_both_sides_are_equal(bad):
    both = np.array([1.0, bad])
    output = compare_one(both, both.copy())
    assert "in the output (2 elements), 1 " in text_of(output, "nonfinite")


def test_match_passes_the_same_kind_at_the_same_place_only():
    reference = np.array([1.0, np.nan, np.inf, -np.inf])
    assert compare_one(reference.copy(), reference, nan="match").passed
    actual = np.array([1.0, np.nan, -np.inf, -np.inf])
    output = compare_one(actual, reference, nan="match")
    text = text_of(output, "nonfinite")
    assert "do not match at 1 position: 1 NaN and 2 -Inf in the output" in text
    assert text.endswith("first at [2]: -inf, reference inf")


def test_match_fails_on_nan_where_the_reference_is_finite():
    assert not compare_one([1.0, np.nan], [1.0, 2.0], nan="match").passed


def test_ignore_leaves_out_and_counts():
    output = compare_one([1.0, np.nan, 3.0], [1.0, 2.0, np.inf], nan="ignore")
    assert output.passed
    assert output.compared == 1
    assert output.nonfinite.positions == 2


def test_ignore_still_fails_on_finite_mismatches():
    assert not compare_one([9.0, np.nan], [1.0, 2.0], nan="ignore").passed


def test_ignore_that_leaves_nothing_does_not_pass():
    output = compare_one([np.nan, np.nan], [1.0, 2.0], nan="ignore")
    assert "none of 2 elements is finite" in text_of(output, "nothing compared")


@pytest.mark.parametrize("policy", ["ignore", "match"])
def test_cosine_of_no_finite_elements_does_not_pass(policy):
    fields = {"elementwise": False, "cosine": 0.9, "nan": policy}
    empty = np.full((2, 3), np.nan)
    found = compare_one(empty, empty if policy == "match" else np.ones((2, 3)), **fields)
    assert text_of(found, "nothing compared")
    some = np.where(np.eye(2, 3, dtype=bool), np.nan, 1.0)
    assert compare_one(some, some, **fields).passed


@pytest.mark.parametrize(
    ("runs", "bounds"),
    [
        (([[0.5, 0.25]],), (0.25, 0.5)),
        (([[1.0, 1.0]], [[3.0]], [[]]), (1.0, 3.0)),
        (([[0.5, 0.0]],), (None, None)),  # more apart than one value allows
        (([[*[0.5] * 5000, 0.0]],), (None, None)),
        (([[]], [[]]), (None, None)),
        (([[1.0, np.inf]], [[1.0]]), (None, None)),
        (([[3, 4]],), (None, None)),
    ],
)
def test_range_of_a_reference_of_floats_is_that_of_all_runs(runs, bounds):
    tolerance = Tolerance(0, 0.2, nan="match")
    compared = [compare({"y": np.array(one)}, {"y": np.array(one)}, tolerance) for one in runs]
    output = merge_runs(compared).outputs[0]
    assert (output.least, output.largest) == bounds


def test_max_mismatch_pct_allows_its_share_and_no_more():
    reference = np.ones(100)
    actual = reference.copy()
    actual[:2] = 5
    assert compare_one(actual, reference, max_mismatch_pct=2.0).passed
    actual[2] = 5
    output = compare_one(actual, reference, max_mismatch_pct=2.0)
    assert text_of(output, "mismatch").endswith("(given in code); 2% may differ")


def test_max_mismatch_pct_is_a_share_of_what_was_compared():
    reference = np.r_[np.ones(10), np.full(90, np.nan)]
    actual = reference.copy()
    actual[0] = 5
    assert not compare_one(actual, reference, nan="match", max_mismatch_pct=5.0).passed


def test_max_mismatch_pct_does_not_excuse_nan():
    output = compare_one([np.nan, *[1.0] * 99], np.ones(100), max_mismatch_pct=50.0)
    assert [finding.kind for finding in output.findings] == ["nonfinite"]


@pytest.mark.parametrize(
    ("reference", "actual"),
    [
        (np.array(2**53, np.int64), np.array(2**53 + 1, np.int64)),
        (np.array(2**64 - 1, np.uint64), np.array(2**64 - 2, np.uint64)),
        (np.array([True]), np.array([False])),
        (np.array(["cat", "dog"]), np.array(["cat", "cow"])),
        (np.array(["cat", "dog"], object), np.array(["cat", "cow"], object)),
        (np.array([1 + 2j]), np.array([1 + 3j])),
        (np.array([1, 2], ml_dtypes.bfloat16), np.array([1, 3], ml_dtypes.bfloat16)),
        (np.array([1, 2], ml_dtypes.float8_e4m3fn), np.array([1, 3], ml_dtypes.float8_e4m3fn)),
        (np.array([1, 2], ml_dtypes.int4), np.array([1, 3], ml_dtypes.int4)),
        *(
            (np.array([1, 2]).astype(dtype), np.array([1, 1]).astype(dtype))
            for dtype in (
                *(ml_dtypes.float8_e5m2, ml_dtypes.float8_e4m3fnuz, ml_dtypes.float8_e5m2fnuz),
                *(ml_dtypes.float8_e8m0fnu, ml_dtypes.float4_e2m1fn, ml_dtypes.uint4),
                ml_dtypes.uint2,
            )
        ),
        (np.array([1, 0], ml_dtypes.int2), np.array([1, 1], ml_dtypes.int2)),
        (np.array([1, 2], np.longdouble), np.array([1, 3], np.longdouble)),
        (np.array(1.0), np.array(2.0)),
        (np.array(True), np.array(False)),
        *(
            (np.array([0, 1], dtype), np.array([0, 0], dtype))
            for dtype in ("uint8", "int8", "int32", "float16", "float32")
        ),
    ],
    ids=lambda array: f"{array.dtype}-{array.ndim}d",
)
def test_every_element_type_passes_when_equal_and_fails_when_not(reference, actual):
    assert compare_one(reference.copy(), reference, rtol=0.0, atol=0.0).passed
    output = compare_one(actual, reference, rtol=0.0, atol=0.0)
    assert [finding.kind for finding in output.findings] == ["mismatch"]
    assert output.mismatched == 1


@pytest.mark.parametrize(
    ("dtype", "step"),
    [
        (ml_dtypes.bfloat16, 2**-7),
        (ml_dtypes.float8_e4m3fn, 2**-3),
        (ml_dtypes.float8_e4m3fnuz, 2**-3),
        (ml_dtypes.float8_e5m2, 2**-2),
        (ml_dtypes.float8_e5m2fnuz, 2**-2),
    ],
)
def test_one_step_of_a_coarse_float_passes_by_default_and_two_do_not(dtype, step):
    reference = np.ones(9).astype(dtype)
    for steps in (1, 2):
        comparison = compare_outputs((reference + steps * step).astype(dtype), reference)
        assert comparison.passed is (steps == 1)


@pytest.mark.parametrize("name", ["float8_e8m0fnu", "float4_e2m1fn", "int4", "uint4", "uint2"])
def test_types_without_room_for_rounding_must_be_equal_and_say_so(name):
    reference = np.full(9, 2).astype(getattr(ml_dtypes, name))
    comparison = compare_outputs({"y": np.ones(9).astype(reference.dtype)}, {"y": reference})
    assert "equality is required (default for this type)" in str(comparison)
    assert comparison.diagnostics[0].facts["offer"] is None


@pytest.mark.parametrize("precision", ["fp32", "fp16", "int8"])
@pytest.mark.parametrize("name", ["bfloat16", "float8_e4m3fn", "float8_e5m2", "float4_e2m1fn"])
def test_no_tolerance_is_offered_under_which_zeros_pass(name, precision):
    reference = np.array([0.5, 1, 2, 4] * 9).astype(getattr(ml_dtypes, name))
    for wrong in (np.zeros(36), np.full(36, 0.5), -reference.astype(float)):
        comparison = compare_outputs(
            {"y": wrong.astype(reference.dtype)}, {"y": reference}, precision=precision
        )
        assert comparison.diagnostics[0].facts["offer"] is None


def test_worst_integers_keep_their_exact_values():
    output = compare_one(np.array([2**53 + 1]), np.array([2**53]), rtol=0.0, atol=0.0)
    assert output.worst_abs.actual == 2**53 + 1
    assert output.worst_abs.reference == 2**53
    assert output.worst_abs.value == 1.0


def test_extreme_integers_do_not_wrap_around():
    low, high = np.iinfo(np.int64).min, np.iinfo(np.int64).max
    output = compare_one(np.array([high]), np.array([low]), rtol=0.0, atol=0.0)
    assert output.worst_abs.value == pytest.approx(2.0**64)


@pytest.mark.parametrize("dtype", ["M8[s]", [("x", "f4")], "V4"])
def test_elements_without_a_number_do_not_pass(dtype):
    array = np.zeros(3, dtype)
    assert "cannot be compared" in text_of(compare_one(array, array.copy()), "not applicable")


def test_an_empty_output_passes_next_to_one_that_is_not():
    outputs = {"boxes": np.zeros((0, 4)), "count": np.zeros(1)}
    comparison = compare(outputs, outputs, Tolerance(0.0, 0.0, top1=0.9, cosine=0.9))
    assert comparison.outputs[0].passed
    assert comparison.outputs[0].size == 0
    assert comparison.findings == ()


@pytest.mark.parametrize("names", [["boxes"], ["boxes", "labels"]])
def test_outputs_that_are_all_empty_do_not_pass(names):
    outputs = {name: np.zeros((0, 4)) for name in names}
    comparison = compare(outputs, outputs)
    assert not comparison.passed
    assert kinds(comparison) == ["nothing compared"]
    assert "0 elements ('boxes' [0, 4]" in comparison.findings[0].text


def test_an_output_that_is_empty_on_one_side_only_is_a_wrong_shape():
    assert kinds(compare({"y": np.zeros((0, 4))}, {"y": np.zeros((2, 4))})) == ["shape"]


@pytest.mark.parametrize(
    ("array", "fields", "kind"),
    [
        (np.array([True, False]), {"top1": 0.9}, "top1"),
        (np.array([True, False]), {"cosine": 0.9}, "cosine"),
        (np.array(["a", "b"]), {"top1": 0.9}, "top1"),
        (np.array(1.0), {"cosine": 0.9}, "cosine"),
        (np.array(1.0), {"top1": 0.9}, "top1"),
        (np.ones((2, 4)), {"topk": (5, 0.9)}, "topk"),
        (np.eye(4), {"topk": (4, 0.9)}, "topk"),
        (np.eye(4), {"topk": (3, 0.5)}, "topk"),
        (np.eye(8), {"topk": (6, 2 / 3)}, "topk"),
        (np.ones((2, 1)), {"top1": 0.9}, "top1"),
        (np.array([True, False]), {"atol": 1.0}, "atol"),
        (np.arange(4, dtype=np.int8), {"atol": 255.0}, "atol"),
        (np.ones(2, complex), {"cosine": 0.9}, "cosine"),
    ],
)
def test_a_measure_that_makes_no_sense_does_not_pass(array, fields, kind):
    output = compare_one(array.copy(), array, **fields)
    text = text_of(output, "not applicable")
    assert text.startswith(kind)
    assert text.endswith("so it was not checked")


@pytest.mark.parametrize(("classes", "k", "share"), [(4, 3, 0.7), (8, 6, 0.7), (4, 2, 0.01)])
def test_the_rankings_that_differ_most_fail_each_share_that_is_measured(classes, k, share):
    reference = np.arange(float(classes))[None]
    output = compare_one(reference[:, ::-1].copy(), reference, rtol=9.0, atol=9.0, topk=(k, share))
    assert [finding.kind for finding in output.findings] == ["topk"]


def test_whole_output_measures_fail_on_their_own():
    reference = np.array([[0.50, 0.49, 0.1], [0.1, 0.2, 0.9]])
    actual = np.array([[0.49, 0.50, 0.1], [0.1, 0.2, 0.9]])
    wide = {"rtol": 1.0, "atol": 1.0}
    assert compare_one(actual, reference, **wide, top1=0.5, topk=(2, 1.0), cosine=0.99).passed
    output = compare_one(actual, reference, **wide, top1=0.6, topk=(1, 0.6), cosine=0.9999)
    assert [finding.kind for finding in output.findings] == ["cosine", "top1", "topk"]
    assert output.top1 == output.topk == 0.5
    assert "0.5, below the limit of 0.6" in text_of(output, "top1")


@pytest.mark.parametrize(
    "arrays",
    [
        ([np.nan, 1.0, -np.inf], [1.0, np.inf, 2.0]),
        ([1 + 2j, complex(np.nan, 1)], [1 + 1j, complex(np.inf, 0)]),
        (["nan", "inf"], ["nan", "x"]),
        ([2**63 - 1], [0]),
        ([True], [False]),
        ([[1.0, 5.0]], [[0.0, 5.0]]),
    ],
)
def test_a_comparison_survives_json_without_nan_literals(arrays):
    actual, reference = map(np.array, arrays)
    tolerance = Tolerance(0.0, 0.0, cosine=0.9, topk=(1, 0.5))
    comparison = compare({"y": actual}, {"y": reference, "z": reference}, tolerance)
    text = json.dumps(to_data(comparison), allow_nan=False)
    # NaN is unequal to itself, so the texts are what can be compared.
    again = from_data(Comparison, json.loads(text))
    assert json.dumps(to_data(again)) == text
    assert str(again) == str(comparison)


@pytest.mark.parametrize(
    ("actual", "reference", "scale"),
    [
        ([1.0, -7.0], [1.0, -7.0], 7.0),
        ([1.0, -7.5], [1.0, -7.0], 7.0),
        ([1.0, np.nan, 3.0], [1.0, 9.0, np.inf], 1.0),
        ([3, -(2**63)], [3, -(2**63)], 2.0**63),
        ([True, False], [True, False], 1.0),
        ([3j, 4.0], [3j, 4.0], 4.0),
        (["a"], ["a"], 0.0),
    ],
)
def test_the_scale_is_the_largest_reference_that_was_compared(actual, reference, scale):
    assert compare_one(np.array(actual), np.array(reference), nan="ignore").scale == scale


def test_infinity_within_equal_complex_numbers_is_seen():
    both = np.array([1, complex(2, np.inf), 3], np.complex64)
    assert compare_one(both, both.copy()).nonfinite.positions == 1


def test_arrays_are_left_as_they_were():
    actual, reference = np.array([1.0, np.nan, 3.0]), np.array([1.0, 2.0, 4.0])
    copies = actual.copy(), reference.copy()
    compare_one(actual, reference, cosine=0.9, topk=(2, 0.1), nan="ignore")
    np.testing.assert_array_equal(actual, copies[0])
    np.testing.assert_array_equal(reference, copies[1])


def test_read_only_and_strided_arrays_are_compared_in_c_order():
    base = np.arange(60.0).reshape(3, 4, 5)
    base.flags.writeable = False
    reference = base.transpose(2, 0, 1)[:, ::-1]
    actual = np.array(reference)
    actual[4, 0, 2] += 1
    output = compare_one(actual, reference)
    assert output.mismatched == 1
    assert output.worst_abs.index == (4, 0, 2)
    swapped_sides = compare_one(reference, actual)
    assert swapped_sides.worst_abs.index == (4, 0, 2)


@pytest.mark.parametrize(
    ("actual", "reference", "used"),
    [
        ([1.0, np.nan], [1.0, 2.0], float("inf")),
        ([1.0, 2.0, 3.0], [1.0, 2.0], float("inf")),
        ([1.0, 2.0], [1.0, 2.0], 0.0),
    ],
)
def test_what_has_no_difference_uses_none_of_its_tolerance_only_where_it_passes(
    actual, reference, used
):
    output = compare_one(actual, reference)
    assert output.used == used


def test_runs_are_merged_into_the_worst_of_each_output_with_sums_over_all():
    reference = {"y": np.ones((2, 4)), "z": np.ones(3)}
    runs = [
        compare({"y": np.ones((2, 4)) + by, "z": np.ones(3)}, reference, Tolerance(0.0, 0.1))
        for by in (0.05, 0.3, 0.2)
    ]
    merged = merge_runs(runs)
    y, z = merged.outputs
    assert y.worst_used == runs[1].outputs[0].worst_used
    assert (y.compared, y.mismatched) == (24, 16)
    assert y.needed_atol == runs[1].outputs[0].needed_atol
    assert [finding.kind for finding in y.findings] == ["mismatch"]
    assert (z.compared, z.findings) == (9, ())


def test_a_result_survives_json():
    comparison = compare_one([1.0, 3.0], [1.0, 2.0])
    result = AccuracyResult(
        "m.onnx", "fp16", "sm86", Verdict.FAILED, 1, 1, "y", float("inf"), (comparison,)
    )
    data = json.loads(json.dumps(to_data(result), allow_nan=False))
    assert from_data(AccuracyResult, data) == result


@pytest.mark.parametrize("columns", [3, 1 << 19])
def test_ranking_needs_one_row_that_is_not_constant(columns):
    constant, varied = np.ones((2, columns)), np.ones((2, columns))
    varied[1, -1] = 2.0
    assert "constant" in text_of(
        compare_one(constant.copy(), constant, top1=0.9), "nothing compared"
    )
    assert compare_one(varied.copy(), varied, top1=0.9).passed


def test_left_out_elements_make_no_row_vary():
    array = np.array([[np.nan, 1.0, 1.0]])
    found = compare_one(array.copy(), array, nan="ignore", top1=0.9)
    assert "constant" in text_of(found, "nothing compared")
    assert compare_one(
        np.array([[np.nan, 1.0, 2.0]]), np.array([[np.nan, 1.0, 2.0]]), nan="ignore", top1=0.9
    ).passed


def test_nan_in_front_of_a_constant_reference_is_no_agreement():
    assert not compare_one([[np.nan, 1.0]], np.ones((1, 2)), nan="match", top1=0.9).passed


def test_output_of_nan_alone_was_not_compared():
    array = np.full(3, np.nan)
    assert "all 3 elements are NaN" in text_of(
        compare_one(array.copy(), array, nan="match"), "nothing compared"
    )
    array[0] = 1.0
    assert compare_one(array.copy(), array, nan="match").passed
    infinite = np.full(3, np.inf)
    assert compare_one(infinite.copy(), infinite, nan="match").passed


def test_comparison_that_leaves_all_to_metrics_needs_a_measure():
    alone = Tolerance(0.0, 0.0, elementwise=False)
    for tolerance in (alone, {"y": alone}):
        with pytest.raises(ConfigurationError, match="could not fail"):
            compare_outputs({"y": np.ones(3)}, {"y": np.ones(3)}, tolerance)
    ranked = Tolerance(0.0, 0.0, elementwise=False, top1=1.0)
    assert compare_outputs([[1.0, 3.0]], [[1.0, 2.0]], ranked).passed
    assert not compare_outputs([[3.0, 1.0]], [[1.0, 2.0]], ranked).passed
