"""The page in a real Chromium: what a person finds, clicks, and reads.

Skipped without one, unless PYTEST_TRT_REQUIRE_BROWSER=1.
"""

from __future__ import annotations

import os
import re

import numpy as np
import pytest
from builders_benchmark import TOO_SLOW
from builders_browser import Page, browser, chromium
from builders_report import check, document, engine, reported, skipped, speed
from builders_trtexec import profile, times

from pytest_trt.accuracy.compare import compare_outputs
from pytest_trt.accuracy.result import InvariantOutcome
from pytest_trt.accuracy.tolerance import Tolerance
from pytest_trt.benchmark.differences import Difference
from pytest_trt.benchmark.result import MetricChange
from pytest_trt.diagnostics import Diagnostic, Remedy
from pytest_trt.escaping import block
from pytest_trt.records import to_data
from pytest_trt.report.files import write_report
from pytest_trt.report.importing.document import Named, imported_document
from pytest_trt.report.importing.files import read_files
from pytest_trt.report.merging import merge_documents
from pytest_trt.statistics.absolute import AbsoluteLimitResult
from pytest_trt.statistics.decline import TaskMetricResult
from pytest_trt.statistics.structure import StructuralLimitResult
from pytest_trt.terms import Verdict

if chromium() is None and os.environ.get("PYTEST_TRT_REQUIRE_BROWSER") != "1":
    pytest.skip("no Chromium is installed", allow_module_level=True)
pytest.importorskip("playwright")

HOSTILE = "</script><img src=x onerror=alert(1)>\"' \u202e\U0001f600"


@pytest.fixture(scope="module")
def started():
    with browser() as found:
        yield found


@pytest.fixture
def show(started, tmp_path):
    """Write a document and open it; what the browser complains of fails the test."""
    pages: list[Page] = []

    def opened(made, anchor: str = "", **options) -> Page:
        path = tmp_path / f"report{len(pages)}.html"
        write_report(path, made)
        pages.append(Page(started, path, anchor, **options))
        return pages[-1]

    yield opened
    complaints = [complaint for page in pages for complaint in page.complaints]
    for page in pages:
        page.close()
    assert complaints == []


def wrong():
    """One output that is far off, another that is NaN where it must not be."""
    reference = np.linspace(-1, 1, 80).reshape(8, 10)
    nan = reference.copy()
    nan[0, 0] = np.nan
    tolerance = Tolerance(rtol=0.01, atol=0.01)
    outputs = {"logits": reference * 1.5, "probs": nan}
    references = {"logits": reference, "probs": reference}
    tolerances = dict.fromkeys(outputs, tolerance)
    return compare_outputs(outputs, references, tolerances, histogram=True)


SLOWER = speed(
    verdict="regressed",
    changes=(
        MetricChange("p99", "regressed", 0.1, 0.3, 0.25, 0.36, 0.05, "interleaved", 20),
        MetricChange("throughput", "inconclusive", 0.05, -0.06, -0.02, None, 0.07, "none", 20),
    ),
    limits=(AbsoluteLimitResult("p99_ms", 1.0, 1.2, "failed", 30, 1400),),
    speedups=(TOO_SLOW,),
    structure=(StructuralLimitResult("plan_size", 0.1, "passed", 34000.0, 33000.0),),
    candidate_rounds={m: tuple(1.2 + n % 7 / 50 for n in range(20)) for m in ("p50", "p99")},
    baseline_rounds={m: tuple(1.0 + n % 5 / 50 for n in range(40)) for m in ("p50", "p99")},
    layer_changes=("split: conv1+relu1", "int8 -> fp16: conv2"),
    differences=(
        Difference("environment", "570.1", "575.2", "driver"),
        Difference("options"),
    ),
)

FULL_NEW = reported(speeds=(speed(update="first", changes=(), verdict="not measured"),))

FULL = document(
    {
        "test_fine": reported(checks=(check(),), speeds=(speed(),)),
        "test_wrong": reported(
            "failed",
            "logits is off\nFix: look",
            checks=(check(verdict="failed", used=24.5, outputs=wrong().outputs),),
            diagnostics=(Diagnostic("TRT401", "logits is off", remedy=Remedy("look")),),
        ),
        "test_slow": reported(
            "failed",
            "p99 is slower",
            speeds=(SLOWER,),
            notes=(Diagnostic("TRT700", "it was hot", severity="note"),),
        ),
        "test_new": reported(speeds=(speed(update="first", changes=(), verdict="not measured"),)),
        "test_left_out": skipped("no sm86 GPU"),
        "test_never": None,
    },
    required=("sm86", "sm120"),
)


