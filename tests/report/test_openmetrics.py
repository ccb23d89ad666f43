from __future__ import annotations

import pytest
from builders_benchmark import TOO_SLOW
from builders_report import check, document, reported, skipped, speed
from prometheus_client import parser
from prometheus_client.openmetrics import parser as openmetrics

from pytest_trt.report.merging import merge_documents
from pytest_trt.report.openmetrics import openmetrics_text

TESTS = {
    "test_a": lambda: reported(checks=(check(),), speeds=(speed(),)),
    'test_b["quoted" \\ \n]': lambda: reported("failed", speeds=(speed(verdict="inconclusive"),)),
    "test_c": lambda: skipped("no GPU"),
}


def text(required: tuple[str, ...] = ()) -> str:
    return openmetrics_text(document({n: make() for n, make in TESTS.items()}, required=required))


def samples(content: str, name: str) -> list[tuple[dict[str, str], float]]:
    families = openmetrics.text_string_to_metric_families(content)
    return [
        (sample.labels, sample.value)
        for family in families
        for sample in family.samples
        if sample.name == f"pytest_trt_{name}"
    ]


@pytest.mark.parametrize("parse", [openmetrics, parser])
def test_both_formats_of_prometheus_read_it(parse) -> None:
    content = text(required=("sm86", "sm120"))
    assert content.endswith("\n# EOF\n")
    names = {family.name for family in parse.text_string_to_metric_families(content)}
    assert {"pytest_trt_latency_seconds", "pytest_trt_change_ratio"} <= names


def test_figures_are_in_base_units() -> None:
    (labels, value) = samples(text(), "latency_seconds")[0]
    assert value == pytest.approx(0.0012346)
    assert (labels["percentile"], labels["arch"]) == ("p99", "sm86")


def test_labels_are_escaped() -> None:
    tests = {labels["test"] for labels, _ in samples(text(), "test_verdict")}
    assert tests == {"test_it.py::test_a", r'test_it.py::test_b["quoted" \ \n]'}


def test_missing_verdicts_are_counted_by_architecture() -> None:
    found = samples(text(required=("sm86", "sm120")), "missing_verdicts")
    assert found == [({"arch": "sm86"}, 1.0), ({"arch": "sm120"}, 3.0)]


def test_a_run_without_tests_lacks_a_verdict() -> None:
    content = openmetrics_text(document({}, required=("sm86",)))
    assert samples(content, "missing_verdicts") == [({"arch": "sm86"}, 1.0)]


def test_several_runs_are_distinguished() -> None:
    made = {arch: document({"test_a": reported()}, arch=arch) for arch in ("sm86", "sm89")}
    content = openmetrics_text(merge_documents(made))
    assert [labels["run"] for labels, _ in samples(content, "run_exit_status")] == ["0", "1"]


def test_run_without_tests_is_valid_too() -> None:
    assert samples(openmetrics_text(document({})), "tests") == []


def test_ratio_to_another_engine_is_a_figure_with_its_limit() -> None:
    content = openmetrics_text(
        document({"test_a": reported(speeds=(speed(speedups=(TOO_SLOW,)),))})
    )
    ((labels, value),) = samples(content, "speedup_ratio")
    assert (labels["opponent"], labels["mode"], value) == ("fp32", "graph", 1.12)
    assert samples(content, "speedup_limit_ratio") == [(labels, 1.5)]
