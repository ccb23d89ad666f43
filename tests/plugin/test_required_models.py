"""Models that must have a test: --trt-require-models, and of a merge --require-models."""

from __future__ import annotations

from typing import Any

import pytest
from builders import save_linear
from builders_cli import run_command
from plugin.conftest import assert_usage_error

pytestmark = pytest.mark.usefixtures("engines_of_other_tests")

TEST = """
@pytest.mark.trt_model("models/*.onnx")
@pytest.mark.trt_consistency
def test_answers(trt_session, images):
    trt_session.run({"image": images})
"""

ALL = "--trt-require-models=models/**/*.onnx"
CODE = "[TRT686]"


@pytest.fixture
def zoo(project, monkeypatch) -> Any:
    """Two models with a test, and one in a folder below that no pattern of a marker matches."""
    monkeypatch.chdir(project.path)
    for number, name in enumerate(("b", "old/b")):
        save_linear(project.path / "models" / f"{name}.onnx", nudge=number + 1)
    project.test_file(TEST)
    return project


def ini(project: Any, *lines: str) -> None:
    (project.path / "pytest.ini").write_text("\n".join(["[pytest]", *lines, ""]))


def lines_of(result: pytest.RunResult) -> list[str]:
    """Return what a run that fails for models without a test names."""
    lines = [line.strip() for line in result.outlines]
    at = next((number for number, line in enumerate(lines) if CODE in line), None)
    if at is None:
        return []
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    return lines[at : next(n for n, line in enumerate(lines) if line.startswith("Fix: Let"))]


@pytest.mark.parametrize("processes", ["-n0", pytest.param("-n1", marks=pytest.mark.exhaustive)])
def test_a_model_without_a_test_fails_the_run(zoo, processes) -> None:
    expected = [f"1 model of 3 lacks a test {CODE}", "models/old/b.onnx"]
    assert lines_of(zoo.run(ALL, processes)) == expected
    assert lines_of(zoo.run(ALL, "--collect-only")) == expected
    assert lines_of(zoo.run(ALL, "-k", "linear")) == expected  # others are deselected, not lost
    assert zoo.run("--trt-require-models=models/*.onnx", processes).ret == 0


@pytest.mark.parametrize(
    ("fixtures", "tested"),
    [
        ("trt_model_path", False),
        ("trt_model_path, trt_engines", True),
        ("trt_build", True),
        ("trt_engine", True),
    ],
)
def test_only_tests_that_need_an_engine_count(zoo, fixtures, tested) -> None:
    """A check of the files of all models would otherwise stand for tests of their engines."""
    zoo.test_file(
        f"""
        @pytest.mark.trt_model("models/**/*.onnx")
        def test_files({fixtures}):
            assert {fixtures.partition(",")[0]}
        """
    )
    expected = [f"3 models of 3 lack a test {CODE}", "models/b.onnx"]
    assert lines_of(zoo.run(ALL, "--collect-only"))[:2] == ([] if tested else expected)
    ran = zoo.run(ALL, "--trt-report=r.json")
    assert ran.ret == (0 if tested else pytest.ExitCode.TESTS_FAILED)
    merged = run_command("report", "merge", "r.json", "--require-models=models/**/*.onnx")
    assert merged.returncode == (0 if tested else 1)
    assert (CODE in merged.stdout) is not tested


def test_a_pattern_that_matches_nothing_fails_the_run(zoo) -> None:
    assert lines_of(zoo.run("--trt-require-models=model/*.onnx")) == [
        f"a pattern of required models matches no file {CODE}",
        "no file matches model/*.onnx",
    ]


def test_exceptions_have_a_reason_and_name_a_path(zoo) -> None:
    """A file of the same name in another folder is none."""
    ini(zoo, "trt_untested_models = models/old/b.onnx: retired in June")
    assert zoo.run(ALL).ret == 0
    ini(zoo, "trt_untested_models = models/b.onnx: retired in June")
    assert len(lines_of(zoo.run(ALL))) == 2
    ini(zoo, "trt_untested_models = models/old/b.onnx")
    assert_usage_error(zoo.run(ALL), "*trt_untested_models*expected lines*PATH: REASON*")