def names(page: Page) -> list[str]:
    return [test.partition("::")[2] for test in page.tests()]


@pytest.mark.exhaustive
def test_every_test_is_there_gravest_first(show) -> None:
    page = show(FULL)
    assert names(page)[:2] == ["test_wrong", "test_slow"]
    assert sorted(page.tests()) == sorted(test["id"] for test in FULL["tests"])
    assert page.text("h1") == "2 of 6 tests failed"


def test_header_shows_what_stands_out_and_what_is_missing(show) -> None:
    top = show(FULL).text("#overview")
    for told_there in (
        "TRT401",
        "logits is off",
        "Failed otherwise",
        "p99 is slower",
        "New baselines",
        "driver 570.1 -> 575.2",
        "verdicts missing",
        "pytest --trt-arch=ARCH --trt-report=ARCH.json",
    ):
        assert told_there in top


def test_failure_without_a_baseline_is_counted(show) -> None:
    none = {"calls": 0, "candidate_rounds": {}, "baseline_rounds": {}}
    wanting = speed(verdict="not measured", kind="not measured", changes=(), **none)
    made = document(
        {
            "test_a": reported("failed", "no baseline", speeds=(wanting,), failed_by_checks=True),
            "test_b": reported(),
        }
    )
    page = show(made)
    assert page.text("h1") == "1 of 2 tests failed"
    card = page.text(".card[data-status='failed']")
    assert "Failed without a measurement" in card
    assert "failed" in page.text("tr.test >> nth=0")
    assert "failed" not in page.text("tr.test >> nth=1")


def test_row_of_a_task_metric_has_its_value(show) -> None:
    task = TaskMetricResult(
        "accuracy", 0.975, "0.5 points", Verdict.PASSED, engine().key, stored=0.981
    )
    page = show(document({"test_a": reported(task_metrics=(task,))}))
    assert "accuracy 0.975 baseline 0.981" in " ".join(page.text("tr.test").split())


@pytest.mark.parametrize(
    ("least", "most", "tone"),
    [(-0.05, -0.02, "faster"), (-0.05, 0.02, ""), (0.01, 0.05, "")],
)
def test_only_a_change_that_is_sure_is_coloured_as_faster(show, least, most, tone) -> None:
    change = MetricChange("p99", "passed", 0.1, (least + most) / 2, least, most, 0.02, "screening")
    page = show(document({"test_a": reported(speeds=(speed(changes=(change,)),))}))
    assert page.page.locator("tr.test .speed").get_attribute("data-tone") == tone


def test_output_without_an_element_to_compare_says_so(show) -> None:
    nothing = {"logits": np.full((2, 10), np.nan)}
    found = compare_outputs(
        nothing,
        {"logits": np.ones((2, 10))},
        {"logits": Tolerance(rtol=0.01, atol=0.01)},
        histogram=True,
    )
    off = check(verdict="failed", outputs=found.outputs)
    page = show(document({"test_a": reported("failed", "NaN", checks=(off,))}))
    page.open("test_a")
    assert "no element could be compared" in page.text("tr.detail-row")
    assert page.page.locator("tr.detail-row .chart").count() == 0


def test_invariants_are_listed_with_the_worst(show) -> None:
    outcome = InvariantOutcome("rebuilds", Verdict.FAILED, 3, 1, 2.5, "rebuild 2 of 3")
    off = check(verdict="failed", invariants=(outcome,))
    page = show(document({"test_a": reported("failed", "it is off", checks=(off,))}))
    page.open("test_a")
    shown = page.text("tr.detail-row")
    assert "rebuild 2 of 3" in shown
    assert "2.50" in shown


def test_text_and_status_filter_together(show) -> None:
    page = show(FULL)
    page.page.fill("#search", "TEST_ slow")
    assert names(page) == ["test_slow"]
    assert page.text(".shown") == "1 of 6 tests"
    page.page.fill("#search", "")
    page.page.click('button.tile[data-status="skipped"]')
    assert names(page) == ["test_left_out"]
    page.page.click('button.tile[data-status="failed"]')
    assert names(page) == ["test_wrong", "test_slow", "test_left_out"]


def test_columns_sort_both_ways_and_say_so(show) -> None:
    page = show(FULL)
    header = page.page.locator(".tests > thead th", has_text="Test")
    header.locator("button").click()
    assert names(page) == sorted(names(page))
    assert header.get_attribute("aria-sort") == "ascending"
    header.locator("button").click()
    assert names(page) == sorted(names(page), reverse=True)
    assert page.page.locator("th[aria-sort]").count() == 1


