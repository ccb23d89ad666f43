from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest

from pytest_trt.accuracy.result import MetricOutcome
from pytest_trt.accuracy.tolerance import Tolerance
from pytest_trt.precision.tolerance import (
    OutputEvidence,
    TestTolerances,
    loosest,
    propose,
    propose_limit,
)
from pytest_trt.report.precision.words import tolerance_cells


def evidence(*runs, tolerance: Tolerance | None = None) -> OutputEvidence:
    found = OutputEvidence(tolerance or Tolerance(1e-2, 1e-2))
    for actual, reference in runs:
        found.add(np.asarray(actual), np.asarray(reference))
    return found


def noisy(error: float, *, seed: int = 0, scale: float = 1.0):
    rng = np.random.default_rng(seed)
    reference = scale * rng.normal(size=(64, 10)).astype(np.float32)
    noise = error * rng.uniform(-1, 1, reference.shape).astype(np.float32)
    return reference * (1 + noise) + scale * noise / 10, reference


def passes(fields, actual, reference) -> bool:
    allowed = fields["atol"] + fields["rtol"] * np.abs(reference)
    return bool((np.abs(actual - reference) <= allowed).all())


@pytest.mark.parametrize("error", [3e-3, 6e-3])
@pytest.mark.parametrize("scale", [1.0, 1e4])
def test_all_runs_pass_with_what_is_proposed_and_half_of_it_is_too_little(error, scale) -> None:
    runs = [noisy(error, seed=seed, scale=scale) for seed in range(4)]
    found = propose("y", "fp16", evidence(*runs), margin=1.0)
    assert found.runs == 4
    assert found.elements == 4 * 640
    assert all(passes(found.fields, *run) for run in runs)
    halved = {name: value / 4 for name, value in found.fields.items()}
    assert not all(passes(halved, *run) for run in runs)


def test_margin_widens_it() -> None:
    runs = evidence(noisy(1e-3))
    once, twice = (propose("y", "fp16", runs, margin).fields for margin in (1.0, 2.0))
    assert twice["rtol"] == pytest.approx(2 * once["rtol"], rel=0.1)
    assert 1 - twice["cosine"] >= 1 - once["cosine"]


def test_equal_outputs_still_get_room_for_another_order_of_sums() -> None:
    _, reference = noisy(0.0)
    fields = propose("y", "fp32", evidence((reference, reference)), 2.0).fields
    assert fields["rtol"] == pytest.approx(1e-4)  # a tenth of the default
    assert fields["atol"] == pytest.approx(1e-5 * np.abs(reference).max(), rel=0.1)
    assert fields["cosine"] == 0.9999


@pytest.mark.parametrize(
    ("scale", "atol"), [(0.5, 1e-5), (2.9e-3, 1e-5), (1e-4, 1.1e-6), (1e-12, 1.1e-14), (0.0, 1e-5)]
)
def test_atol_of_small_outputs_allows_for_the_rounding_of_larger_values(scale, atol) -> None:
    reference = np.linspace(-scale, scale, 40).reshape(4, 10)
    fields = propose("y", "fp32", evidence((reference, reference)), 2.0).fields
    assert fields["atol"] == pytest.approx(atol, rel=0.1)


def test_tolerance_that_tests_nothing_is_not_proposed() -> None:
    _, reference = noisy(0.0)
    found = propose("y", "int8", evidence((np.zeros_like(reference), reference)), 2.0)
    assert found.fields == {}
    assert "tests nothing" in found.reason


@pytest.mark.parametrize("precision", ["fp32", "tf32", "fp16"])
def test_fp32_gets_no_tolerance_that_rounding_does_not_explain(precision: str) -> None:
    actual, reference = noisy(0.05, scale=10.0)
    found = propose("probs", precision, evidence((actual, reference)), 2.0)
    assert bool(found.fields) is (precision == "fp16")
    assert ("rounding does not explain" in found.reason) is (precision != "fp16")


def test_output_between_0_and_1_gets_atol_alone_where_rtol_would_test_nothing() -> None:
    logits = np.random.default_rng(0).normal(size=(64, 10)) * 3
    reference = 1 / (1 + np.exp(-logits))
    noise = np.random.default_rng(1).uniform(-0.06, 0.06, logits.shape)
    fields = propose("probs", "int8", evidence((reference + noise, reference)), 2.0).fields
    assert fields["rtol"] == 0.0
    assert fields["atol"] == pytest.approx(0.12, rel=0.1)
    # An engine that is wrong still fails.
    assert not passes(fields, np.full_like(reference, 0.5), reference)
    assert "at rtol=0" in propose("p", "int8", evidence((1 - reference, reference)), 2.0).reason


@pytest.mark.parametrize(("precision", "scale"), [("int8", 2.0), ("fp16", 0.2), ("fp8", 5.0)])
def test_atol_alone_that_a_constant_would_pass_is_not_proposed(
    precision: str, scale: float
) -> None:
    reference = scale * np.random.default_rng(0).uniform(size=(64, 10))
    for share in (0.05, 0.15, 0.25):
        error = share * scale * np.where(np.arange(10) % 2, 1, -1)
        found = propose("y", precision, evidence((reference + error, reference)), 2.0)
        constant = np.full_like(reference, scale / 2)
        assert not found.fields or not passes(found.fields, constant, reference)
        assert bool(found.fields) is (share == 0.05)


