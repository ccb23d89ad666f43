from __future__ import annotations

import re

import html5lib
import pytest
from builders_history import history_of, on_day, stepped
from builders_report import reported, target
from report.comparison.test_compare import off_by, timed

from pytest_trt.diagnostics import Diagnostic
from pytest_trt.report.history.build import HistoryBuilder
from pytest_trt.report.history.page import page

SVG = "{http://www.w3.org/2000/svg}"

HOSTILE = "</summary></svg><script>alert(1)</script>"


def parsed(made: str):
    return html5lib.HTMLParser(strict=True, namespaceHTMLElements=False).parse(made)


def text_of(made: str) -> str:
    return " ".join("".join(parsed(made).itertext()).split())


def test_planted_change_is_drawn_and_listed_and_an_unchanged_series_has_no_mark() -> None:
    made = page(history_of(*stepped(8, 5)))
    assert 'class="step worse"' in made
    assert "+20%" in text_of(made)
    for shown in (
        "newest against first: P50 1.00 ms -> 1.20 ms, +20% (",
        "1 worse",
        "00000005, 2026-10-06 03:00",
        "P50 1.00 ms -> 1.20 ms",
        "commit 000",
    ):
        assert shown in text_of(made)
    calm = page(history_of(*stepped(8, 99)))
    assert 'class="step' not in calm
    assert "Changes" not in text_of(calm)


def test_break_is_drawn_and_named_and_the_line_is_in_pieces() -> None:
    days = [
        on_day(day, {"test_it": timed(1.0, seed=day, mode="graph" if day < 3 else "enqueue")})
        for day in range(6)
    ]
    made = page(history_of(*days))
    assert made.count('class="break-name"') == 2  # latency and throughput
    assert "speed not joined at 00000003" in text_of(made)
    whole = page(history_of(*stepped(6, 99)))
    assert made.count("<polyline") == 2 * whole.count("<polyline")


def test_every_picture_has_a_name_and_a_table_of_the_same_figures() -> None:
    made = page(history_of(*stepped(4, 2), on_day(9, {"test_e": off_by(0.002)})))
    tree = parsed(made)
    pictures = [one for one in tree.iter(f"{SVG}svg") if "plot" in one.get("class", "").split()]
    named = [one for one in pictures if one.get("role") == "img"]
    titles = [one.get("aria-label").partition(".")[0] for one in named]
    assert titles == [
        "Latency in ms",
        "Throughput per second",
        "Largest error, as a share of the tolerance",
    ]
    assert all(one.find(f"{SVG}desc").text for one in named)
    assert all(one.get("aria-hidden") == "true" for one in pictures if one not in named)
    tables = [one for one in tree.iter("table") if one.get("class", "").strip() == "grid"]
    assert len(tables) == 2
    assert "1.20 ms" in "".join(tables[0].itertext())


def test_errors_far_below_the_tolerance_have_labels_of_their_own() -> None:
    days = [on_day(day, {"test_it": off_by(10.0 ** -(day + 3))}) for day in range(5)]
    tree = parsed(page(history_of(*days)))
    ticks = [
        one.text
        for one in tree.iter(f"{SVG}text")
        if one.get("class") == "tick" and one.text.endswith("%")
    ]
    assert ticks == ["0.001%", "0.01%", "0.1%", "1%", "10%"]


def test_infinite_error_is_in_the_table_and_not_on_the_axis() -> None:
    made = page(history_of(*(on_day(day, {"test_it": off_by(float("inf"))}) for day in range(2))))
    assert ">999x" in text_of(made)
    assert not re.search(r'(cx|cy|points)="[^"]*(nan|inf)', made)


@pytest.mark.parametrize("text", [HOSTILE, "x" * 3000, "\u202e\x1b[31m"])
def test_nothing_breaks_out_and_nothing_is_loaded(text: str) -> None:
    days = [
        on_day(
            day,
            {f"test_{text}": timed(1.0 + day, mode=("graph", "enqueue")[day % 2])},
            commit=text,
            targets=[target(text, text)],
        )
        for day in range(3)
    ]
    builder = HistoryBuilder()
    for number, report in enumerate(days):
        builder.add(text, {**report, "runs": [{**report["runs"][0], "id": str(number)}]})
    builder.leave_out(Diagnostic("TRT902", text))
    made = page(builder.history())
    parsed(made)
    assert "<script" not in made
    assert "\u202e" not in made
    assert "\x1b" not in made
    assert "default-src 'none'" in made
    assert not re.search(r"(src|href)=", made.replace("default-src=", ""))


def test_test_that_failed_has_a_cross() -> None:
    failed = reported("failed", "slow", speeds=timed(1.0).record.speeds)
    made = page(history_of(*stepped(3, 9), on_day(5, {"test_it": failed})))
    assert made.count('class="failed"') == 2
    assert "failed" in text_of(made)
