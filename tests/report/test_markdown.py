from __future__ import annotations

from builders_benchmark import speedup
from builders_report import check, document, reported, skipped, speed

from pytest_trt.diagnostics import Diagnostic
from pytest_trt.records import to_data
from pytest_trt.report.markdown import markdown, speed_cell


def test_what_concerns_the_whole_run_is_shown() -> None:
    lost = Diagnostic("TRT684", "1 model is missing", {}, severity="warning")
    assert "1 model is missing [TRT684]" in markdown(document({}, diagnostics=[to_data(lost)]))
    assert "run as a whole" not in markdown(document({}))


def test_table_shows_status_tolerance_and_speed_with_failures_first() -> None:
    made = document(
        {
            "test_a": reported(checks=(check(),), speeds=(speed(),)),
            "test_b": reported("failed", "logits at 9x its tolerance"),
            "test_c": skipped("no GPU"),
        }
    )
    rows = [line for line in markdown(made).splitlines() if line.startswith("| ")]
    assert [row.split("|")[2].strip(" `") for row in rows[1:]] == [
        "test_it.py::test_b", "test_it.py::test_c", "test_it.py::test_a",
    ]  # fmt: skip
    assert "38%" in rows[3]
    assert "p99 1.23 ms (+4.5%)" in rows[3]
    assert "skipped: `no GPU`" in rows[2]


def test_failure_is_folded_away_with_the_command_that_repeats_it() -> None:
    text = markdown(document({"test_b": reported("failed", "off ``` by <much>")}))
    assert "<details><summary><code>test_it.py::test_b on sm86</code></summary>" in text
    assert "````text\noff ``` by <much>\n````" in text
    assert "pytest test_it.py::test_b" in text


def test_what_breaks_tables_is_escaped() -> None:
    text = markdown(document({"test_a[x|y]": reported("failed", "a <b> | c")}))
    (row,) = [line for line in text.splitlines() if r"x\x7cy" in line]
    assert r"`a <b> \x7c c`" in row


def test_missing_verdicts_are_named() -> None:
    text = markdown(document({"test_c": skipped("no GPU")}, required=("sm86",)))
    assert "test_it.py::test_c: skipped: no GPU" in text


def test_tests_that_were_left_out_are_counted_only() -> None:
    text = markdown(document({"test_a": reported(), "test_z": None}))
    assert "1 passed, 1 not run" in text
    assert "test_z" not in text


def test_size_limit_holds_and_nothing_is_cut_in_the_middle() -> None:
    made = document({f"test_{n}": reported("failed", "ü" * 3000) for n in range(300)})
    text = markdown(made, limit_bytes=100_000)
    assert len(text.encode()) <= 100_000
    assert text.count("<details>") == text.count("</details>") > 0
    assert "Truncated" in text


def test_no_room_at_all_adds_nothing() -> None:
    assert markdown(document({"test_a": reported()}), limit_bytes=10) == ""


def test_ratio_to_another_model_stands_beside_the_latency_and_names_it_as_it_is() -> None:
    made = document({"test_a": reported(speeds=(speed(speedups=(speedup(opponent="a|b.onnx"),)),))})
    assert "| p99 1.23 ms (+4.5%), 1.9x `a\\x7cb.onnx` |" in markdown(made)


def test_files_that_could_not_be_collected_come_first_with_their_errors() -> None:
    why = "digits.onnx is a Git LFS pointer [TRT201]\nFix: Download it:\n    git lfs pull"
    shown = markdown(document({}, collection_errors={"test_zoo.py": why}))
    assert shown.startswith("### pytest-trt: 1 file could not be collected\n")
    assert "`test_zoo.py` could not be collected" in shown
    assert why in shown
    assert "collected" not in markdown(document({"test_a": reported()}))


def test_the_limited_metric_is_shown() -> None:
    candidate: dict[str, float] = {"p50_ms": 0.614, "p95_ms": 7.26}
    speed = {"candidate": candidate, "changes": [], "limited": ["p50"]}
    assert speed_cell(speed) == "p50 0.614 ms"
    assert speed_cell({**speed, "limited": []}) == "p95 7.26 ms"
    change = {"metric": "p50", "change": 0.05}
    assert speed_cell({"candidate": candidate, "changes": [change]}) == "p50 0.614 ms (+5.0%)"
    items = {"metric": "throughput", "change": -0.05}
    candidate["throughput_qps"] = 15_521.3
    assert speed_cell({"candidate": candidate, "changes": [items]}) == "throughput 15,521/s (-5.0%)"
    assert speed_cell({"candidate": candidate, "changes": []}) == "p95 7.26 ms"
    del candidate["p50_ms"], candidate["p95_ms"]  # what pytest-benchmark averaged has no latencies
    assert speed_cell({"candidate": candidate, "changes": []}) == "throughput 15,521/s"


def test_file_that_was_skipped_as_a_whole_is_named() -> None:
    files = {"skipped_files": {"test_x.py": "no torch"}, "skipped_model_files": ["test_x.py"]}
    text = markdown(document({"test_a": reported()}, **files))
    assert "`test_x.py` was skipped as a whole: `no torch`" in text
