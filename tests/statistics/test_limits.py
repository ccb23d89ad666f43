from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_trt.diagnostics import ConfigurationError
from pytest_trt.statistics.limits import (
    DEFAULT_LIMITS,
    parse_limit_fields,
    parse_limit_lines,
    resolve_limits,
)

PRECISIONS = ("fp32", "fp16")


def test_relative_limits_are_shares_and_absolute_ones_figures() -> None:
    found = parse_limit_fields({"p99": "10%", "throughput": "2.5 %", "p99_ms": 12}, "here")
    assert found == {"p99": pytest.approx(0.1), "throughput": pytest.approx(0.025), "p99_ms": 12.0}


@pytest.mark.parametrize("off", [None, "off"])
@pytest.mark.parametrize("name", ["p50", "p95_ms"])
def test_limit_can_be_switched_off(name: str, off: str | None) -> None:
    assert parse_limit_fields({name: off}, "here") == {name: None}


@pytest.mark.parametrize(
    ("given_", "message"),
    [
        ({"p98": "10%"}, "unknown limit 'p98'"),
        ({"p99": 0.1}, "is not a percentage"),
        ({"p99": "ten%"}, "is not a percentage"),
        ({"p99": "nan%"}, "is not a percentage"),
        ({"p99": "1.9%"}, "too small to be measured"),
        ({"p50": "-5%"}, "too small to be measured"),
        ({"throughput": "100%"}, "allows a throughput of 0"),
        ({"p99_ms": "12"}, "not a number of milliseconds"),
        ({"p99_ms": 0}, "not a number of milliseconds"),
        ({"p99_ms": True}, "not a number of milliseconds"),
        ({"p99_ms": 10**400}, "p99_ms=inf is not a number of milliseconds"),
        ({"max_layers": 1.5}, "max_layers=1.5 is not a whole number above 0"),
        ({"max_layers": 10**400}, "max_layers=inf is not a whole number above 0"),
        ({"build_s": 0}, "build_s=0 is not a number of seconds above 0"),
        ({"min_throughput": float("inf")}, "not a number of items per second"),
        ({"faster_than": "fp32"}, "names no opponent with a factor"),
        ({"faster_than": {}}, "names no opponent with a factor"),
        ({"faster_than": {1: 1.5}}, "names no opponent with a factor"),
        ({"faster_than": {"fp32": "50%"}}, "is '50%', which is not a factor"),
        ({"faster_than": {"fp32": True}}, "which is not a factor"),
        ({"faster_than": {"fp32": "fastx"}}, "is 'fastx', which is not a factor"),
        ({"faster_than": {"fp32": 0}}, "which is not a factor"),
        ({"faster_than": {"fp32": float("inf")}}, "which is not a factor"),
        ({"faster_than": {"fp32": 0.4}}, "allows more than twice the time"),
    ],
)
def test_invalid_limit_is_refused_with_what_to_write(given_, message: str) -> None:
    with pytest.raises(ConfigurationError, match=message) as error:
        parse_limit_fields(given_, "trt_benchmark")
    assert str(error.value).startswith("trt_benchmark: ")
    assert error.value.fix


@given(st.floats(2, 10_000))
def test_every_share_from_two_percent_on_is_a_limit_of_latency(percent: float) -> None:
    assert parse_limit_fields({"p99": f"{percent}%"}, "here")["p99"] == percent / 100


def test_lines_are_read_by_precision() -> None:
    lines = ["", "# ours", "fp16: p99=8%, throughput=4%", "fp32: p99_ms=12.5 p50=off"]
    assert parse_limit_lines(lines, "trt_limits", precisions=PRECISIONS) == {
        "fp16": {"p99": 0.08, "throughput": 0.04},
        "fp32": {"p99_ms": 12.5, "p50": None},
    }


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("fp4: p99=8%", "unknown precision 'fp4'"),
        ("fp16: p99", "not of the form limit=value"),
        ("fp16: p99_ms=fast", "not a number of milliseconds"),
        ("fp16: p99=8", "is not a percentage"),
        ("fp16: p99=8% p99=50%", "a limit twice"),
        ("fp32: p99=8%", "a second line for fp32"),
    ],
)
def test_line_that_is_not_a_limit_is_quoted(line: str, message: str) -> None:
    with pytest.raises(ConfigurationError, match=message) as error:
        parse_limit_lines(["fp32: p50=9%", line], "trt_limits", precisions=PRECISIONS)
    assert line in str(error.value)


