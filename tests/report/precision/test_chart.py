from __future__ import annotations

import math
from xml.etree import ElementTree

from pytest_trt.report.precision.chart import Axis, Point, chart

X, Y = Axis("P50 in ms"), Axis("error")


def drawn(*points: Point) -> ElementTree.Element:
    return ElementTree.fromstring(chart(points, X, Y, title="t", summary="s"))


def texts(svg: ElementTree.Element) -> list[str]:
    return [one.text or "" for one in svg.iter("text")]


def test_every_point_has_its_text_and_screen_readers_a_summary() -> None:
    svg = drawn(Point("fp32 <&>", 2.0, 0.0), Point("fp16", 1.0, 1e-3, passed=False, ringed=True))
    assert {"fp32 <&>", "fp16", "P50 in ms", "error"} <= {*texts(svg)}
    assert svg.get("role") == "img"
    assert svg.find("desc").text == "s"
    assert len(svg.findall(".//circle[@class='best']")) == 1
    # What failed is a cross, whatever its colour is.
    assert len(svg.findall(".//path")) == 2


def test_values_that_span_decades_get_a_logarithmic_axis() -> None:
    svg = drawn(Point("a", 1.0, 1e-6), Point("b", 1.1, 1e-2))
    assert {"1e-06", "0.01"} <= {*texts(svg)}


def test_zero_on_a_logarithmic_axis_is_labelled_as_zero() -> None:
    points = [Point(str(kept), kept, 0.5) for kept in (0, 1, 12)]
    ticks = [one.text for one in drawn(*points).iter() if one.get("class") == "tick"]
    assert ticks[:3] == ["0", "1", "10"]


def test_line_runs_through_the_front_only() -> None:
    points = [Point("a", 1.0, 1.0, on_line=True), Point("b", 2.0, 0.5, on_line=True)]
    assert len(drawn(*points, Point("c", 3.0, 3.0)).findall("polyline")) == 1
    assert not drawn(Point("c", 3.0, 3.0)).findall("polyline")


def test_what_is_not_finite_is_not_drawn() -> None:
    assert "a" not in texts(drawn(Point("a", 1.0, math.inf), Point("b", 1.0, 1.0)))
    assert chart([Point("a", 1.0, math.inf)], X, Y, title="", summary="").startswith("<p>Nothing")
