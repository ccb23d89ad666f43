from __future__ import annotations

from dataclasses import replace

import html5lib

from pytest_trt.precision.error import OutputError
from pytest_trt.precision.suggest import PrecisionResult, PrecisionSuggestion
from pytest_trt.report.precision.markdown import suggestion_markdown
from pytest_trt.report.precision.page import suggestion_page
from pytest_trt.report.precision.words import cells, heading, titles

MEASURED = PrecisionResult(
    "fp16",
    errors=(OutputError("y", 0.011, 0.0015, 0.99999),),
    passed=True,
    used=0.56,
    metric=0.98,
    p50_ms=1.25,
    throughput=800.0,
    size_bytes=2_000_000,
    best=True,
    pareto=True,
)

SUGGESTION = PrecisionSuggestion(
    model="m<b>.onnx",
    model_digest="0",
    target="sm86",
    toolchain="TensorRT 10",
    source="data",
    samples=2,
    calibrated_on="the same samples",
    shapes={"x": (1, 3)},
    tolerance="the default of each precision",
    metric_name="accuracy",
    mode="graph",
    calls=70,
    rounds=20,
    precisions=(
        replace(MEASURED, precision="int8", passed=False, used=2.5, best=False),
        MEASURED,
        PrecisionResult("fp8", problem="needs sm89", code="TRT360"),
    ),
)


def test_row_has_a_cell_for_every_title() -> None:
    row = dict(zip(titles(SUGGESTION), cells(MEASURED, SUGGESTION), strict=True))
    assert row["precision"] == "fp16"
    assert row["accuracy"] == "0.98"
    assert row["P99"] == "-"
    assert row["result"] == "best"


def test_heading_is_the_answer() -> None:
    assert (
        heading(SUGGESTION) == "m<b>.onnx: fp16 is the fastest precision within tolerance on sm86"
    )
    none = replace(SUGGESTION, precisions=SUGGESTION.precisions[:1])
    assert heading(none).endswith("no precision is within tolerance")
    assert heading(replace(none, precisions=())).endswith("nothing could be measured")


def test_markdown_has_a_table_and_what_could_not_be_built() -> None:
    text = suggestion_markdown(SUGGESTION)
    assert "| **fp16** | 0.0015 | 0.011 |" in text
    assert "- fp8: `TRT360: needs sm89`" in text
    assert "graph" in text


def test_page_is_valid_and_escapes_names() -> None:
    assert "### `m<b>.onnx`: " in suggestion_markdown(SUGGESTION)
    page = suggestion_page(SUGGESTION)
    html5lib.HTMLParser(strict=True).parse(page)
    assert "m<b>" not in page
    assert "beyond tolerance" in page
    assert "needs sm89" in page
