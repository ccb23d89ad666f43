from __future__ import annotations

from dataclasses import replace

import html5lib

from pytest_trt.precision.tune import Score, Search, Sensitivity, Step, TradeOff, Tuned
from pytest_trt.report.precision.tuned import argument, tuned_page, verdict

SEARCH = Search(
    "found",
    ("bad<b>",),
    (Sensitivity("bad<b>", "MatMul", 0.5), Sensitivity("good", "Add", 1e-4)),
    (Step(("bad<b>",), Score(True, 1e-4), built=False), Step(("bad<b>",), Score(True, 1e-4), True)),
)
FOUND = Tuned(
    *("test_it.py::test_it", "m.onnx", "int8", "cpu", "ONNX Runtime 1"),
    before=("kept",),
    runs=2,
    search=SEARCH,
    seconds=1.0,
    trade_off=(
        TradeOff("none", 0, Score(False, 0.5, 3.0), True, 1.0, 1000),
        TradeOff("1 node", 1, Score(True, 1e-4, 0.1), True, 1.2, 2000),
        TradeOff("fp32", 2, Score(True, 0.0)),
    ),
)


def test_argument_has_what_was_kept_before_as_well() -> None:
    assert argument(FOUND) == 'keep_fp32=["kept", "bad<b>"]'
    assert argument(replace(FOUND, search=Search("passes"))) == ""


def test_argument_leaves_other_precisions_as_they_are() -> None:
    found = argument(replace(FOUND, several=True))
    assert found == 'by_precision={"int8": {"keep_fp32": ["kept", "bad<b>"]}}'


def test_verdict_is_one_line_for_every_outcome() -> None:
    assert verdict(FOUND) == (
        "the check passes with 1 of 2 nodes in FP32 (2 runs; 1 build, 1 trial, 1.0 s)"
    )
    outcomes = {
        "passes": "passes already",
        "impossible": "not even FP32 passes",
        "timeout": "not finished in time",
        "all": "no int8 engine passes: all 2 nodes would stay in FP32",
    }
    for outcome, text in outcomes.items():
        assert text in verdict(replace(FOUND, search=replace(SEARCH, outcome=outcome)))
    assert verdict(replace(FOUND, search=None, problem="why")) == "not searched: why"


def test_engine_that_was_not_built_is_not_reported_to_fail() -> None:
    every = replace(SEARCH, outcome="timeout", kept=("bad<b>", "good"))
    assert "no set of nodes that passes was found" in verdict(replace(FOUND, search=every))


def test_nodes_that_were_not_tried_are_not_spoken_for() -> None:
    assert FOUND.search is not None
    every = replace(FOUND.search, outcome="all")
    text = verdict(replace(FOUND, search=every, has_bodies=True))
    assert "nodes inside branches and loops were not tried, only the 2 nodes outside" in text


def test_page_is_valid_and_escapes_names() -> None:
    page = tuned_page([FOUND, replace(FOUND, search=None, trade_off=(), problem="why")])
    html5lib.HTMLParser(strict=True).parse(page)
    assert "bad<b>" not in page
    assert "2 engines tuned" in page
    assert "not searched: why" in page
