from __future__ import annotations

import pytest

from pytest_trt.report.baseline_text import update_text

THEN, NOW = {"p50": 1.0, "p99": 1.02}, {"p50": 1.2, "p99": 1.31}


@pytest.mark.parametrize(
    ("kind", "runs", "came", "text"),
    [
        ("first", 1, 1, "first run"),
        ("first", 5, 5, "first 5 runs"),
        ("added", 3, 1, "added run 3 of 5"),
        ("added", 5, 3, "added 3 runs, now 5 of 5"),
        ("replaced", 1, 1, "replaced, P99 1.02 -> 1.31 ms (+28%): another engine"),
        ("calibrated", 5, 0, "calibrated"),
    ],
)
def test_what_was_done_is_said(kind, runs, came, text) -> None:
    assert (
        update_text(kind, runs=runs, came=came, before=THEN, now=NOW, why="another engine") == text
    )


def test_figure_is_one_that_both_sides_have() -> None:
    told = update_text("replaced", runs=1, came=1, before={"p50": 1.0}, now=NOW)
    assert told == "replaced, P50 1.00 -> 1.20 ms (+20%)"
    rates = {"throughput": 1000.0}, {"throughput": 900.0}
    told = update_text("replaced", runs=1, came=1, before=rates[0], now=rates[1])
    assert told == "replaced, throughput 1,000 -> 900/s (-10%)"
    assert update_text("replaced", runs=1, came=1, before={}, now=NOW) == "replaced"