def test_defaults_hold_where_the_marker_names_no_limit() -> None:
    assert resolve_limits({}, {}).relative == DEFAULT_LIMITS
    assert resolve_limits({"p99": None}, {}).relative.keys() == {"p50", "p95", "throughput"}
    assert resolve_limits({}, {"p99": 0.08}).relative == {**DEFAULT_LIMITS, "p99": 0.08}


def test_marker_that_names_limits_is_held_to_those() -> None:
    assert resolve_limits({"p99": 0.2}, {}).relative == {"p99": 0.2}
    only_absolute = resolve_limits({"p99_ms": 12.0}, {})
    assert (only_absolute.relative, only_absolute.absolute) == ({}, {"p99_ms": 12.0})


def test_marker_wins_over_the_ini_line_name_by_name() -> None:
    found = resolve_limits({"p99": 0.2, "p50": None}, {"p99": 0.08, "p50": 0.03, "p95_ms": 9.0})
    assert found.relative == {"p99": 0.2}
    assert found.absolute == {"p95_ms": 9.0}
    assert found.measured == 2


def test_test_without_any_limit_left_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="cannot fail"):
        resolve_limits(dict.fromkeys(DEFAULT_LIMITS), {})


def test_written_limits_are_explicit_and_defaults_are_not() -> None:
    assert resolve_limits({}, {}).explicit == frozenset()
    assert resolve_limits({}, {"p99": 0.08}).explicit == {"p99"}
    assert resolve_limits({"p95": 0.2, "p99": None}, {"p99": 0.08}).explicit == {"p95"}
    assert resolve_limits({"p99_ms": 3.0}, {}).explicit == frozenset()


def test_old_name_of_a_limit_works_and_warns() -> None:
    with pytest.warns(DeprecationWarning, match="min_throughput_qps is now called min_throughput"):
        found = parse_limit_fields({"min_throughput_qps": 100}, "trt_benchmark")
    assert found == {"min_throughput": 100.0}


def test_limits_may_be_numbers_of_numpy_but_no_booleans() -> None:
    assert parse_limit_fields({"p99_ms": np.float32(12.5)}, "here") == {"p99_ms": 12.5}
    with pytest.raises(ConfigurationError):
        parse_limit_fields({"p99_ms": np.bool_(True)}, "here")


def test_factors_are_limits_by_opponent_and_need_no_baseline() -> None:
    marker = parse_limit_fields({"faster_than": {"fp32": 1.5, "onnxruntime": "3x"}}, "here")
    limits = resolve_limits(marker, {})
    assert limits.faster_than == {"fp32": 1.5, "onnxruntime": 3.0}
    assert not limits.relative  # a named limit replaces the defaults
    assert (limits.measured, limits.needs_baseline) == (2, False)
    assert limits.has_standalone_limits
    left = limits.without(["fp32", "onnxruntime"])
    assert (left.measured, left.can_fail) == (0, False)


def test_marker_and_ini_file_add_their_opponents() -> None:
    lines = ["fp16: faster_than.fp32=1.5 faster_than.onnxruntime=2x"]
    ini = parse_limit_lines(lines, "trt_limits", precisions=PRECISIONS)["fp16"]
    marker = parse_limit_fields({"faster_than": {"fp32": 1.2, "tf32": 1.0}}, "here")
    assert resolve_limits(marker, ini).faster_than == {"fp32": 1.2, "tf32": 1.0, "onnxruntime": 2.0}
    one_off = parse_limit_fields({"faster_than": {"fp32": "off"}}, "here")
    assert resolve_limits(one_off, ini).faster_than == {"onnxruntime": 2.0}
    all_off = parse_limit_fields({"faster_than": "off", "p99": "10%"}, "here")
    assert not resolve_limits(all_off, ini).faster_than
    assert resolve_limits({}, ini).relative == DEFAULT_LIMITS


def test_line_with_a_factor_and_no_opponent_says_how_to_write_it() -> None:
    with pytest.raises(ConfigurationError) as error:
        parse_limit_lines(["fp16: faster_than=1.5"], "trt_limits", precisions=PRECISIONS)
    assert "faster_than.fp32=1.5" in str(error.value.fix)
