from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_trt.diagnostics import ConfigurationError
from pytest_trt.statistics.limits import parse_limit_fields, parse_limit_lines, resolve_limits
from pytest_trt.statistics.structure import FIGURE_OF, GROWTHS, STRUCTURAL, judge_structure

STORED = {"size_bytes": 1000.0, "device_memory_bytes": 4096.0, "layers": 72.0}


@pytest.mark.parametrize(
    ("limit", "figures", "outcome"),
    [
        ({"plan_size": 0.05}, {"size_bytes": 1050.0}, "passed"),
        ({"plan_size": 0.05}, {"size_bytes": 1051.0}, "failed"),
        ({"plan_size": 0.0}, {"size_bytes": 1000.0}, "passed"),
        ({"plan_size": 0.0}, {"size_bytes": 1001.0}, "failed"),
        ({"device_memory": 0.1}, {"device_memory_bytes": 4096.0}, "passed"),
        ({"device_memory": 0.1}, {"device_memory_bytes": 8192.0}, "failed"),
        ({"layers": 0.0}, {"layers": 71.0}, "passed"),
        ({"layers": 0.0}, {"layers": 73.0}, "failed"),
        ({"plan_size_bytes": 1000.0}, {"size_bytes": 1000.0}, "passed"),
        ({"plan_size_bytes": 1000.0}, {"size_bytes": 1001.0}, "failed"),
        ({"device_memory_bytes": 10.0}, {"device_memory_bytes": 10.0}, "passed"),
        ({"device_memory_bytes": 10.0}, {"device_memory_bytes": 11.0}, "failed"),
        ({"max_layers": 80.0}, {"layers": 80.0}, "passed"),
        ({"max_layers": 80.0}, {"layers": 81.0}, "failed"),
        ({"build_s": 60.0}, {"build_s": 59.0}, "passed"),
        ({"build_s": 60.0}, {"build_s": 61.0}, "failed"),
        ({"cold_start_s": 1.0}, {"cold_start_s": 0.5}, "passed"),
        ({"cold_start_s": 1.0}, {"cold_start_s": 1.5}, "failed"),
        ({"device_memory": 0.1}, {}, "not measured"),
        ({"max_layers": 80.0}, {}, "not measured"),
    ],
)
def test_limit_is_exact(limit, figures, outcome: str) -> None:
    (judged,) = judge_structure(limit, figures, STORED)
    assert judged.outcome == outcome
    assert bool(judged.why) == (outcome == "not measured")


def test_figure_that_the_baseline_does_not_have_is_not_testable() -> None:
    (judged,) = judge_structure({"layers": 0.0}, {"layers": 70.0}, {"size_bytes": 1.0})
    assert judged.outcome == "not measured"
    assert "--trt-update" in judged.why


def test_without_a_baseline_only_figures_are_judged() -> None:
    limits = {"layers": 0.0, "max_layers": 80.0}
    assert [one.name for one in judge_structure(limits, {"layers": 99.0}, None)] == ["max_layers"]


@given(st.sampled_from(GROWTHS), st.integers(1, 10**12), st.integers(0, 10**12), st.floats(0, 1e3))
def test_growth_is_refused_exactly_beyond_its_limit(name, then: int, now: int, share) -> None:
    figure = FIGURE_OF[name]
    (judged,) = judge_structure({name: share}, {figure: now}, {figure: then})
    assert judged.outcome == ("passed" if now <= then * (1 + share) else "failed")
    assert now > then or judged.outcome == "passed"


def test_limits_are_read_from_markers_and_lines() -> None:
    given_ = {"plan_size": "5%", "layers": "0%", "max_layers": 120, "build_s": 600, "p99": "10%"}
    expected = {"plan_size": 0.05, "layers": 0.0, "max_layers": 120.0, "build_s": 600.0, "p99": 0.1}
    assert parse_limit_fields(given_, "here") == expected
    line = "fp16: plan_size=5% layers=0% max_layers=120 build_s=600 p99=10%"
    assert parse_limit_lines([line], "ini", precisions=("fp16",)) == {"fp16": expected}


@pytest.mark.parametrize("name", STRUCTURAL)
def test_limit_can_be_switched_off_and_a_wrong_one_says_what_to_write(name: str) -> None:
    assert parse_limit_fields({name: "off"}, "here") == {name: None}
    for wrong in (True, "fast", float("nan"), -1, "-1%", "nan%"):
        with pytest.raises(ConfigurationError, match=f"here: {name}=") as error:
            parse_limit_fields({name: wrong}, "here")
        assert f"{name}=" in error.value.fix


def test_limits_of_the_engine_do_not_share_in_the_error_of_the_suite() -> None:
    found = resolve_limits({"p99": 0.1, "plan_size": 0.05, "build_s": 60.0}, {})
    assert found.structural == {"plan_size": 0.05, "build_s": 60.0}
    assert found.measured == 1


@pytest.mark.parametrize(
    ("limits", "needs_baseline", "has_standalone_limits"),
    [
        ({"plan_size": 0.05}, True, False),
        ({"max_layers": 80.0}, False, True),
        ({"layers": 0.0, "build_s": 60.0}, True, True),
    ],
)
def test_only_growth_needs_a_baseline(
    limits, needs_baseline: bool, has_standalone_limits: bool
) -> None:
    found = resolve_limits(limits, {})
    assert (found.relative, found.measured) == ({}, 0)
    assert (found.needs_baseline, found.has_standalone_limits) == (
        needs_baseline,
        has_standalone_limits,
    )