def test_what_has_no_figure_is_sorted_last_either_way(show) -> None:
    used = {"test_a": check(used=0.2), "test_b": check(used=0.9)}
    made = document(
        {name: reported(checks=(one,)) for name, one in used.items()} | {"test_c": reported()}
    )
    page = show(made)
    by_tolerance = page.page.locator(".tests > thead th", has_text="Tolerance used")
    by_tolerance.locator("button").click()
    assert names(page) == ["test_b", "test_a", "test_c"]
    by_tolerance.locator("button").click()
    assert names(page) == ["test_a", "test_b", "test_c"]


def test_wrong_output_is_opened_with_all_that_is_known_of_it(show) -> None:
    page = show(FULL)
    page.open("test_wrong")
    inside = page.text("tr.detail-row")
    for told_there in ("Fix: look", "pytest test_it.py::test_wrong", "logits", "25×", "reference"):
        assert told_there in inside
    assert page.page.locator("tr.detail-row .chart canvas").count() == 2


def test_slow_engine_is_opened_with_its_rounds_bounds_and_layers(show) -> None:
    page = show(FULL)
    page.open("test_slow")
    inside = page.text("tr.detail-row")
    for told_there in (
        "+25% to +36%",
        "from −2.0%",
        "split: conv1+relu1",
        "30 of 1,400 beyond",
        "1.12x (1.06x to 1.18x)",
        "fp32 is digits.onnx, fp32, sm90",
        "it was hot",
        "from 20 rounds interleaved with the baseline engine",
    ):
        assert told_there in inside
    assert page.page.locator("tr.detail-row .chart canvas").count() == 2
    assert page.page.locator("svg.forest").count() == 2


@pytest.mark.parametrize(
    ("many", "message"),
    [(1, "1 round outside the chart: 9.0"), (2, "2 rounds outside the chart: 9.0"), (10, None)],
)
def test_charts_leave_out_a_few_far_rounds_and_say_so(show, many, message) -> None:
    usual = tuple(1.2 + n % 7 / 50 for n in range(20))
    hit = speed(
        candidate_rounds={"p50": usual, "p99": (9.0,) * many + usual[many:]},
        baseline_rounds={"p50": usual, "p99": usual},
    )
    page = show(document({"test_hit": reported(speeds=(hit,))}))
    page.open("test_hit")
    captions = page.page.locator("tr.detail-row figcaption").all_inner_texts()
    assert len(captions) == 2
    for caption in captions:
        assert message in caption if message else "outside" not in caption


def test_keyboard_alone_filters_walks_and_opens(show) -> None:
    page = show(FULL)
    page.page.keyboard.press("/")
    page.page.keyboard.type("test_")
    page.page.locator("button.open").first.focus()
    page.page.keyboard.press("ArrowDown")
    page.page.keyboard.press("Enter")
    assert page.page.locator('button.open[aria-expanded="true"]').inner_text().endswith("test_slow")


def test_address_names_a_test_and_opens_it(show) -> None:
    page = show(FULL, "test_it.py::test_slow")
    assert "p99 is slower" in page.text("tr.detail-row")
    assert page.page.url.endswith("#test_it.py%3A%3Atest_slow")


@pytest.mark.exhaustive
def test_command_is_copied(show) -> None:
    page = show(FULL, permissions=["clipboard-read", "clipboard-write"])
    page.open("test_slow")
    page.page.click("tr.detail-row button.copy")
    page.page.wait_for_selector("tr.detail-row button.copy:text('Copied')")
    assert page.page.evaluate("navigator.clipboard.readText()") == "pytest test_it.py::test_slow"


@pytest.mark.exhaustive
@pytest.mark.parametrize(
    "text", [HOSTILE, "{{script}}", "x" * 3000], ids=["markup", "mark", "long"]
)
def test_hostile_text_is_read_as_it_is(show, text) -> None:
    hostile = speed(
        differences=(Difference("environment", text, text, text),), layer_changes=(text,)
    )
    bad = Diagnostic("TRT401", text, {text: text}, (text,), Remedy(text, (text,), (text,)))
    made = document(
        {
            f"test_{text}": reported(
                "failed", text, speeds=(hostile,), diagnostics=(bad,), notes=(bad,)
            )
        },
        platform=text,
        stopped=text,
        interrupted=True,
        collection_errors={text: text},
    )
    page = show(made, block(made["tests"][0]["id"]), viewport={"width": 400, "height": 800})
    assert page.page.locator("pre.failure").text_content() == block(text)
    assert page.page.locator("img").count() == 0
    assert page.page.evaluate("document.documentElement.scrollWidth") <= 400


