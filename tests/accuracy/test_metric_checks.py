"""Metrics of a test: parsed, applied to outputs, measured, and what is refused."""

from __future__ import annotations

import functools
import math

import numpy as np
import pytest

from pytest_trt import metrics
from pytest_trt.accuracy.compare import compare_values
from pytest_trt.accuracy.metric_checks import check_judged, parse_metrics, resolve_metrics
from pytest_trt.accuracy.result import Comparison, merge_runs
from pytest_trt.accuracy.tolerance import Tolerance
from pytest_trt.diagnostics import ConfigurationError
from pytest_trt.tensors.spec import TensorSpec

PROBS = TensorSpec("probs", "float32", ("n", 4))
LABEL = TensorSpec("label", "int64", ("n",))
TEXT = TensorSpec("text", "string", ("n",))
BAG = TensorSpec("bag", "sequence(float32)", None)

ONE = {"probs": np.ones((2, 4)), "label": np.array([1, 2])}


def two(outputs, reference):
    return 1.0


def three(outputs, reference, inputs):
    return float(inputs["x"][0])


def parsed(name="m", value=(two, ">= 0.9")):
    return parse_metrics({name: value}, "marker")[name]


def measured(function, limit=">= 0.5", *, output="", outputs=ONE, reference=ONE):
    per_output = {output: parse_metrics({"m": (function, limit)}, "here")} if output else {}
    common = {} if output else parse_metrics({"m": (function, limit)}, "here")
    (check,) = resolve_metrics([PROBS, LABEL], common, per_output)
    return check.measure(outputs, reference, {"x": np.array([7.0])})


def refused(name, value):
    with pytest.raises(ConfigurationError) as caught:
        parsed(name, value)
    assert caught.value.diagnostic.code == "TRT141"
    assert name in caught.value.message
    return caught.value


@pytest.mark.parametrize(
    ("limit", "allowed", "not_allowed"),
    [
        (">= 0.9", (0.9, 1, math.inf), (0.89, -math.inf)),
        ("<=0.9", (0.9, -1), (0.91, math.inf)),
        (" > 0.9 ", (0.91,), (0.9,)),
        ("< 1e-3", (0,), (0.001,)),
        ("== 2", (2, 2.0), (1.9, 2.1)),
    ],
)
def test_limits(limit, allowed, not_allowed):
    for value in allowed:
        assert measured(lambda o, r, v=value: v, limit).passed
    for value in not_allowed:
        assert not measured(lambda o, r, v=value: v, limit).passed


@pytest.mark.parametrize(
    "limit", ["0.9", ">= ", ">= x", "=> 1", ">= nan", "<= inf", "!= 1", 0.9, None, ">= 1 2", ""]
)
def test_what_is_no_limit_is_refused(limit):
    assert "is not a limit" in refused("iou", (two, limit)).message


@pytest.mark.parametrize(
    ("name", "value", "why"),
    [
        ("iou", ">= 0.9", "is unknown"),
        ("max_aps", "<= 0.1", "is unknown"),
        ("p0_abs", "<= 1", "is unknown"),
        ("p100_abs", "<= 1", "is unknown"),
        ("top0", ">= 0.5", "is unknown"),
        ("iou", (two,), "no limit, nor a function"),
        ("iou", 0.9, "no limit, nor a function"),
        ("iou", ("max_abs", "<= 1"), "not a function"),
        ("iou", (lambda o: 1.0, ">= 1"), "takes (o)"),
        ("iou", (lambda a, b, c, d: 1.0, ">= 1"), "takes (a, b, c, d)"),
        ("iou", (lambda *, outputs, reference: 1.0, ">= 1"), "takes (*, outputs"),
        ("iou", (lambda a, b, *, k: 1.0, ">= 1"), "takes (a, b, *, k)"),
        ("iou", (type("C", (), {"__call__": None})(), ">= 1"), ""),
        ("max_abs", ">= 0.1", "smaller is better"),
        ("kl_divergence", "> 0.1", "smaller is better"),
        ("cosine", "<= 0.9", "larger is better"),
        ("first_divergence", "< 8", "larger is better"),
        ("top1", ">= 0", "could never fail"),
        ("cosine", ">= -1", "could never fail"),
        ("top5", ">= 1.5", "out of range"),
        ("top5", "> 1", "out of range"),
        ("max_abs", "< 0", "out of range"),
        ("max_abs", "<= -1", "out of range"),
        ("token_agreement", "== 2", "out of range"),
        ("iou", (metrics.max_abs, ">= 1"), "smaller is better"),
        ("iou", (metrics.detections("b"), "<= 0.9"), "larger is better"),
    ],
)
def test_mistakes_are_refused_by_name(name, value, why):
    assert why in refused(name, value).message


