from __future__ import annotations

import math

import numpy as np
import pytest

from pytest_trt.accuracy.resolve import (
    parse_tolerance_fields,
    parse_tolerance_lines,
    resolve_tolerances,
)
from pytest_trt.accuracy.tolerance import DEFAULT_TOLERANCES, Tolerance
from pytest_trt.diagnostics import ConfigurationError
from pytest_trt.engine.spec import PRECISIONS
from pytest_trt.tensors.spec import TensorSpec

PROBS = TensorSpec("probs", "float32", ("batch", 10))
LABEL = TensorSpec("label", "int64", ("batch",))


def resolved(*outputs, precision="fp16", marker=(), per_output=(), ini=()):
    return resolve_tolerances(
        outputs or (PROBS,),
        precision=precision,
        marker=dict(marker),
        per_output=dict(per_output),
        ini=dict(ini),
    )


def test_every_precision_of_a_spec_has_a_default():
    assert set(DEFAULT_TOLERANCES) == set(PRECISIONS)


@pytest.mark.parametrize(
    "fields",
    [
        {"rtol": -1e-3},
        {"atol": -1.0},
        {"rtol": math.nan},
        {"atol": math.inf},
        {"rtol": "0.1"},
        {"rtol": True},
        {"rtol": None},
        {"max_mismatch_pct": 100.1},
        {"max_mismatch_pct": -1.0},
        {"cosine": 1.01},
        {"top1": 99},
        {"top1": -0.1},
        {"topk": 5},
        {"topk": (0, 0.9)},
        {"topk": (5.0, 0.9)},
        {"topk": (5, 90)},
        {"topk": (5, 0.0)},
        {"max_mismatch_pct": 100},
        {"cosine": -1},
        {"top1": 0.0},
        {"topk": (5, 0.9, 1)},
        {"nan": "equal"},
        {"nan": None},
    ],
)
def test_an_impossible_value_is_refused(fields):
    with pytest.raises(ConfigurationError) as caught:
        Tolerance(**{"rtol": 0.0, "atol": 0.0, **fields})
    (name,) = fields
    assert name in caught.value.message
    assert caught.value.fix


def test_values_at_the_edges_are_accepted():
    Tolerance(0, 0, max_mismatch_pct=100, cosine=-0.9, top1=1, topk=(1, 0.01), nan="ignore")


def test_an_unknown_nan_policy_error_lists_the_known_ones():
    with pytest.raises(ConfigurationError, match="'forbid', 'match', 'ignore'"):
        Tolerance(0.0, 0.0, nan="allow")


@pytest.mark.parametrize(("given", "other"), [("rtol", "atol"), ("atol", "rtol")])
def test_one_of_rtol_and_atol_alone_is_refused_with_the_reason(given, other):
    with pytest.raises(ConfigurationError) as caught:
        parse_tolerance_fields({given: 0.1}, "marker on test_x")
    assert f"{given}=0.1 is given without {other}" in caught.value.message
    assert "marker on test_x" in caught.value.message
    assert f"{other}=0" in caught.value.fix


def test_rtol_and_atol_together_are_accepted():
    fields = parse_tolerance_fields({"rtol": 0.1, "atol": 0, "topk": [5, 0.9]}, "marker")
    assert fields == {"rtol": 0.1, "atol": 0, "topk": (5, 0.9)}


def test_an_unknown_field_error_lists_the_closest_and_the_known_names():
    with pytest.raises(ConfigurationError) as caught:
        parse_tolerance_fields({"max_mismatch": 1.0}, "marker on test_x")
    assert "Did you mean 'max_mismatch_pct'?" in caught.value.fix
    assert "rtol, atol, nan" in caught.value.fix


def test_origin_of_a_tolerance_cannot_be_set_by_users():
    with pytest.raises(ConfigurationError, match="unknown field 'origin'"):
        parse_tolerance_fields({"origin": "me"}, "marker")


