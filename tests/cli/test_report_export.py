"""Reports in pytest-benchmark's storage, read by its own command."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from builders_cli import run_command
from builders_report import document, reported, speed
from click.testing import CliRunner

from pytest_trt.cli import commands
from pytest_trt.report.files import write_report

ROUNDS = {"p50": (1.1, 1.2), "p99": (1.3, 1.4), "throughput": (8000.0, 4000.0)}


@pytest.fixture(autouse=True)
def _in_folder(tmp_path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)


def export(name: str, tests, *args: str, **of) -> str:
    write_report(Path(name), document(tests, **of))
    result = CliRunner().invoke(commands, ["report", "export", name, *args])
    assert result.exit_code == 0, result.output
    return result.output


def timed(**overrides):
    return {"test_a": reported(speeds=(speed(**{"candidate_rounds": ROUNDS, **overrides}),))}


def pytest_benchmark(*args: str) -> str:
    command = Path(sys.executable).with_name("pytest-benchmark")
    return subprocess.run(
        [command, *args], capture_output=True, text=True, check=True, timeout=60
    ).stdout


def test_pytest_benchmark_lists_and_compares_what_was_exported() -> None:
    first = export("a.json", timed())
    assert first == "wrote .benchmarks/Linux-CPython-3.11-64bit/0001_pytest-trt.json\n"
    slower = {**ROUNDS, "throughput": (2000.0, 2000.0)}
    assert "/0002_after.json" in export(
        "b.json", timed(candidate_rounds=slower), "--name", "after", run_id="2"
    )
    listed = pytest_benchmark("list").split()
    assert [Path(one).name for one in listed] == ["0001_pytest-trt.json", "0002_after.json"]
    table = pytest_benchmark("compare", "--sort=name", "--columns=min,max,rounds", "--name=long")
    rows = [line.split() for line in table.splitlines() if line.startswith("test_it.py::test_a")]
    # 8 items of a batch at 8000 and 4000 items per second.
    assert [row[0] + row[1] for row in rows] == [
        "test_it.py::test_a(0001_pytest-trt)",
        "test_it.py::test_a(0002_after)",
    ]
    assert [row[2::2][:2] for row in rows] == [["1.0000", "2.0000"], ["4.0000", "4.0000"]]


def test_file_has_what_pytest_benchmark_stores() -> None:
    export("a.json", timed(), "--storage=elsewhere")
    (path,) = Path("elsewhere").rglob("*.json")
    content = json.loads(path.read_text())
    assert content["commit_info"]["id"] == "c" * 40
    assert content["datetime"] == "2026-11-05T10:00:00+00:00"
    (benchmark,) = content["benchmarks"]
    assert benchmark["fullname"] == "test_it.py::test_a"
    assert benchmark["stats"]["data"] == [0.001, 0.002]
    assert benchmark["stats"]["iterations"] == 70
    assert benchmark["extra_info"]["verdict"] == "passed"
    assert benchmark["extra_info"]["toolchain"] == "TensorRT 10.16.1"


def test_report_without_speeds_is_an_error() -> None:
    write_report(Path("a.json"), document({"test_a": reported()}))
    done = run_command("report", "export", "a.json")
    assert done.returncode == 2
    assert "a.json has no test that measured speed [TRT914]" in done.stderr


def test_storage_that_cannot_be_written_is_an_error() -> None:
    write_report(Path("a.json"), document(timed()))
    Path("file").touch()
    done = run_command("report", "export", "a.json", "--storage=file/storage")
    assert done.returncode == 2
    assert "cannot be written" in done.stderr
    assert "[TRT901]" in done.stderr


def test_without_pytest_benchmark_the_error_says_what_to_install(monkeypatch) -> None:
    write_report(Path("a.json"), document(timed()))
    monkeypatch.setitem(sys.modules, "pytest_benchmark", None)
    result = CliRunner().invoke(commands, ["report", "export", "a.json"])
    assert "pytest-benchmark, whose format is to be written, is not installed" in str(
        result.exception
    )