@pytest.mark.parametrize("given", [["max_abs"], "max_abs", {"": "<= 1"}, {1: "<= 1"}])
def test_what_is_no_mapping_of_names_is_refused(given):
    with pytest.raises(ConfigurationError):
        parse_metrics(given, "marker")


def test_names_that_are_close_are_offered():
    assert "did you mean 'max_abs'?" in refused("max_aps", "<= 0.1").fix


@pytest.mark.parametrize(
    ("name", "limit"),
    [
        ("max_abs", "<= 0.1"),
        ("max_abs", "== 0"),
        ("mean_rel", "< 0.1"),
        ("p99_abs", "<= 0.1"),
        ("p99.9_rel", "<= 0.1"),
        ("cosine", "> -1"),
        ("snr_db", ">= -3"),
        ("psnr_db", ">= 30"),
        ("kl_divergence", "<= 1e-3"),
        ("kl_divergence_logits", "<= 1e-3"),
        ("top1", ">= 1"),
        ("top5", "> 0"),
    ],
)
def test_every_built_in_measures(name, limit):
    (check,) = resolve_metrics([PROBS, LABEL], parse_metrics({name: limit}, "marker"), {})
    same = {"probs": np.array([[0.1, 0.2, 0.3, 0.4, 0.0, 0.0]]), "label": np.array([1])}
    off = {**same, "probs": np.array([[0.1, 0.2, 0.4, 0.3, 0.0, 0.0]])}
    assert check.output == "probs"
    found = check.measure(same, same, {})
    assert (found.passed, found.problem) == (True, "")
    assert check.measure(off, same, {}).value != found.value or name == "top5"


@pytest.mark.parametrize(
    ("function", "value"),
    [
        (two, 1.0),
        (three, 7.0),
        (lambda o, r, inputs=None: float(inputs["x"][0]), 7.0),
        (lambda o, r, *, inputs: float(inputs["x"][0]), 7.0),
        (lambda o, r, x: float(x["x"][0]), 7.0),
        (lambda *both: len(both), 2.0),
        (lambda inputs, targets: 1.0, 1.0),  # a name from training loops
        (lambda o, r, eps=0.5: eps, 0.5),
        (functools.partial(lambda o, r, k: k, k=3), 3.0),
        (lambda o, r: np.float16(0.5), 0.5),
        (lambda o, r: np.array(2.0), 2.0),
        (lambda o, r: np.int8(2), 2.0),
        (lambda o, r: 3, 3.0),
        (lambda o, r: math.inf, math.inf),
    ],
)
def test_functions_and_what_they_may_return(function, value):
    found = measured(function)
    assert (found.value, found.problem, found.passed) == (value, "", True)


def boom(outputs, reference):
    raise ValueError("no boxes\nin it")


@pytest.mark.parametrize(
    ("function", "problem"),
    [
        (lambda o, r: math.nan, "it returned NaN"),
        (lambda o, r: np.float32("nan"), "it returned NaN"),
        (lambda o, r: None, "it returned None, not one real number"),
        (lambda o, r: True, "it returned True"),
        (lambda o, r: np.bool_(True), "True"),
        (lambda o, r: "0.9", "it returned str"),
        (lambda o, r: 1j, "it returned complex"),
        (lambda o, r: np.ones(2), "it returned ndarray of shape [2]"),
        (lambda o, r: [1.0], "it returned list"),
        (lambda o, r: 10**400, "beyond float64"),
        (boom, "it raised ValueError: no boxes in it, line"),
        (lambda o, r: 1 / 0, "it raised ZeroDivisionError: division by zero"),
        (lambda o, r: pytest.skip("no boxes"), "it raised Skipped: no boxes"),
        (lambda o, r: metrics.snr_db(o["probs"], "no"), "snr_db: str64 elements are not numbers"),
    ],
)
def test_what_is_no_number_fails(function, problem):
    found = measured(function, "<= 5")
    assert not found.passed
    assert found.value is None
    assert problem in found.problem
    assert found.kind == "no metric value"


def test_a_function_gets_arrays_of_one_output_or_all_by_name():
    assert measured(lambda o, r: o.shape[1], output="probs").value == 4.0
    assert measured(lambda o, r: len(o["label"]) + len(r), "> 0").value == 4.0
    missing = measured(two, output="probs", outputs={})
    assert missing.problem == "the output is missing"
    assert measured(two, output="probs", reference={}).problem == "the reference is missing"


def test_a_function_cannot_change_what_later_checks_get():
    def changes(outputs, reference):
        outputs["probs"] += 1.0
        return 1.0

    outputs = {"probs": np.ones((2, 4))}
    assert "read-only" in measured(changes, outputs=outputs).problem
    assert (outputs["probs"] == 1.0).all()
    outputs["probs"][0, 0] = 2.0


