"""Baselines whose test vanished: a run that collected its file or folder reports them."""

from __future__ import annotations

import json
from typing import Any

import pytest
from builders import save_linear
from builders_baseline import save_baselines, stored
from builders_cli import run_command

from pytest_trt.plugin.results.unused import is_conditional

ANSWERS = """
@pytest.mark.trt_model("models/*.onnx")
@pytest.mark.trt_consistency(against="stored")
def test_answers(trt_session, images):
    trt_session.run({"image": images})
"""

SPEED = """
import pytest
@pytest.mark.trt_model("models/*.onnx", precision=("fp32", "fp16"))
@pytest.mark.trt_benchmark(p50="900%")
def test_speed(trt_benchmark, images):
    trt_benchmark({"image": images})
"""

pytestmark = pytest.mark.usefixtures("engines_of_other_tests")

FAIL = "--trt-missing-baseline=fail"
CODE = "[TRT685]"


@pytest.fixture
def zoo(project, monkeypatch) -> Any:
    """Two models with answers and speeds of two test files."""
    monkeypatch.chdir(project.path)
    project.pytester.makeini("[pytest]\n")
    save_linear(project.path / "models" / "b.onnx", nudge=1)
    project.test_file(ANSWERS, test_speed=SPEED)
    project.run().assert_outcomes(passed=6)
    return project


def change(project: Any, file: str, old: str, new: str) -> None:
    path = project.path / file
    assert old in path.read_text()
    path.write_text(path.read_text().replace(old, new))


def reported(project: Any, *args: str) -> list[str]:
    """Return the lines below the message of a run that fails for baselines without a test."""
    result = project.run(FAIL, *args)
    lines = result.outlines
    at = [number for number, line in enumerate(lines) if CODE in line]
    if not at:
        return []
    assert result.ret in (pytest.ExitCode.TESTS_FAILED, pytest.ExitCode.NO_TESTS_COLLECTED)
    below = [line.strip() for line in lines[at[0] + 1 :]]
    return below[: next(number for number, line in enumerate(below) if line.startswith("Fix: "))]


def test_nothing_is_reported_of_tests_that_are_there(zoo) -> None:
    assert reported(zoo) == []
    assert reported(zoo, "-m", "not trt_benchmark") == []


@pytest.mark.exhaustive
def test_it_is_a_warning_where_baselines_are_not_required(zoo) -> None:
    (zoo.path / "test_speed.py").unlink()
    result = zoo.run("--trt-report=r.json")
    assert result.ret == 0
    assert f"4 stored baselines are used by no test of this run {CODE}" in result.outlines
    (run,) = json.loads((zoo.path / "r.json").read_text())["runs"]
    (found,) = run["diagnostics"]
    assert (found["code"], found["severity"]) == ("TRT685", "warning")
    assert found["facts"]["tests"] == ["test_speed.py"]
    assert found["facts"]["skipped"] == {}
    assert run_command("baseline", "prune", "--yes").returncode == 0
    assert reported(zoo) == []


@pytest.mark.parametrize(
    ("file", "old", "new", "expected"),
    [
        (
            "test_it.py",
            "import pytest",
            "import pytest\npytest.skip('no torch', allow_module_level=True)",
            ["test_it.py: 2 baselines: the file was skipped: no torch"],
        ),
        (
            "test_it.py",
            "def test_answers",
            "def check_answers",
            ["test_it.py::test_answers: 2 baselines: there is no such test"],
        ),
        (
            "test_it.py",
            "models/*.onnx",
            "models/l*.onnx",
            ["test_it.py::test_answers: 1 baseline: it no longer tests models/b.onnx"],
        ),
        pytest.param(
            "test_it.py",
            'against="stored"',
            "",
            ["test_it.py::test_answers: 2 baselines: it no longer compares with stored answers"],
            marks=pytest.mark.exhaustive,
        ),
        pytest.param(
            "test_speed.py",
            '("fp32", "fp16")',
            '("fp32",)',
            None,
            marks=pytest.mark.exhaustive,
        ),
        (
            "test_speed.py",
            '"models/*.onnx", precision=("fp32", "fp16")',
            '["models/b.onnx", "models/linear.onnx"], precision=("fp32", "bf16")',
            None,
        ),
    ],
    ids=["skipped", "renamed", "pattern", "against", "one precision", "another precision"],
)
def test_a_test_that_vanished_is_named(zoo, file, old, new, expected) -> None:
    change(zoo, file, old, new)
    found = reported(zoo)
    if expected is None:
        expected = [
            f"test_speed.py::test_speed: 1 baseline: it no longer tests models/{name}.onnx in fp16"
            for name in ("b", "linear")
        ]
    assert found == expected


