"""Invariants of single runs, of engines that are functions."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from pytest_trt.accuracy.check import ConsistencyCheck
from pytest_trt.accuracy.invariants import Invariants, WantedInvariants
from pytest_trt.accuracy.metric_checks import parse_metrics, resolve_metrics
from pytest_trt.accuracy.tolerance import Tolerance
from pytest_trt.diagnostics import EngineRunError
from pytest_trt.engine.spec import Toolchain
from pytest_trt.tensors.profiles import ShapeRange
from pytest_trt.tensors.spec import TensorSpec
from pytest_trt.terms import Verdict

X = TensorSpec("x", "float32", ("n", 2))
Y = TensorSpec("y", "float32", ("n", 2))


def engine(inputs=(X,), outputs=(Y,), profiles=(), op_types=()):
    return SimpleNamespace(
        key=SimpleNamespace(digest="key"),
        model=SimpleNamespace(
            path=Path("m.onnx"), inputs=inputs, outputs=outputs, op_types=op_types
        ),
        spec=SimpleNamespace(precision="fp32", profiles=profiles),
        target=SimpleNamespace(arch="cpu"),
        plan_facts=SimpleNamespace(calibration=None),
        toolchain=Toolchain("ONNX Runtime", {"onnxruntime": "1.24.1"}),
        notes=(),
        finished=False,
    )


def checked(
    function, inputs, wanted, *, on=None, rebuilt=(), tolerance=None, metrics=(), **options
):
    """Run a function as an engine under invariants, where its reference agrees with it."""
    on = on or engine()
    names = [one.name for one in on.model.outputs]
    tolerance = tolerance or Tolerance(0.0, 1e-6, origin="marker")
    own = function(inputs)
    invariants = Invariants(
        wanted,
        lambda _, given: function(given),
        lambda _, given, total: (rebuilt[number](given) for number in range(total)),
    )
    check = ConsistencyCheck(
        lambda _: dict.fromkeys(names, tolerance),
        lambda given: own if given is inputs else function(given),
        metrics=lambda _: metrics,
        invariants=invariants,
        **options,
    )
    check.observe(on, inputs, own, "test_it.py:1")
    return check


BATCH = WantedInvariants(batch_invariant=True)
FOUR = {"x": np.arange(8, dtype=np.float32).reshape(4, 2)}


def double(inputs):
    return {"y": 2 * inputs["x"]}


def test_rows_that_are_independent_pass():
    check = checked(double, FOUR, BATCH)
    assert not check.has_failed
    (result,) = check.results()
    (outcome,) = result.invariants
    # Four samples alone, three repeated, two other orders.
    assert (outcome.verdict, outcome.runs, outcome.used) == (Verdict.PASSED, 9, 0.0)
    assert result.runs == 1


def centred(inputs):
    return {"y": inputs["x"] - inputs["x"].mean(axis=0)}


def first_is_special(inputs):
    return {"y": inputs["x"] + np.eye(len(inputs["x"]), 1, dtype=np.float32)}


def odd_batches(inputs):
    return {"y": inputs["x"] + np.float32(len(inputs["x"]) % 2)}


@pytest.mark.parametrize(
    ("function", "what", "samples"),
    [
        (centred, "samples alone", [0, 1, 2, 3]),
        (first_is_special, "samples alone", [1, 2, 3]),
        (odd_batches, "samples alone", [0, 1, 2, 3]),
    ],
)
def test_a_sample_that_depends_on_others_or_its_place_is_found(function, what, samples):
    check = checked(function, FOUR, BATCH)
    (found,) = check.diagnostics()
    assert (found.code, found.facts["worst"]) == ("TRT435", what)
    assert found.facts["samples"] == samples
    assert "axis 0" in found.remedy.text
    (result,) = check.results()
    assert (result.verdict, result.failed_runs) == (Verdict.FAILED, 0)
    assert result.invariants[0].failed_runs == 1


def test_a_place_in_the_batch_matters_though_samples_alone_agree():
    def swapped_at_the_end(inputs):
        rows = 2 * inputs["x"]
        if len(rows) > 1:
            rows[-1] += np.float32(rows[-1].sum() == rows[0].sum())
        return {"y": rows}

    check = checked(swapped_at_the_end, FOUR, BATCH)
    (found,) = check.diagnostics()
    assert found.facts["worst"] == "samples repeated to fill a batch"


def test_the_reference_shows_whether_model_or_engine_depends_on_the_batch():
    of_model = checked(centred, FOUR, BATCH).diagnostics()[0]
    assert any("the model mixes samples" in line for line in of_model.details)
    invariants = Invariants(BATCH, lambda _, given: centred(given), lambda *_: iter(()))
    check = ConsistencyCheck(
        lambda _: {"y": Tolerance(0.0, 5.0, origin="marker")},
        lambda given: {"y": given["x"]},
        invariants=invariants,
    )
    wide = {"x": FOUR["x"] * 2}
    check.observe(engine(), wide, {"y": wide["x"]}, "test_it.py:1")
    (found,) = check.diagnostics()
    assert any("the engine does" in line for line in found.details)


def test_a_reference_that_takes_no_other_batch_leaves_the_cause_open():
    def whole_batches(given):
        if given is not FOUR:
            raise ValueError("batch")
        return centred(given)

    invariants = Invariants(BATCH, lambda _, given: centred(given), lambda *_: iter(()))
    check = ConsistencyCheck(
        lambda _: {"y": Tolerance(0.0, 0.1)}, whole_batches, invariants=invariants
    )
    check.observe(engine(), FOUR, centred(FOUR), "test_it.py:1")
    (found,) = check.diagnostics()
    assert found.code == "TRT435"
    assert not any("the model mixes" in line or "engine does" in line for line in found.details)


def test_a_batch_of_one_is_filled():
    (result,) = checked(double, {"x": FOUR["x"][:1]}, BATCH).results()
    assert result.invariants[0].runs == 1
    check = checked(odd_batches, {"x": FOUR["x"][:1]}, BATCH)
    assert check.diagnostics()[0].facts["worst"] == "samples repeated to fill a batch"


@pytest.mark.parametrize("rows", [[0], [2, 2, 2]])
def test_samples_that_do_not_differ_restrict_the_check(rows):
    """A model that mixes samples passes with them."""
    same = {"x": FOUR["x"][rows]}
    (outcome,) = checked(centred, same, BATCH).results()[0].invariants
    assert outcome.verdict is Verdict.PASSED
    assert "no run had samples that differ" in outcome.restriction
    several = WantedInvariants(batch_invariant=True, several_shapes=True)
    assert not checked(centred, same, several).results()[0].invariants[0].restriction
    assert not checked(double, FOUR, BATCH).results()[0].invariants[0].restriction


def test_outputs_and_inputs_without_the_batch_are_left_alone():
    table, count = TensorSpec("table", "float32", (2,)), TensorSpec("count", "int64", (1,))

    def function(inputs):
        size = np.array([len(inputs["x"])])
        return {"y": inputs["x"] * inputs["table"], "count": size}

    on = engine((X, table), (Y, count))
    check = checked(function, {**FOUR, "table": np.ones(2, np.float32)}, BATCH, on=on)
    assert not check.has_failed


# Four rows are as many as the batch has samples, and three for one sample alone.
@pytest.mark.parametrize(("rows", "passes"), [(3, True), (4, True), (4, False)])
def test_an_output_of_another_symbol_counts_where_its_size_is_the_batch(rows, passes):
    found = TensorSpec("y", "float32", ("found", 2))

    def function(inputs):
        # As many rows whatever the batch is, or one for each sample.
        return {"y": np.full((rows, 2), len(inputs["x"]), np.float32)[: max(3, len(inputs["x"]))]}

    def by_sample(inputs):
        return {"y": np.full((len(inputs["x"]), 2), len(inputs["x"]), np.float32)}

    check = checked(function if passes else by_sample, FOUR, BATCH, on=engine((X,), (found,)))
    (outcome,) = check.results()[0].invariants
    assert outcome.verdict is (Verdict.NOT_MEASURED if passes else Verdict.FAILED)
    if passes:
        assert check.diagnostics()[0].code == "TRT160"


def test_as_many_rows_as_samples_by_chance_are_no_batch():
    found = TensorSpec("y", "float32", ("found", 2))

    def boxes(inputs):  # of a detector: two in the first image, and none in the second
        return {"y": np.repeat(inputs["x"], inputs["x"][:, 0].astype(int), axis=0)}

    images = {"x": np.array([[2, 0.5], [0, 0.6], [1, 0.7], [1, 0.8]], np.float32)}
    check = checked(boxes, images, BATCH, on=engine((X,), (found,)))
    assert check.results()[0].invariants[0].verdict is Verdict.NOT_MEASURED
    check = checked(
        lambda inputs: {**double(inputs), "found": boxes(inputs)["y"]},
        images,
        BATCH,
        on=engine((X,), (Y, TensorSpec("found", "float32", ("found", 2)))),
    )
    assert check.results()[0].invariants[0].verdict is Verdict.PASSED


def test_what_the_profiles_do_not_allow_is_said():
    profiles = ({"x": ShapeRange((2, 2), (4, 2), (4, 2))},)
    check = checked(double, FOUR, BATCH, on=engine(profiles=profiles))
    (outcome,) = check.results()[0].invariants
    assert "no batch below 2" in outcome.restriction
    assert checked(centred, FOUR, BATCH, on=engine(profiles=profiles)).has_failed


def test_a_sample_is_named_where_the_batch_is_no_row():
    state = TensorSpec("h", "float32", (2, "n", 2))

    def function(inputs):
        last = np.arange(len(inputs["x"])) == len(inputs["x"]) - 1
        return {"h": np.stack([inputs["x"], inputs["x"] + last[:, None]]).astype(np.float32)}

    (found,) = checked(function, FOUR, BATCH, on=engine((X,), (state,))).diagnostics()
    assert found.facts["samples"] == [0]
    assert any("the model mixes samples" in line for line in found.details)


def test_metrics_judge_rearranged_samples_too():
    def judged(function, limit):
        given = parse_metrics({"max_abs": limit}, "marker")
        metrics = resolve_metrics([Y], given, {})
        wide = Tolerance(0.0, 1e9, elementwise=False, origin="marker")
        return checked(function, FOUR, BATCH, tolerance=wide, metrics=metrics)

    assert not judged(double, "<= 0.1").has_failed
    assert judged(centred, "<= 0.1").diagnostics()[0].code == "TRT435"


def test_an_error_of_a_further_run_names_the_invariant():
    def function(inputs):
        if len(inputs["x"]) == 1:
            raise EngineRunError("no memory", code="TRT340", fix="none.")
        return double(inputs)

    with pytest.raises(EngineRunError, match="batch_invariant=: no memory"):
        checked(function, FOUR, BATCH)


@pytest.mark.parametrize(("every", "code"), [(1, None), (3, "TRT436")])
def test_bits_that_change_are_found(every, code):
    calls = []

    def function(inputs):
        calls.append(1)
        changed = np.float32(2.0**-23 if every > 1 and len(calls) % every == 0 else 0)
        return {"y": inputs["x"] + changed}

    check = checked(function, FOUR, WantedInvariants(deterministic=3))
    assert len(calls) == 3
    assert [one.code for one in check.diagnostics()] == ([code] if code else [])
    if code:
        (found,) = check.diagnostics()
        assert found.facts["worst"] == "run 3 of 3"
        assert found.facts["largest"] == pytest.approx(2.0**-23)
        assert found.facts["mismatched"] == 2


def test_a_sign_of_zero_is_a_bit_and_nan_equals_itself():
    signs = iter([1.0, -1.0])

    def function(inputs):
        return {"y": np.float32([[0.0, np.nan]]) * np.float32(next(signs))}

    tolerance = Tolerance(0.0, 1.0, nan="match", origin="marker")
    wanted = WantedInvariants(deterministic=2)
    check = checked(function, {"x": FOUR["x"][:1]}, wanted, tolerance=tolerance)
    (found,) = check.diagnostics()
    assert "differs in the bits only" in found.message

    def constant(inputs):
        return {"y": np.float32([[0.0, np.nan]])}

    assert not checked(constant, {"x": FOUR["x"][:1]}, wanted, tolerance=tolerance).has_failed


def test_a_model_that_draws_random_numbers_is_named():
    rng = np.random.default_rng(0)

    def function(inputs):
        return {"y": rng.normal(size=(4, 2))}

    on = engine(op_types={"RandomNormal": 1})
    (found,) = checked(function, FOUR, WantedInvariants(deterministic=2), on=on).diagnostics()
    assert found.facts["operators"] == ["RandomNormal"]
    assert "RandomNormal" in found.remedy.text


def off_by(error):
    return lambda inputs: {"y": 2 * inputs["x"] + np.float32(error)}


def test_the_worst_rebuild_decides():
    wanted, tolerance = WantedInvariants(rebuilds=3), Tolerance(0.0, 0.1, origin="marker")
    good = [off_by(0.0), off_by(0.05), off_by(0.02)]
    check = checked(double, FOUR, wanted, rebuilt=good, tolerance=tolerance)
    assert not check.has_failed
    (outcome,) = check.results()[0].invariants
    assert (outcome.runs, outcome.worst) == (3, "rebuild 2 of 3")
    assert outcome.used == pytest.approx(0.5, rel=1e-4)
    bad = [off_by(0.2), off_by(0.3), off_by(0.02)]
    check = checked(double, FOUR, wanted, rebuilt=bad, tolerance=tolerance)
    (found,) = check.diagnostics()
    assert (found.code, found.facts["worst"]) == ("TRT437", "rebuild 2 of 3")
    assert found.facts["used"] == pytest.approx(3.0, rel=1e-4)


def test_no_engine_is_built_again_where_the_first_fails():
    def function(inputs):
        raise AssertionError("built")

    invariants = Invariants(WantedInvariants(rebuilds=1), lambda *_: {}, function)
    check = ConsistencyCheck(
        lambda _: {"y": Tolerance(0.0, 0.1)}, lambda _: {"y": FOUR["x"]}, invariants=invariants
    )
    check.observe(engine(), FOUR, {"y": FOUR["x"] + 1}, "test_it.py:1")
    assert [one.code for one in check.diagnostics()] == ["TRT401"]
    assert check.results()[0].invariants == ()


def test_a_violation_is_reported_right_after_the_run():
    reported = []
    checked(centred, FOUR, BATCH, on_failure=reported.append)
    assert [one.code for one in reported[0]] == ["TRT435"]
    checked(double, FOUR, BATCH, on_failure=reported.append)
    assert len(reported) == 1


def test_of_several_runs_the_worst_is_explained():
    invariants = Invariants(BATCH, lambda _, given: centred(given), lambda *_: iter(()))
    check = ConsistencyCheck(
        lambda _: {"y": Tolerance(0.0, 1e-6, origin="marker")}, centred, invariants=invariants
    )
    for line, factor in enumerate((1, 100, 10)):
        inputs = {"x": FOUR["x"] * np.float32(factor)}
        check.observe(engine(), inputs, centred(inputs), f"test_it.py:{line}")
    (found,) = check.diagnostics()
    assert any(line.startswith("run 2 at test_it.py:1") for line in found.details)
    assert check.results()[0].invariants[0].failed_runs == 3


def test_without_samples_nothing_is_compared():
    check = checked(double, {"x": np.ones((0, 2), np.float32)}, BATCH)
    assert check.invariants.outcomes(engine())[0].verdict is Verdict.NOT_MEASURED
    assert "TRT160" in [one.code for one in check.diagnostics()]


@pytest.mark.parametrize(("rows", "found"), [(4, ()), (1, ("TRT435",))])
def test_infinity_in_the_same_samples_is_no_difference(rows, found):
    """The run itself fails for it; samples that are mixed are another fault."""

    def infinite(inputs):
        return {"y": np.where(np.arange(len(inputs["x"]))[:, None] < rows, np.inf, inputs["x"])}

    check = checked(infinite, FOUR, BATCH)
    assert check.has_failed
    assert [one.code for one in check.invariants.diagnostics(engine())] == [*found]