def test_report_without_tests_says_so(show) -> None:
    assert show(document({})).text("h1") == "No tests with a model were collected"


def test_page_that_lost_its_data_on_the_way_says_so(started, tmp_path) -> None:
    path = tmp_path / "report.html"
    write_report(path, FULL)
    island = re.search(r'id="document">([^<]*)<', path.read_text())
    assert island is not None
    path.write_text(path.read_text().replace(island[1], island[1][:400]))
    page = Page(started, path)
    assert page.text("h1") == "The report cannot be shown"
    assert "damaged" in page.text(".banner")


def test_browser_that_cannot_unpack_the_report_shows_a_message(started, tmp_path) -> None:
    path = tmp_path / "report.html"
    write_report(path, FULL)
    old = path.read_text().replace("<head>", "<head><script>delete DecompressionStream</script>")
    path.write_text(old)
    assert "open the page in a newer one" in Page(started, path).text(".banner")


def test_interrupted_run_says_so_first(show) -> None:
    made = document(
        {"test_a": reported(), "test_b": None}, interrupted=True, stopped="KeyboardInterrupt"
    )
    page = show(made)
    assert page.text("h1") == "The run was interrupted"
    assert "KeyboardInterrupt" in page.text(".banner")
    assert names(page) == ["test_b", "test_a"]


def test_run_whose_files_could_not_be_collected_is_not_all_passed(show) -> None:
    made = document({"test_a": reported()}, collection_errors={"test_x.py": "SyntaxError"})
    assert show(made).text("h1") == "1 file could not be collected"


def test_file_that_was_skipped_as_a_whole_is_named(show) -> None:
    files = {"skipped_files": {"test_x.py": "no torch"}, "skipped_model_files": ["test_x.py"]}
    page = show(document({"test_a": reported()}, **files))
    assert "test_x.py: no torch" in page.text(".banner")


def test_what_concerns_the_whole_run_is_shown_above_its_tests(show) -> None:
    lost = Diagnostic("TRT684", "1 model is missing", {}, ("models/c.onnx: 2 baselines",))
    page = show(document({"test_a": reported()}, diagnostics=[to_data(lost)], exit_status=1))
    assert page.text("h1") == "The run failed"
    assert "1 model is missing" in page.text(".banner")
    assert "models/c.onnx" in page.text(".banner")


def test_file_that_could_not_be_collected_is_reported_in_full_without_a_click(show) -> None:
    page = show(document({}, collection_errors={"test_x.py": "SyntaxError: here"}))
    assert page.text("h1") == "1 file could not be collected"
    assert page.page.locator(".banner pre").is_visible()
    assert "SyntaxError: here" in page.text(".banner")


def merged():
    ampere = document(
        {"test_a": reported(checks=(check(),)), "test_b": reported(speeds=(SLOWER,))}, arch="sm86"
    )
    blackwell = document({"test_a": reported("failed", "only on Blackwell")}, arch="sm120")
    return merge_documents({"a": ampere, "b": blackwell}, ("sm86", "sm120"))


@pytest.mark.exhaustive
def test_architectures_are_shown_side_by_side(show) -> None:
    page = show(merged(), viewport={"width": 1300, "height": 900})
    assert [head.strip() for head in page.page.locator(".tests thead th").all_inner_texts()] == [
        "Status",
        "Test",
        "Model",
        "Precision",
        "sm86",
        "sm120",
    ]
    assert names(page) == ["test_a", "test_b"]
    assert page.page.locator(".run").count() == 2
    assert "not tested" in page.text("tr.test:has-text('test_b')")
    page.open("test_a")
    assert "only on Blackwell" in page.text("tr.detail-row")
    page.page.locator(".choice button", has_text="sm86").click()
    assert "only on Blackwell" not in page.text("tr.detail-row")


def test_address_names_a_test_on_one_architecture(show) -> None:
    page = show(merged(), "test_it.py::test_a@sm86")
    assert "only on Blackwell" not in page.text("tr.detail-row")


def test_documents_with_fewer_fields_are_shown_as_far_as_they_go(show) -> None:
    made = document({"test_a": reported("failed", "off", speeds=(SLOWER,))})
    for result in made["tests"][0]["results"]:
        for name in ("layer_changes", "differences"):
            del result["speed"][name]
    made["engines"] = {}
    page = show(made, "test_it.py::test_a")
    assert "Engine" in page.text("tr.detail-row")


