from __future__ import annotations

import json
from pathlib import Path

import pytest
from builders_cli import run_command
from builders_history import on_day, stepped
from builders_report import reported
from click.testing import CliRunner, Result
from report.comparison.test_compare import timed

from pytest_trt.cli import commands
from pytest_trt.report.files import write_report


@pytest.fixture(autouse=True)
def _in_folder(tmp_path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "120")
    for day, made in enumerate(stepped(6, 3)):
        path = Path("nightly", str(day))
        path.mkdir(parents=True)
        write_report(path / "report.json", made)


def call(*args: str) -> Result:
    return CliRunner().invoke(commands, ["report", "history", *args])


def test_planted_change_is_printed_with_its_commit() -> None:
    result = call("nightly")
    assert result.exit_code == 0
    lines = result.output.splitlines()
    assert lines[1] == "test_it.py::test_it (digits.onnx fp16 on sm86 (NVIDIA A10)): 6 runs"
    assert "  changed at 00000003, 2026-10-04 03:00:" in lines
    (p50,) = [line for line in lines if line.startswith("  P50")]
    assert p50.split()[-1] == "worse"
    assert lines[-1] == "6 runs, 1 trend: 1 worse"


def test_unchanged_series_is_printed_only_on_request() -> None:
    for day in range(3):
        write_report(Path(f"{day}.json"), on_day(day, {"test_calm": timed(1.0, seed=day)}))
    files = [f"{day}.json" for day in range(3)]
    assert call(*files).output == "3 runs, 1 trend: 1 unchanged\n"
    assert "test_calm" in call(*files, "--all").output


@pytest.mark.parametrize(("factor", "drifts"), [(1.01, True), (1.0, False), (1.05, False)])
def test_drift_in_steps_too_small_to_see_is_worse_all_the_same(factor: float, drifts: bool) -> None:
    for day in range(6):
        slower = timed(factor**day, seed=day)
        write_report(Path(f"{day}.json"), on_day(day, {"test_slow": slower}))
    output = call(*(f"{day}.json" for day in range(6)), "-o", "a.html").output
    text = "no two neighboring runs differ with confidence: the trend drifted"
    assert (f"  {text}\n" in output) == (text in Path("a.html").read_text()) == drifts
    assert ("6 runs, 1 trend: 1 worse" in output) == (factor > 1.0)
    assert ("changed at" in output) == (factor > 1.01)


def test_runs_that_were_measured_differently_are_not_joined() -> None:
    for day, mode in enumerate(("graph", "graph", "enqueue")):
        slower = timed(1.0 + (day == 2), seed=day, mode=mode)
        write_report(Path(f"{day}.json"), on_day(day, {"test_it": slower}))
    output = call("0.json", "1.json", "2.json", "--all").output
    assert "  speed not joined at 00000002, 2026-10-03 03:00: mode graph -> enqueue\n" in output
    assert "worse" not in output


def test_test_that_fails_is_printed_though_no_figure_changed() -> None:
    stopped = [
        on_day(day, {"test_it": reported("failed", "no memory", engines=())}) for day in (6, 7)
    ]
    for number, made in enumerate(stopped):
        write_report(Path(f"{number}.json"), made)
    lines = call("nightly/0", "nightly/1", "0.json", "1.json").output.splitlines()
    assert lines[1] == "test_it.py::test_it (digits.onnx fp16 on sm86 (NVIDIA A10)): 4 runs"
    assert lines[2] == "  failed in every run since 00000006, 2026-10-07 03:00"
    assert lines[-1] == "4 runs, 1 trend: 1 worse"
    lines = call("0.json", "1.json", "-o", "a.html").output.splitlines()
    assert lines[1:3] == [
        "test_it.py::test_it (on sm86 (NVIDIA A10)): 2 runs",
        "  failed in every run since 00000006, 2026-10-07 03:00",
    ]
    assert "failed in every run since 00000006" in Path("a.html").read_text()


def test_output_format_follows_the_suffix_and_json_is_printed_alone() -> None:
    done = run_command("report", "history", "nightly", "-o", "a.html", "-o", "a.json", "--json")
    assert json.loads(done.stdout) == json.loads(Path("a.json").read_text())
    assert done.stderr == "wrote a.html\nwrote a.json\n"
    assert Path("a.html").read_text().startswith("<!DOCTYPE html>")
    assert call("nightly", "-o", "a.pdf").exit_code == 2


def test_foreign_files_of_folders_are_named_with_a_code_and_left_out() -> None:
    Path("nightly/package.json").write_text("{}")
    Path("nightly/cut.json").write_text(Path("nightly/0/report.json").read_text()[:100])
    done = run_command("report", "history", "nightly")
    assert done.returncode == 0
    assert "6 runs" in done.stdout
    assert "package.json is not a report of pytest-trt [TRT902]" in done.stderr
    assert "cut.json is not a valid report: not JSON" in done.stderr


@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("none.json", "none.json cannot be read"),
        ("foreign.json", "foreign.json is not a report of pytest-trt"),
        ("empty", "no report in empty"),
    ],
)
def test_named_file_that_is_not_a_report_is_an_error(path: str, message: str) -> None:
    Path("foreign.json").write_text("{}")
    Path("empty").mkdir()
    done = run_command("report", "history", path)
    assert done.returncode == 2
    assert message in done.stderr
    assert "Fix:" in done.stderr


def test_file_that_is_named_twice_and_link_to_a_folder_count_once() -> None:
    Path("nightly/loop").symlink_to(Path("nightly").resolve())
    result = call("nightly", "nightly/0/report.json", "nightly")
    assert "6 runs" in result.output
    assert "left out" not in result.output


@pytest.mark.exhaustive
def test_two_hundred_reports_make_a_small_page() -> None:
    folder = Path("many")
    folder.mkdir()
    for day in range(200):
        made = on_day(day, {"test_it": timed(1.0, seed=day), "test_b": reported()})
        write_report(folder / f"{day}.json", made)
    result = call("many", "-o", "many.html")
    assert "200 runs" in result.output
    # A run adds a row of the table, and its place in each of two lines: no dot, no text of its own.
    assert len(Path("many.html").read_text()) < 150_000


def test_newest_run_that_tested_nothing_is_printed_with_its_error() -> None:
    errors = {
        "collection_errors": {"test_it.py": "a\nb"},
        "collection_reasons": {"test_it.py": "a"},
    }
    write_report(Path("nightly/broken.json"), on_day(6, {}, **errors))
    for day in range(3):
        write_report(Path(f"calm{day}.json"), on_day(day, {"test_calm": timed(1.0, seed=day)}))
    files = [f"calm{day}.json" for day in range(3)]
    lines = call(*files, "nightly/broken.json").output.splitlines()
    assert "  no verdict in the newest run: not collected" in lines
    assert "test_it.py could not be collected at 00000006, 2026-10-07 03:00: a" in lines
    assert lines[-1] == "4 runs, 1 trend: 1 without a verdict in the newest run"