@pytest.mark.exhaustive
def test_of_a_skipped_file_the_fix_is_not_to_remove_its_baselines(zoo) -> None:
    """Nothing was renamed, and `baseline prune` removes nothing of tests that exist."""

    def advice() -> list[str]:
        lines = [line.strip() for line in zoo.run(FAIL).outlines]
        at = next(number for number, line in enumerate(lines) if line.startswith("Fix: "))
        return lines[at : at + 8]

    skip = "import pytest\npytest.skip('no torch', allow_module_level=True)"
    change(zoo, "test_it.py", "import pytest", skip)
    first, *others = advice()
    assert first.startswith("Fix: Provide what the skipped file lacks here.")
    assert not [line for line in others if "pytest-trt baseline" in line]
    (zoo.path / "test_speed.py").unlink()
    first, *others = advice()
    assert first.startswith("Fix: Restore the tests.")
    assert [line for line in others if line.startswith("- Provide what the skipped file")]


@pytest.mark.exhaustive
def test_a_fixture_that_requests_others_hides_no_model_that_ids_name(zoo) -> None:
    override = "@pytest.fixture\ndef images(request):\n    return request.getfixturevalue('x')\n"
    change(zoo, "test_it.py", "@pytest.mark.trt_model", f"{override}@pytest.mark.trt_model")
    change(zoo, "test_it.py", "models/*.onnx", "models/l*.onnx")
    assert reported(zoo) == [
        "test_it.py::test_answers: 1 baseline: it no longer tests models/b.onnx"
    ]


@pytest.mark.exhaustive
def test_it_is_found_where_workers_collect(zoo) -> None:
    (zoo.path / "test_speed.py").unlink()
    assert reported(zoo, "-n2") == ["test_speed.py: 4 baselines: the file does not exist"]


def test_it_is_found_where_no_test_of_a_model_is_left(zoo) -> None:
    (zoo.path / "test_speed.py").unlink()
    (zoo.path / "test_it.py").write_text("def test_other():\n    pass\n")
    assert reported(zoo) == [
        "test_it.py::test_answers: 2 baselines: there is no such test",
        "test_speed.py: 4 baselines: the file does not exist",
    ]


@pytest.mark.exhaustive
@pytest.mark.parametrize(
    "args",
    [
        ("-k", "answers"),
        ("test_it.py",),
        ("--deselect=test_it.py::test_x",),
        ("--ignore=test_speed.py",),
        ("--lf",),
    ],
    ids=lambda args: args[0],
)
def test_a_run_that_is_narrowed_reports_nothing(zoo, args) -> None:
    (zoo.path / "test_speed.py").unlink()
    assert reported(zoo, "-p", "cacheprovider", *args) == []


def test_a_run_that_this_machine_cannot_do_reports_that_alone(zoo) -> None:
    result = zoo.run(FAIL, "--trt-arch=sm86", "--trt-backend=tensorrt")
    assert result.ret in (1, 4)
    text = result.stdout.str() + result.stderr.str()
    assert "INTERNALERROR" not in text
    assert CODE not in text


@pytest.mark.exhaustive
def test_what_another_run_may_use_is_left_out(zoo) -> None:
    """Other machines, other folders, marks and parameters of the project's own."""
    change(
        zoo,
        "test_it.py",
        "@pytest.mark.trt_c",
        "@pytest.mark.skipif('True', reason='x')\n@pytest.mark.trt_c",
    )
    baselines = zoo.path / "trt_baselines"
    entries = {f"test_speed[models/b.onnx-{one}]": stored() for one in ("fp8", "int4")}
    save_baselines(baselines, {**entries, "test_speed[gone]": stored()}, module="test_speed")
    (zoo.path / "tools").mkdir()
    (zoo.path / "tools/speed.py").write_text("")  # not collected
    save_baselines(baselines, {"test_speed": stored()}, module="tools/speed")
    assert reported(zoo) == []
    save_baselines(baselines, {"test_gone": stored()}, module="test_gone")
    assert reported(zoo) == ["test_gone.py: 1 baseline: the file does not exist"]


@pytest.mark.exhaustive
def test_a_run_against_something_else_than_usual_reports_nothing(zoo) -> None:
    change(zoo, "test_it.py", 'against="stored"', "")
    assert reported(zoo, "--trt-against=model") == []


@pytest.mark.parametrize(
    ("source", "function", "expected"),
    [
        ("if x:\n    def test_a(): pass", "test_a", True),
        ("def test_a(): pass", "test_a", False),
        ("def test_b(): pass", "test_a", False),
        ("class TestX:\n    if x:\n        def test_a(self): pass", "TestX::test_a", True),
        ("try:\n    class TestX: pass\nexcept E: pass", "TestX::test_a", True),
        ("class TestX:\n    def test_a(self): pass", "TestX::test_a", False),
        ("class TestX:\n    def test_a(self): pass", "test_a", False),
        ("def (", "test_a", False),
    ],
)
def test_tests_that_are_defined_on_a_condition_may_exist_elsewhere(
    source, function, expected
) -> None:
    assert is_conditional(function, source) == expected


@pytest.mark.exhaustive
def test_answers_that_no_test_compares_with_are_pruned_on_request(zoo) -> None:
    change(zoo, "test_it.py", 'against="stored"', "")
    assert run_command("baseline", "prune", "--dry-run").returncode == 0
    dry = run_command("baseline", "prune", "--dry-run", "--parameters")
    assert "test_answers does not compare with stored answers" in dry.stdout
    assert "2 would be removed" in dry.stdout
