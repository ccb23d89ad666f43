"""Limits of the engine itself: each fails just beyond, and those that allow anything are named."""

from __future__ import annotations

import pytest

from pytest_trt.selftest.proof import Proof
from pytest_trt.selftest.structure import prove_structure
from pytest_trt.statistics.structure import STRUCTURAL, Structural

ENGINE = {
    "size_bytes": 1_000_003.0,
    "device_memory_bytes": 0.0,
    "layers": 12.0,
    "build_s": 9.5,
    "cold_start_s": 0.25,
}
LIMITS: dict[Structural, float] = {
    "plan_size": 0.05,
    "device_memory": 0.0,
    "layers": 0.0,
    "plan_size_bytes": 2_000_000.0,
    "device_memory_bytes": 1e9,
    "max_layers": 12.0,
    "build_s": 600.0,
    "cold_start_s": 2.5,
}


def proofs(
    limits: dict[Structural, float], *, figures=ENGINE, stored: object = ENGINE
) -> list[Proof]:
    return list(prove_structure(limits, figures, stored))  # type: ignore[arg-type]


@pytest.mark.parametrize("name", STRUCTURAL)
def test_every_limit_fails_beyond_and_passes_within(name: Structural) -> None:
    found = proofs({name: LIMITS[name]})
    assert [(proof.must_fail, proof.holds) for proof in found] == [(True, True), (False, True)]


def test_injected_figures_are_reported() -> None:
    first, second = proofs({"layers": 0.1})
    assert (first.check, first.injected, second.injected) == ("layers within 10%", "14", "13.2")


def test_growth_that_allows_twice_as_much_cannot_fail() -> None:
    (found,) = proofs({"plan_size": 5.0})
    assert "plan_size within 500% passed with twice as much, but must fail" in str(found)
    assert not found.holds


@pytest.mark.parametrize(
    ("of", "why"),
    [
        ({"figures": {}}, "not reported by this engine"),
        ({"stored": None}, "there is no baseline"),
        ({"stored": {}}, "the baseline does not have it"),
    ],
)
def test_a_limit_that_nothing_can_be_held_against_cannot_fail(of, why: str) -> None:
    (found,) = proofs({"layers": 0.0}, **of)
    assert not found.holds
    assert why in str(found)


def test_figures_need_no_baseline() -> None:
    assert all(proof.holds for proof in proofs({"max_layers": 20.0}, stored=None))
