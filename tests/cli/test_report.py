from __future__ import annotations

import json

import pytest
from builders_cli import run_command
from builders_report import check, check_schema, document, reported, skipped, speed
from click.testing import CliRunner, Result

from pytest_trt.cli import commands
from pytest_trt.diagnostics import Diagnostic, Remedy, ReportError
from pytest_trt.report.files import write_report
from pytest_trt.report.schema import schema_text
from pytest_trt.report.status import Phase, PhaseOutcomes


@pytest.fixture(autouse=True)
def _in_folder(tmp_path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "120")


@pytest.fixture
def saved(tmp_path):
    def save(name: str, tests=None, **of) -> str:
        tests = tests or {"test_a": reported(checks=(check(),), speeds=(speed(),))}
        write_report(tmp_path / name, document(tests, **of))
        return name

    return save


def call(*args: str) -> Result:
    return CliRunner().invoke(commands, ["report", *args])


def error(*args: str) -> str:
    """What the command says where it has to fail."""
    done = run_command("report", *args)
    assert done.returncode == 2
    assert "Fix:" in done.stderr
    return done.stderr


def test_merge_shows_architectures_side_by_side_and_writes_one_report(saved, tmp_path) -> None:
    result = call("merge", saved("a.json"), saved("b.json", arch="sm89"), "-o", "all.json")
    assert result.exit_code == 0
    (row,) = [line for line in result.output.splitlines() if "::test_a" in line]
    assert row.count("passed: 38%") == 2
    assert "wrote all.json" in result.output
    check_schema(json.loads((tmp_path / "all.json").read_text()))


def test_missing_verdict_is_named_and_is_the_exit_status(saved) -> None:
    second = saved("b.json", {"test_a": skipped("no GPU")}, arch="sm89")
    result = call("merge", saved("a.json"), second, "--require-arch", "sm86,8.9,sm120")
    assert result.exit_code == 1
    assert "sm89: no verdict for 1 of 1 tests" in result.output
    assert "test_it.py::test_a: skipped: no GPU" in result.output
    assert "sm120: no verdict for 1 of 1 tests" in result.output
    assert "    pytest-trt report merge sm86.json sm89.json sm120.json" in result.output


@pytest.mark.parametrize("of", [{"exit_status": 1}, {"interrupted": True}])
def test_run_that_did_not_end_well_is_the_exit_status(saved, of) -> None:
    assert call("merge", saved("a.json", **of), "--require-arch", "sm86").exit_code == 1
    assert call("merge", saved("a.json"), "--require-arch", "sm86").exit_code == 0


def test_merged_report_can_be_written_for_dashboards_and_people(saved, tmp_path) -> None:
    outputs = ("-o", "all.prom", "-o", "all.html")
    assert call("merge", saved("a.json"), *outputs).exit_code == 0
    assert (tmp_path / "all.prom").read_text().endswith("# EOF\n")
    assert (tmp_path / "all.html").read_text().startswith("<!DOCTYPE html>")
    result = call("merge", saved("a.json"), "-o", "all.pdf")
    assert result.exit_code == 2
    assert ".json, .html, .prom" in result.output


def test_report_is_not_merged_with_itself(saved) -> None:
    name = saved("a.json")
    result = call("merge", name, name)
    assert result.exit_code == 1
    assert isinstance(result.exception, ReportError)
    assert "a.json is named twice" in str(result.exception)


def test_show_lists_what_did_not_pass_and_counts_the_rest(saved) -> None:
    tests = {f"test_{n}": reported() for n in range(50)} | {"test_bad": reported("failed")}
    name = saved("a.json", tests)
    shown = call("show", name).output
    assert "test_bad" in shown
    assert "test_49" not in shown
    assert "50 tests passed on every architecture" in shown
    assert "test_49" in call("show", name, "--all").output


def test_schema_is_printed() -> None:
    assert call("schema").output == schema_text()


def test_file_that_is_not_there_says_so() -> None:
    assert "a.json cannot be read" in error("show", "a.json")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "is not a valid report: not JSON"),
        ("[]", "is not a report of pytest-trt"),
        ('{"schema": 1, "written_by": "another"}', "is not a report of pytest-trt"),
        ('{"schema": 99, "written_by": "pytest-trt 9"}', "has format 99, written by pytest-trt 9"),
        ('{"schema": 2, "written_by": "pytest-trt 1"}', "is not a valid report: runs: missing"),
    ],
)
def test_foreign_file_is_refused_with_its_name(tmp_path, text, message) -> None:
    (tmp_path / "a.json").write_text(text)
    reported = error("show", "a.json")
    assert message in reported
    assert "a.json" in reported


def test_names_are_whole_without_a_terminal(saved, monkeypatch) -> None:
    monkeypatch.delenv("COLUMNS")
    name = "test_with_" + "a_very_long_name_" * 12
    result = call("show", saved("a.json", {name: reported()}))
    assert any(line.startswith(f"test_it.py::{name} ") for line in result.output.splitlines())


def test_report_shows_what_to_do(saved) -> None:
    failure = Diagnostic("TRT401", "logits: 9x over tolerance", remedy=Remedy("Look.", ("look",)))
    tests = {"test_a": reported("failed", diagnostics=(failure,))}
    output = call("show", saved("a.json", tests)).output
    assert "logits: 9x over tolerance [TRT401]\n  test_it.py::test_a\n  Fix: Look.\n" in output
    assert "\n      look\n" in output


def test_verdict_names_what_could_not_be_collected_and_only_then(saved) -> None:
    why = "digits.onnx is a Git LFS pointer [TRT201]\nFix: Download it:\n    git lfs pull"
    of = {"collection_errors": {"test_zoo.py": why}, "exit_status": 2, "interrupted": True}
    broken = saved("broken.json", {"test_a": None}, required=("sm86",), **of)
    for command in (["show", broken], ["merge", broken, "--require-arch=sm86"]):
        output = call(*command).output
        assert "  1 file could not be collected, exit status 2; 1 not run" in output
        assert "  test_zoo.py could not be collected:\n    digits.onnx is a Git LFS" in output
        assert "Fix: Correct what could not be collected: test_zoo.py." in output
        assert "interrupted" not in output
        assert "remove sm86" not in output
    ran = saved("ran.json", {"test_a": None}, interrupted=True, exit_status=2)
    output = call("merge", ran, "--require-arch=sm86").output
    assert "interrupted, exit status 2" in output
    assert "Fix: The run ended before some tests: repeat it." in output


def test_verdicts_that_errors_prevent_need_no_other_machine(saved) -> None:
    failed = PhaseOutcomes({"setup": Phase("failed", 0.1, "why", "why")}, None)
    output = call("merge", saved("a.json", {"test_a": failed}), "--require-arch=sm86").output
    assert "Fix: Correct what the errors of these tests name." in output
    assert "remove sm86" not in output


def test_reports_without_a_test_of_a_model_are_nothing_to_merge(tmp_path) -> None:
    for name in ("a.json", "b.json"):
        write_report(tmp_path / name, document({}, id=name))
    assert "no test of a model is in these reports" in error("merge", "a.json", "b.json")


def test_pattern_or_folder_without_a_report_is_no_unreadable_report(saved, tmp_path) -> None:
    (tmp_path / "reports").mkdir()
    assert "no report was found: the folder reports has none" in error("merge", "reports")
    assert "no report was found: no file matches reports/*.json" in error("merge", "reports/*.json")
    assert "the report lost.json cannot be read" in error("merge", "lost.json")
    saved("reports/a.json")
    assert "the report reports cannot be read: Is a directory" in error("merge", "reports")