@pytest.mark.exhaustive
def test_switch_changes_colours_and_charts(show) -> None:
    page = show(FULL, "test_it.py::test_slow", color_scheme="light")
    background = "getComputedStyle(document.documentElement).backgroundColor"
    light = page.page.evaluate(background)
    page.page.click("#theme")
    assert page.page.evaluate(background) != light
    assert page.page.locator("#theme").inner_text() == "Light"
    assert page.page.locator("tr.detail-row .chart canvas").count() == 2


@pytest.mark.exhaustive
def test_paper_is_light(show) -> None:
    page = show(FULL, "test_it.py::test_slow", color_scheme="dark")
    assert page.page.pdf().startswith(b"%PDF")


def test_phone_needs_no_scrolling_sideways(show) -> None:
    page = show(FULL, "test_it.py::test_slow", viewport={"width": 400, "height": 800})
    assert page.page.evaluate("document.documentElement.scrollWidth") <= 400


def test_gpu_is_named_with_its_driver(show) -> None:
    target = {
        "arch": "sm90",
        "target": "sm90 (NVIDIA H100)",
        "device": {},
        "backend": "tensorrt",
        "toolchain": "TensorRT 10.16.1",
        "toolchain_versions": {"tensorrt": "10.16.1"},
        "why": "the GPU at hand",
        "gpu": {
            "name": "NVIDIA H100",
            "driver": "570.1",
            "sm_count": 132,
            "memory_bytes": 80_000_000_000,
            "mig": False,
        },
    }
    page = show(document({"test_a": reported()}, targets=[target]))
    assert "TensorRT 10.16.1 · driver 570.1 · 80 GB" in page.text(".run")
    assert "NVIDIA H100" in page.text(".run h2")


def test_reasons_are_shown_once_at_the_top_with_remedies_and_commands_to_copy(show) -> None:
    command = "pytest test_it.py --trt-update-new"
    remedy = Remedy("Record it.", ("git log -- m.onnx", command), ("Or remove the limit.",))
    one = Diagnostic("TRT301", "no baseline", remedy=remedy)
    page = show(document({f"test_{n}": reported("failed", diagnostics=(one,)) for n in range(5)}))
    (card,) = page.page.query_selector_all(".card.group")
    text = card.inner_text()
    assert " ".join(text.split()).startswith("5 tests TRT301 no baseline Fix: Record it.")
    assert "Or remove the limit." in text
    commands = [one.inner_text() for one in card.query_selector_all("pre.command")]
    assert commands == ["git log -- m.onnx", command]
    assert "2 more" in text
    assert page.page.query_selector_all(".news .card:not(.group)") == []


def test_notes_are_shown_with_their_code_in_the_test(show) -> None:
    page = show(FULL)
    page.open("test_slow")
    assert "TRT700 it was hot" in page.text("tr.detail-row")


def test_missing_verdicts_are_shown_above_the_outcomes(show) -> None:
    page = show(FULL)
    ledger, news = (page.page.query_selector(name) for name in (".ledger", ".news"))
    assert ledger.bounding_box()["y"] < news.bounding_box()["y"]
    covered = show(
        document({"test_a": reported(checks=(check(),), speeds=(SLOWER,))}, required=("sm86",))
    )
    ledger, news = (covered.page.query_selector(name) for name in (".ledger", ".news"))
    assert ledger.bounding_box()["y"] > news.bounding_box()["y"]


def test_test_whose_figures_became_its_baseline_has_the_status_of_the_terminal(show) -> None:
    page = show(document({"test_new": FULL_NEW}))
    assert page.page.query_selector("tr.test .chip").inner_text().strip("+\n ") == "recorded"


@pytest.mark.exhaustive
def test_imported_profile_shows_the_slowest_layers_and_no_facts_that_are_unknown(
    show, tmp_path
) -> None:
    layers = [("fast", "10"), ("slow", "30")]
    paths = [times(tmp_path / "t.json"), profile(tmp_path / "p.json", layers)]
    named = Named("test_it", "", "", "sm86", "enqueue", 1)
    page = show(imported_document(read_files(paths, warm_up_ms=0), named), anchor="test_it")
    page.page.click("summary:has-text('time of 2 layers')")
    inside = page.text("tr.detail-row")
    assert "imported from trtexec, not judged" in inside
    assert inside.index("slow\t0.300 ms\t75.0%") < inside.index("fast\t0.100 ms\t25.0%")
    assert "0 B" not in inside
    assert "runs here" not in inside