def test_a_bad_value_names_the_place_it_was_written():
    with pytest.raises(ConfigurationError, match="marker on test_x: top1=99"):
        parse_tolerance_fields({"top1": 99}, "marker on test_x")


def test_without_a_tolerance_the_default_of_the_precision_applies():
    tolerance = resolved(precision="fp16")["probs"]
    assert (tolerance.rtol, tolerance.atol) == (1e-2, 1e-2)
    assert tolerance.origin == "default for fp16"


INI = {"fp16": {"rtol": 0.3, "atol": 0.3}, "int8": {"rtol": 0.9, "atol": 0.9}}
MARKER = {"rtol": 0.2, "atol": 0.2}
OWN = {"probs": {"rtol": 0.1, "atol": 0.1}}


@pytest.mark.parametrize(
    ("levels", "rtol", "origin"),
    [
        ({"per_output": OWN, "marker": MARKER}, 0.1, "set on the marker for output 'probs'"),
        ({"marker": MARKER, "ini": INI}, 0.2, "set on the marker"),
        ({"ini": INI}, 0.3, "set in the ini file"),
        ({"ini": {"int8": INI["int8"]}}, 1e-2, "default for fp16"),
    ],
)
def test_the_closest_level_that_sets_a_field_wins(levels, rtol, origin):
    tolerance = resolved(**levels)["probs"]
    assert (tolerance.rtol, tolerance.atol) == (rtol, rtol)
    assert tolerance.origin == origin


def test_each_field_comes_from_the_strongest_level_that_gives_it():
    tolerance = resolved(
        per_output={"probs": {"top1": 0.99}},
        marker={"rtol": 0.2, "atol": 0.0, "top1": 0.5, "nan": "match"},
        ini={"fp16": {"max_mismatch_pct": 1.0, "nan": "ignore"}},
    )["probs"]
    assert tolerance == Tolerance(
        0.2, 0.0, nan="match", max_mismatch_pct=1.0, top1=0.99, origin="set on the marker"
    )


def test_integers_are_exact_whatever_the_marker_says_for_all():
    both = resolved(PROBS, LABEL, marker={**MARKER, "top1": 0.9})
    assert both["label"] == Tolerance(0.0, 0.0, origin="default for this type")
    assert both["probs"].rtol == 0.2


def test_integers_take_a_tolerance_that_is_set_for_them_by_name():
    tolerance = resolved(LABEL, per_output={"label": {"rtol": 0.0, "atol": 1.0}})["label"]
    assert tolerance.atol == 1.0
    assert tolerance.origin == "set on the marker for output 'label'"


def test_an_output_coarser_than_its_default_is_allowed_one_step_of_its_type():
    spec = TensorSpec("probs", "bfloat16", (4,))
    tolerance = resolved(spec, precision="fp32")["probs"]
    assert tolerance.rtol == 2.0**-7
    assert "one step of bfloat16" in tolerance.origin
    assert resolved(spec, precision="fp16")["probs"] == DEFAULT_TOLERANCES["fp16"]


def test_an_unknown_output_error_lists_the_closest_and_the_known_names():
    with pytest.raises(ConfigurationError) as caught:
        resolved(PROBS, LABEL, per_output={"prob": {"top1": 0.9}})
    assert "'prob'" in caught.value.message
    assert caught.value.fix == "Did you mean 'probs'? Known: probs, label."


@pytest.mark.parametrize(
    "levels",
    [
        {"marker": {"rtol": 0.1}},
        {"per_output": {"probs": {"atol": 0.1}}},
        {"ini": {"fp16": {"rtol": 0.1}}},
    ],
)
def test_a_pair_is_not_completed_from_another_level(levels):
    with pytest.raises(ConfigurationError, match="given without"):
        resolved(**levels)


@pytest.mark.parametrize("arguments", [{"precision": "fp4"}, {"ini": {"fp4": {}}}])
def test_an_unknown_precision_is_refused(arguments):
    with pytest.raises(ConfigurationError, match="unknown precision 'fp4'"):
        resolved(**arguments)