@pytest.mark.parametrize("output", ["", "probs"], ids=["all", "one"])
def test_a_function_that_writes_past_that_changes_only_its_own(output):
    """As tensors of torch.from_numpy do, which share the memory."""

    def changes(outputs, reference):
        array = outputs if output else outputs["probs"]
        array.flags.writeable = True
        array += 1.0
        return 1.0

    outputs = {"probs": np.ones((2, 4))}
    assert measured(changes, output=output, outputs=outputs).value == 1.0
    assert (outputs["probs"] == 1.0).all()


def test_a_metric_can_be_interrupted():
    def interrupted(outputs, reference):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        measured(interrupted)


def names(common=(), per_output=(), outputs=(PROBS, LABEL)):
    own = {name: parse_metrics(given, "own") for name, given in dict(per_output).items()}
    checks = resolve_metrics(outputs, parse_metrics(dict(common), "all"), own)
    return [(check.name, check.output, f"{check.comparison} {check.bound:g}") for check in checks]


def test_named_metrics_judge_each_output_that_they_fit():
    assert names({"max_abs": "<= 1"}) == [("max_abs", "probs", "<= 1")]
    assert names({"token_agreement": ">= 1"}) == [("token_agreement", "label", ">= 1")]
    assert names({"iou": (two, ">= 1")}) == [("iou", "", ">= 1")]
    own = {"probs": {"max_abs": "<= 2"}, "label": {"max_abs": "<= 3"}}
    found = names({"max_abs": "<= 1"}, own)
    assert found == [("max_abs", "probs", "<= 2"), ("max_abs", "label", "<= 3")]
    assert names({"max_abs": "<= 1"}, {"probs": {"max_abs": None}}) == []
    assert names({"max_abs": None}) == []


@pytest.mark.parametrize(
    ("common", "per_output", "outputs"),
    [
        ({"max_abs": "<= 1"}, {}, [LABEL, TEXT, BAG]),
        ({"token_agreement": ">= 1"}, {}, [PROBS]),
        ({}, {"text": {"max_abs": "<= 1"}}, [TEXT]),
        ({}, {"bag": {"max_abs": "<= 1"}}, [BAG]),
        ({}, {"probs": {"first_divergence": ">= 1"}}, [PROBS]),
        ({"d": (metrics.detections("boxes"), ">= 1")}, {}, [PROBS]),
        ({}, {"probs": {"d": (metrics.detections("probs"), ">= 1")}}, [PROBS]),
    ],
)
def test_metrics_that_fit_no_output_are_refused(common, per_output, outputs):
    with pytest.raises(ConfigurationError) as caught:
        names(common, per_output, outputs)
    assert caught.value.diagnostic.code == "TRT141"


@pytest.mark.parametrize(
    ("common", "refused"),
    [
        ({"top3": ">= 0.6"}, True),
        ({"top3": ">= 0.7"}, False),
        ({"top2": ">= 0.1"}, False),
        ({"top5": ">= 0.9"}, False),  # has no value, which fails at every run
    ],
)
def test_a_rank_of_so_few_elements_that_all_agree_is_refused(common, refused):
    for given in ((common, {}), ({}, {"probs": common})):
        if not refused:
            assert len(names(*given)) == 1
            continue
        with pytest.raises(ConfigurationError, match="share 2 of the 3 largest"):
            names(*given)


def test_functions_judge_sequences_and_text():
    assert names({}, {"bag": {"m": (two, ">= 1")}, "text": {"m": (two, ">= 1")}}, [TEXT, BAG])


def test_outputs_that_nothing_judges_are_refused():
    unjudged = {"probs": Tolerance(0.0, 0.0, elementwise=False), "label": Tolerance(0.0, 0.0)}
    of_label = resolve_metrics([LABEL], {}, {"label": parse_metrics({"m": (two, "> 0")}, "m")})
    for checks in ((), of_label):
        with pytest.raises(ConfigurationError, match="'probs' has elementwise=False"):
            check_judged(unjudged, checks)
    check_judged(unjudged, resolve_metrics([PROBS], parse_metrics({"cosine": "> 0"}, "m"), {}))
    check_judged(unjudged, resolve_metrics([PROBS], parse_metrics({"m": (two, "> 0")}, "m"), {}))
    check_judged({"probs": Tolerance(0.0, 0.0, elementwise=False, cosine=0.9)}, ())