@pytest.mark.parametrize("precision", ["int8", "fp8", "fp16"])
def test_outputs_of_half_of_their_size_do_not_pass_what_is_proposed_for_noise(
    precision: str,
) -> None:
    """Such as those of a wrong scale: noise is a large share of small elements."""
    reference = np.random.default_rng(0).normal(size=(64, 40))
    noise = np.random.default_rng(1).uniform(-0.06, 0.06, reference.shape)
    fields = propose("y", precision, evidence((reference + noise, reference)), 2.0).fields
    assert passes(fields, reference + noise, reference)
    assert not passes(fields, 0.8 * reference, reference)
    assert fields["rtol"] == 0.0


def test_noise_that_is_a_share_of_each_element_gets_rtol() -> None:
    reference = np.exp(np.random.default_rng(0).normal(size=(64, 40)) * 3)
    noise = np.random.default_rng(1).uniform(-0.12, 0.12, reference.shape)
    fields = propose("y", "int8", evidence((reference * (1 + noise), reference)), 2.0).fields
    assert 0.2 < fields["rtol"] < 0.35


def test_what_is_not_finite_or_exact_gets_none() -> None:
    _, reference = noisy(0.0)
    lost = reference.copy()
    lost[0, 0] = np.inf
    assert "1 element is not finite" in propose("y", "fp16", evidence((lost, reference)), 2).reason
    found = propose("y", "fp16", evidence((np.full_like(reference, np.inf), reference)), 2)
    assert "elements are not finite on one side" in found.reason
    assert set(tolerance_cells(found)[-7:-2]) == {"-"}  # no error of 0
    ids = np.arange(4)
    assert propose("y", "fp16", evidence((ids, ids)), 2).reason == "it is compared exactly"


def test_an_output_that_has_no_elements_to_compare_gets_none() -> None:
    def reason(*runs, tolerance=None):
        return propose("y", "fp16", evidence(*runs, tolerance=tolerance), 2).reason

    same, shorter = noisy(1e-3), (np.ones((3, 4)), np.ones((4, 4)))
    assert reason(same, shorter).startswith("its shape differs from the reference's in 1 of 2 runs")
    lost = np.full((4, 4), np.nan)
    assert reason((lost, lost), (np.ones(0), np.ones(0))) == "it has no finite elements"
    by_metric = Tolerance(0.0, 0.0, elementwise=False)
    assert reason(same, tolerance=by_metric) == "its elements are not compared"
    assert reason(same, (np.ones(0), np.ones(0))) == ""


def test_top1_is_proposed_where_the_test_limits_it() -> None:
    actual, reference = noisy(1e-3)
    swapped = actual.copy()
    swapped[0] = actual[0][::-1]
    ranked = Tolerance(1e-2, 1e-2, top1=0.9)
    close = evidence((actual, reference), tolerance=ranked)
    assert propose("y", "fp16", close, 2.0).fields["top1"] == 1.0
    assert "top1" not in propose("y", "fp16", evidence((actual, reference)), 2.0).fields
    assert evidence((swapped, reference)).top1 == pytest.approx(63 / 64)


def test_quantiles_are_those_of_the_errors_up_to_a_quarter_octave() -> None:
    reference = np.ones(1000)
    found = evidence((reference + np.linspace(0, 1, 1000), reference))
    assert 0.99 <= found.quantile(0.99) <= 1.0
    assert 0.5 <= found.quantile(0.5) <= 0.6


def limit(name: str, comparison, bound: float, value: float | None, unit: str = "") -> str:
    found = MetricOutcome(name, "", unit, comparison, bound, value)
    return propose_limit(found, "fp16", 2.0).limit


def test_limits_lose_the_margin_in_their_own_units() -> None:
    assert limit("max_abs", "<=", 1.0, 0.01) == "<= 0.02"
    assert limit("cosine", ">=", 0.5, 0.99) == ">= 0.98"
    assert limit("snr_db", ">=", 10, 60.0, "dB") == ">= 53.9"
    assert limit("own", ">=", 0.5, None) == ""
    assert limit("top1", ">=", 0.5, 0.4) == ""
    assert limit("boxes", ">=", 1.0, 10.0) == ">= 5"


def test_one_limit_for_several_outputs_is_the_loosest() -> None:
    outcomes = [MetricOutcome("snr_db", "", "dB", ">=", 10, value) for value in (60.0, 40.0)]
    assert loosest([propose_limit(one, "fp16", 1.0) for one in outcomes]) == ">= 40"
    outcomes.append(MetricOutcome("snr_db", "", "dB", ">=", 10, None))
    assert loosest([propose_limit(one, "fp16", 1.0) for one in outcomes]) == ""


def proposed(*outputs: tuple[str, str]) -> TestTolerances:
    run = evidence(noisy(1e-3))
    return TestTolerances(
        "test_it.py::test_a",
        Path("test_it.py"),
        ("test_a",),
        tuple(propose(name, precision, run, 2.0) for name, precision in outputs),
    )


def test_arguments_are_as_short_as_the_test_allows() -> None:
    source = "@m.trt_consistency()\ndef test_a(): pass\n"
    assert "trt_consistency(rtol=0" in proposed(("y", "fp16")).edited(source)
    several = proposed(("y", "fp16"), ("z", "fp16")).edited(source)
    assert 'outputs={"y": {"rtol": ' in re.sub(r"\s+", "", several).replace(":", ": ")
    precisions = proposed(("y", "fp16"), ("y", "int8"))
    edited = re.sub(r"\s+", "", precisions.edited(source)).replace(":", ": ")
    assert 'by_precision={"fp16": {"outputs": {"y": {"rtol": ' in edited
    assert precisions.arguments().startswith('by_precision={"fp16": {"outputs": {"y": {"rtol"')