def test_ini_lines_become_a_table():
    lines = ["", "# loose", "fp16: rtol=2e-2 atol=1e-2, nan=match", "int8: topk=5:0.9 cosine=0.99"]
    assert parse_tolerance_lines(lines, "ini trt_tolerances") == {
        "fp16": {"rtol": 2e-2, "atol": 1e-2, "nan": "match"},
        "int8": {"topk": (5, 0.9), "cosine": 0.99},
    }


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("rtol=1 atol=1", "unknown precision"),
        ("fp17: rtol=1 atol=1", "Did you mean 'fp1"),
        ("fp16: rtol=x atol=1", "'rtol=x' is not of the form field=value"),
        ("fp16: rtol", "'rtol' is not of the form field=value"),
        ("fp16: topk=5", "'topk=5' is not of the form"),
        ("fp16: rtol=1", "given without atol"),
        ("fp16: rtoll=1", "Did you mean 'rtol'"),
        ("fp16: rtol=1 atol=1 rtol=2", "a field twice"),
    ],
)
def test_a_bad_ini_line_is_quoted(line, message):
    with pytest.raises(ConfigurationError, match=message) as caught:
        parse_tolerance_lines([line], "ini trt_tolerances")
    assert repr(line) in caught.value.message


def test_a_second_ini_line_for_a_precision_is_refused():
    lines = ["fp16: rtol=1e-2 atol=1e-2", "int8: rtol=1 atol=1", "fp16: top1=0.9"]
    with pytest.raises(ConfigurationError, match="a second line for fp16"):
        parse_tolerance_lines(lines, "ini trt_tolerances")


@pytest.mark.parametrize(
    ("dtype", "shape", "cannot_fail", "can_fail"),
    [
        ("float32", ("n", 5), {"topk": (5, 0.9)}, {"topk": (4, 0.9)}),
        ("float32", ("n", 1), {"top1": 0.9}, {"cosine": 0.9}),
        ("bool", ("n",), {"rtol": 0, "atol": 1}, {"rtol": 1, "atol": 0.9}),
        ("uint8", None, {"rtol": 0, "atol": 255}, {"rtol": 0, "atol": 254}),
        ("float32", None, {"max_mismatch_pct": 100}, {"max_mismatch_pct": 100, "top1": 0.9}),
    ],
)
def test_field_that_cannot_fail_on_an_output_is_refused(dtype, shape, cannot_fail, can_fail):
    output = TensorSpec("y", dtype, shape)
    assert resolved(output, per_output={"y": can_fail})
    with pytest.raises(ConfigurationError, match=r"output 'y'|output y"):
        resolved(output, per_output={"y": cannot_fail})


def test_measure_that_the_shape_does_not_rule_out_is_accepted():
    for shape in (None, (), ("n", "classes")):
        assert resolved(TensorSpec("y", "float32", shape), marker={"top1": 0.9, "topk": (2, 0.9)})


def test_levels_together_give_the_measure_for_elements_that_may_all_differ():
    marker = {"max_mismatch_pct": 100}
    found = resolved(TensorSpec("y", "float32", None), marker=marker, per_output={"y": {"top1": 1}})
    assert found["y"].max_mismatch_pct == 100
    with pytest.raises(ConfigurationError, match="every element"):
        resolved(TensorSpec("y", "float32", None), marker=marker)


@pytest.mark.parametrize(
    ("given", "valid"),
    [(np.float32(0.25), True), (np.int64(1), True), (np.bool_(True), False), (True, False)],
)
def test_numbers_of_numpy_are_numbers(given: object, valid: bool) -> None:
    if valid:
        fields = parse_tolerance_fields({"rtol": given, "atol": 0}, "here")
        assert type(fields["rtol"]) in (int, float)
    else:
        with pytest.raises(ConfigurationError):
            parse_tolerance_fields({"rtol": given, "atol": 0}, "here")
