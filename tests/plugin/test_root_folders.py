"""Root folders other than that of the tests: an ini file elsewhere, files outside of it."""

from __future__ import annotations

import json
import shlex

import pytest
from builders import save_linear

TEST = """
import numpy as np
import pytest

IMAGES = np.ones((4, 8), np.float32)

@pytest.mark.trt_model("models/linear.onnx")
@pytest.mark.trt_consistency(against="stored")
def test_answers(trt_session):
    trt_session.run({"image": IMAGES})

@pytest.mark.trt_model("models/linear.onnx")
def test_accuracy(trt_session, trt_metrics):
    trt_session.run({"image": IMAGES})
    trt_metrics.record("accuracy", 0.9, of=10, limit="1 point")
"""

#: The ini file is in a folder without tests, which is then the root folder.
INI = ("-c", "ci/pytest.ini", "--import-mode=importlib")
SAME = "tests of a/test_it.py and of b/test_it.py have the same node ids [[]TRT190[]]"


@pytest.fixture(autouse=True)
def _zoo(project, monkeypatch) -> None:
    """A folder for each of two models, with test files of one name."""
    monkeypatch.chdir(project.path)
    for folder in ("a", "b"):
        save_linear(project.path / folder / "models" / "linear.onnx")
        (project.path / folder / "test_it.py").write_text(TEST)
    (project.path / "ci").mkdir()
    (project.path / "ci" / "pytest.ini").write_text("[pytest]\n")


@pytest.mark.parametrize("more", [(), ("--continue-on-collection-errors",), ("-n1",)])
def test_tests_with_the_same_node_ids_are_refused(project, more) -> None:
    result = project.run(*INI, "a", "b", *more)
    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines([SAME, "Fix: Add --rootdir=.: these files are outside of*"])
    assert not list(project.path.rglob("trt_baselines"))


def test_a_file_that_is_collected_twice_is_refused(project) -> None:
    result = project.run("a/test_it.py", "a/test_it.py", "--keep-duplicates")
    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines(["tests of a/test_it.py were collected twice [[]TRT190[]]"])
    project.run("a/test_it.py", "a/test_it.py").assert_outcomes(passed=2)


def test_a_root_folder_above_them_tells_them_apart(project) -> None:
    project.run(*INI, "a", "b", "--rootdir=.").assert_outcomes(passed=4)
    stored = {path.parent.name for path in project.path.rglob("answers/*/test_it.json")}
    assert stored == {"a", "b"}


def test_other_tests_may_have_the_same_node_ids(project) -> None:
    for folder in ("a", "b"):
        (project.path / folder / "test_it.py").write_text("def test_it(): pass\n")
    project.run(*INI, "a", "b").assert_outcomes(passed=2)


@pytest.mark.parametrize("argument", ["a", "a/test_it.py"])
def test_a_file_outside_of_the_root_folder_is_compared_and_repeated(project, argument) -> None:
    run = (*INI, argument, "--trt-report=r.json")
    project.run(*run).assert_outcomes(passed=2)
    assert project.run(*run, "--trt-missing-baseline=fail").ret == 0
    tests = json.loads((project.path / "r.json").read_text())["tests"]
    repeat = [shlex.split(test["repeat"])[:3] for test in tests]
    ini = "--config-file=pytest.ini"
    names = ("test_answers", "test_accuracy")
    assert repeat == [["pytest", f"../a/test_it.py::{name}", ini] for name in names]


@pytest.mark.parametrize(
    ("given", "named"),
    [
        (("-c", "ci/pytest.ini"), "--config-file=ci/pytest.ini"),
        (
            ("-c", "ci/pytest.ini", "--rootdir=."),
            "--config-file=ci/pytest.ini --rootdir=.",
        ),
        (("--rootdir=.",), "--rootdir=."),
        ((), ""),
    ],
)
def test_commands_name_the_ini_file_and_root_folder_that_were_given(project, given, named) -> None:
    result = project.run("a", *given, "--trt-missing-baseline=fail")
    result.assert_outcomes(failed=2)
    between = f" {named} " if named else " "
    found = {line.strip() for line in result.outlines if line.strip().startswith("pytest ")}
    assert f"pytest{between}--trt-update-new" in found
    assert any(f"--trt-arch=cpu{between}--trt-update-new" in line for line in found)


def test_an_ini_file_beside_the_tests_is_not_named(project) -> None:
    (project.path / "pytest.ini").write_text("[pytest]\n")
    result = project.run("a", "--rootdir=.", "--trt-missing-baseline=fail")
    assert "    pytest --trt-update-new" in result.outlines
