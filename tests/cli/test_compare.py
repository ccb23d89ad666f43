from __future__ import annotations

import json

import pytest
from builders_report import document, reported
from click.testing import CliRunner, Result
from report.comparison.test_compare import timed

from pytest_trt.cli import commands
from pytest_trt.report.files import write_report
from pytest_trt.report.status import Phase, PhaseOutcomes


@pytest.fixture(autouse=True)
def _in_folder(tmp_path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "80")
    for name, ms in (("old", 1.0), ("slower", 1.2), ("same", 1.0)):
        tests = {"test_a": timed(ms, seed=len(name)), "test_b": reported()}
        write_report(tmp_path / f"{name}.json", document(tests, id=name))


def call(*args: str) -> Result:
    return CliRunner().invoke(commands, ["report", "compare", *args])


def test_what_is_worse_is_reported_with_its_bounds() -> None:
    result = call("old.json", "slower.json")
    assert result.exit_code == 0
    assert "test_it.py::test_a (digits.onnx fp16 sm86): passed" in result.output
    (p50,) = [line for line in result.output.splitlines() if line.startswith("  P50")]
    assert p50.split()[-1] == "worse"
    assert "test_b" not in result.output
    assert result.output.endswith("2 tests: 1 worse, 1 the same\n")


def test_all_includes_what_did_not_change() -> None:
    output = call("old.json", "same.json", "--all").output
    assert "test_b" in output
    assert "  P99" in output


@pytest.mark.parametrize(("new", "status"), [("same.json", 0), ("slower.json", 1)])
def test_exit_status_distinguishes_worse_from_unchanged(new: str, status: int) -> None:
    assert call("old.json", new, "--exit-code").exit_code == status
    assert call("old.json", new).exit_code == 0


@pytest.mark.parametrize("verdict", ["inconclusive", "not measured", "passed"])
def test_tests_that_neither_run_judged_are_listed_and_counted_apart(tmp_path, verdict) -> None:
    for name in ("before", "after"):
        tests = {"test_a": timed(1.0, seed=len(name), verdict=verdict), "test_b": reported()}
        write_report(tmp_path / f"{name}.json", document(tests, id=name))
    files = [f"changes.{suffix}" for suffix in ("md", "html")]
    options = [text for name in files for text in ("-o", name)]
    written = call("before.json", "after.json", *options)
    result = call("before.json", "after.json", "--exit-code")
    assert result.exit_code == 0
    assert "test_a" not in written.output
    judged = verdict == "passed"
    summary = "2 tests: 2 the same" if judged else "2 tests: 1 the same, 1 without a verdict"
    assert summary in result.output
    assert (f"test_a (digits.onnx fp16 sm86): {verdict}" in result.output) != judged
    assert ("  P99" in result.output) != judged
    for name in files:
        text = (tmp_path / name).read_text()
        assert summary in text
        assert ("test_a" in text) != judged
    found = json.loads(call("before.json", "after.json", "--json").output)
    assert found["counts"]["no verdict"] == (0 if judged else 1)


def test_a_test_that_is_an_error_in_both_runs_is_listed(tmp_path) -> None:
    reason = "models/a.onnx is not a valid ONNX model"
    for name in ("before", "after"):
        error = PhaseOutcomes({"setup": Phase("failed", 0.1, reason, reason)})
        tests = {"test_a": error, "test_b": reported()}
        write_report(tmp_path / f"{name}.json", document(tests, id=name))
    result = call("before.json", "after.json")
    assert "test_a (sm86): error" in result.output
    assert reason in result.output
    assert result.output.endswith("2 tests: 1 the same, 1 without a verdict\n")


def test_one_test_is_singular(tmp_path) -> None:
    for name in ("one", "same one"):
        write_report(tmp_path / f"{name}.json", document({"test_b": reported()}, id=name))
    assert "1 test: 1 the same" in call("one.json", "same one.json").output


@pytest.mark.parametrize("args", [("old.json", "old.json"), ("old.json", "none.json")])
def test_what_cannot_be_compared_has_its_own_status(args: tuple[str, str]) -> None:
    result = call(*args, "--exit-code")
    assert result.exit_code == 2
    assert "Fix:" in result.output


def test_output_format_follows_the_suffix(tmp_path) -> None:
    result = call("old.json", "slower.json", "-o", "a.md", "-o", "a.json", "-o", "a.html")
    # What is in the files is not printed as well.
    assert result.output.splitlines() == [
        "2 tests: 1 worse, 1 the same",
        "wrote a.md",
        "wrote a.json",
        "wrote a.html",
    ]
    assert (tmp_path / "a.md").read_text().startswith("### pytest-trt: 2 tests: 1 worse")
    assert json.loads((tmp_path / "a.json").read_text())["counts"]["worse"] == 1
    assert (tmp_path / "a.html").read_text().startswith("<!DOCTYPE html>")


def test_markdown_is_printed_alone(tmp_path, capsys) -> None:
    args = ["report", "compare", "old.json", "slower.json", "--format=markdown", "-o", "a.md"]
    commands.main(args, standalone_mode=False)  # click's runner tells streams apart since 8.2
    printed = capsys.readouterr()
    assert printed.out == (tmp_path / "a.md").read_text()
    assert "wrote a.md" in printed.err


@pytest.mark.parametrize("columns", [80, 200])
def test_lines_fit_the_terminal(tmp_path, monkeypatch, columns: int) -> None:
    monkeypatch.setenv("COLUMNS", str(columns))
    failed = {"test_b": reported("failed", "it is off " * 30), "test_a": timed(1.2, seed=9)}
    write_report(tmp_path / "failed.json", document(failed, id="failed"))
    lines = call("old.json", "failed.json").output.splitlines()
    assert max(map(len, lines)) <= columns


def test_file_that_cannot_be_written_is_reported(tmp_path) -> None:
    result = call("old.json", "slower.json", "-o", "old.json/a.md")
    assert result.exit_code == 2
    assert "old.json/a.md cannot be written" in result.output


@pytest.mark.parametrize(("option", "status"), [((), 1), (("--missing=ignore",), 0)])
def test_test_that_lost_its_verdict_decides_the_exit_status_unless_ignored(
    tmp_path, option: tuple[str, ...], status: int
) -> None:
    tests = {"test_a": timed(1.0, seed=7)}
    write_report(tmp_path / "fewer.json", document(tests, id="fewer"))
    result = call("old.json", "fewer.json", "--exit-code", *option)
    assert result.exit_code == status
    assert "test_b" in result.output
    assert ("1 worse (1 without a verdict now)" in result.output) == (status == 1)
