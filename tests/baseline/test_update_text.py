from __future__ import annotations

import pytest

from pytest_trt.baseline.update_text import update_text

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
def test_actions_are_reported(kind, runs, came, text) -> None:
    assert (
        update_text(kind, runs=runs, came=came, before=THEN, now=NOW, why="another engine") == text
    )


def test_figure_is_one_that_both_sides_have() -> None:
    reported = update_text("replaced", runs=1, came=1, before={"p50": 1.0}, now=NOW)
    assert reported == "replaced, P50 1.00 -> 1.20 ms (+20%)"
    rates = {"throughput": 1000.0}, {"throughput": 900.0}
    reported = update_text("replaced", runs=1, came=1, before=rates[0], now=rates[1])
    assert reported == "replaced, throughput 1,000 -> 900/s (-10%)"
    assert update_text("replaced", runs=1, came=1, before={}, now=NOW) == "replaced"


def test_a_metric_that_is_not_limited_is_no_headline() -> None:
    now = {"p50": 1.1, "p99": 13.1}
    reported = update_text("replaced", runs=1, came=1, before=THEN, now=now, limited=("p50",))
    assert reported == "replaced, P50 1.00 -> 1.10 ms (+10%)"
    # Limits of other metrics leave the choice open.
    reported = update_text("replaced", runs=1, came=1, before=THEN, now=NOW, limited=("p95",))
    assert reported == "replaced, P99 1.02 -> 1.31 ms (+28%)"


@pytest.mark.parametrize(
    ("now", "text"),
    [
        ({"p50": 2.5, "p99": 0.5}, "P50 1.00 -> 2.50 ms (+150%), P99 1.02 -> 0.500 ms (-51%)"),
        ({"p50": 1.05, "p99": 0.5}, "P99 1.02 -> 0.500 ms (-51%)"),
        ({"p50": 1.2, "p99": 1.31}, "P99 1.02 -> 1.31 ms (+28%)"),
    ],
)
def test_figure_that_became_worse_is_not_hidden_by_one_that_became_better(now, text) -> None:
    assert update_text("replaced", runs=1, came=1, before=THEN, now=now) == f"replaced, {text}"


def test_lost_throughput_is_not_hidden_either() -> None:
    reported = update_text(
        "replaced",
        runs=1,
        came=1,
        before={**THEN, "throughput": 1000.0},
        now={**THEN, "throughput": 500.0},
    )
    assert reported.startswith("replaced, throughput 1,000 -> 500/s (-50%), P99 1.02")