def test_the_worst_of_all_runs_is_judged():
    def runs(limit, *values):
        outcomes = [measured(lambda o, r, v=value: v, limit) for value in values]
        return merge_runs(Comparison((), metrics=(one,)) for one in outcomes).metrics[0]

    assert runs(">= 0.5", 0.9, 0.6, 0.8).value == 0.6
    assert runs("<= 0.5", 0.1, 0.4, math.inf).value == math.inf
    assert runs("== 2", 2, 3, 1.5).value == 3
    lost = runs(">= 0.5", 0.9, math.nan, 0.1)
    assert (lost.value, lost.problem) == (None, "it returned NaN")
    assert (lost.runs, lost.failed_runs) == (3, 2)
    assert runs(">= 0.5", math.inf, 40.0).value == 40.0


@pytest.mark.parametrize(("limit", "passes"), [(">= 5", True), (">= 20", False)])
def test_a_metric_of_bytes_tries_the_mean_image(limit, passes):
    image = np.random.default_rng(0).integers(0, 256, (2, 8, 8)).astype(np.uint8)
    image[0, 0, 0] = 0
    pixels = TensorSpec("pixels", "uint8", ("n", 8, 8))
    metric = {"pixels": parse_metrics({"psnr_db": limit}, "here")}
    (check,) = resolve_metrics([pixels], {}, metric)
    found = check.measure({"pixels": image}, {"pixels": image}, {}, trial=True)
    assert (found.passed, found.one_value) == (True, passes)


def test_a_value_that_rounds_to_its_limit_is_shown_in_full():
    found = measured(lambda o, r: 0.89999999, ">= 0.9")
    assert (found.figure, found.limit) == ("0.89999999", ">= 0.9")
    assert measured(lambda o, r: 0.95).figure == "0.95"
    (check,) = resolve_metrics([PROBS], parse_metrics({"snr_db": ">= 40"}, "m"), {})
    found = check.measure({"probs": np.array([1.1])}, {"probs": np.array([1.0])}, {})
    assert (found.figure, found.limit) == ("20 dB", ">= 40 dB")


ALONE = Tolerance(1e-3, 1e-3, elementwise=False)


def test_elements_that_are_not_compared_may_differ_and_so_may_shapes():
    outputs, reference = {"y": np.ones((2, 4))}, {"y": np.zeros((2, 4))}
    found = compare_values(outputs, reference, {"y": ALONE})
    assert found.passed
    assert found.used == 0.0
    assert compare_values({"y": np.ones(3)}, reference, {"y": ALONE}).passed
    assert compare_values({"y": np.ones((0, 4))}, {"y": np.ones((0, 4))}, {"y": ALONE}).passed
    text = {"y": np.array(["a"])}
    assert compare_values(text, {"y": np.array(["b", "c"])}, {"y": ALONE}).passed


@pytest.mark.parametrize(
    ("outputs", "kind"),
    [
        (np.array([1.0, np.nan, 1.0]), "nonfinite"),
        (np.array([1.0, -np.inf]), "nonfinite"),
        (np.ones(3, np.float32), "dtype"),
    ],
)
def test_nan_and_dtypes_are_judged_all_the_same(outputs, kind):
    found = compare_values({"y": outputs}, {"y": np.ones(3)}, {"y": ALONE})
    assert found.kinds == {kind}
    assert found.used == (math.inf if kind == "nonfinite" else 0.0)


def test_measures_of_rows_need_one_shape():
    tolerance = Tolerance(1e-3, 1e-3, elementwise=False, cosine=0.9)
    found = compare_values({"y": np.ones(3)}, {"y": np.ones(2)}, {"y": tolerance})
    assert found.kinds == {"shape"}


@pytest.mark.parametrize("name", ["snr_db", "psnr_db"])
@pytest.mark.parametrize(("wrong", "limit"), [(0, 10), (1, 10), (2, 10)])
def test_a_ratio_of_the_batch_counts_the_samples_that_it_hides(name, wrong, limit):
    """One sample of 64 that is wrong costs a batch no more than 20 to 15 dB."""
    reference = np.random.default_rng(0).normal(size=(64, 10))
    outputs = 1.01 * reference
    outputs[:wrong] = 0.0
    limit += 15 * (name == "psnr_db")  # its signal is the range, not the mean square
    per_output = {"y": parse_metrics({name: f">= {limit}"}, "here")}
    (metric,) = resolve_metrics([TensorSpec("y", "float64", (64, 10))], {}, per_output)
    runs = [metric.measure({"y": one}, {"y": reference}, {}) for one in (outputs, reference)]
    assert [one.passed for one in runs] == [True, True]
    merged = merge_runs([Comparison((), (), metrics=(one,)) for one in runs])
    assert [one.lost_samples for one in (*runs, *merged.metrics)] == [wrong, 0, wrong]