def test_exceptions_that_outlived_their_reason_fail_a_run_of_all_tests(zoo) -> None:
    ini(
        zoo,
        "trt_untested_models =",
        "    models/b.onnx: truncated, export it again",
        "    models/old/*.onnx: retired in June",
        "    models/gone.onnx: not exported yet",
    )
    result = zoo.run("--collect-only")
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    lines = [line.strip() for line in result.outlines]
    at = lines.index("trt_untested_models: 2 entries outlive their reasons [TRT687]")
    expected = ["models/b.onnx: has a test", "models/gone.onnx: no such file"]
    assert lines[at + 1 : at + 3] == expected
    assert zoo.run("--collect-only", "test_it.py").ret == 0
    assert zoo.run("--collect-only", "-k", "linear").ret == 0
    ini(zoo, "trt_untested_models = models/**/b.onnx: one of these has no test")
    assert zoo.run("--collect-only").ret == 0


def test_what_the_ini_file_requires_is_for_runs_of_all_tests(zoo) -> None:
    ini(zoo, "trt_require_models = models/**/*.onnx")
    assert lines_of(zoo.run())
    assert zoo.run("test_it.py").ret == 0
    assert lines_of(zoo.run("test_it.py", ALL))


def test_a_run_that_is_started_in_a_folder_below_is_not_one_of_all_tests(zoo, monkeypatch) -> None:
    ini(zoo, "trt_require_models = models/**/*.onnx")
    (zoo.path / "tests").mkdir()
    (zoo.path / "test_it.py").unlink()
    (zoo.path / "tests" / "test_it.py").write_text(
        "import pytest\n" + TEST.replace("models/", "../models/")
    )
    monkeypatch.chdir(zoo.path / "tests")
    assert zoo.run("--collect-only").ret == 0
    required = "--trt-require-models=../models/**/*.onnx"
    expected = [f"1 model of 3 lacks a test {CODE}", "models/old/b.onnx"]  # as the ini file has it
    assert lines_of(zoo.run("--collect-only", required)) == expected
    monkeypatch.chdir(zoo.path)
    assert lines_of(zoo.run("--collect-only")) == expected
    ini(zoo, "trt_require_models = models/**/*.onnx", "testpaths = tests")
    assert lines_of(zoo.run("--collect-only")) == expected


def test_a_merge_requires_verdicts(zoo) -> None:
    merge = ("report", "merge", "a.json", "--require-models=models/**/*.onnx")
    zoo.run("-k", "linear", "--trt-report=a.json")
    done = run_command(*merge)
    assert done.returncode == 1
    assert f"2 models of 3 lack a test with a verdict {CODE}" in done.stdout
    ini(zoo, "trt_untested_models = models/old/*.onnx: retired in June")
    assert f"1 model of 3 lacks a test with a verdict {CODE}" in run_command(*merge).stdout
    zoo.run("--trt-report=a.json")
    assert run_command(*merge).returncode == 0
    ini(zoo, "trt_untested_models = models/old/*.onnx")
    assert run_command(*merge).returncode == 2


def test_a_model_that_is_left_out_for_a_reason_keeps_its_baselines(zoo) -> None:
    zoo.test_file(TEST.replace("consistency", 'consistency(against="stored")'))
    zoo.run("--trt-update-new").assert_outcomes(passed=2)
    zoo.test_file(TEST.replace("consistency", 'consistency(against="stored")').replace("*", "l*"))
    fail = "--trt-missing-baseline=fail"
    assert zoo.run(fail).ret == pytest.ExitCode.TESTS_FAILED
    ini(zoo, "trt_untested_models = models/b.onnx: truncated, export it again")
    assert zoo.run(fail).ret == 0
