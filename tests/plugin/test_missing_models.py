"""Models that were deleted: a run that collected all of their test reports their baselines."""

from __future__ import annotations

import io
import json

import pytest
from builders import save_linear
from builders_cli import run_command

TEST = """
@pytest.mark.trt_model("models/**/*.onnx")
@pytest.mark.trt_consistency(against="stored")
def test_answers(trt_session, images):
    trt_session.run({"image": images})

@pytest.mark.trt_model("models/**/*.onnx")
@pytest.mark.trt_benchmark(p50="900%")
def test_speed(trt_benchmark, images):
    trt_benchmark({"image": images})
"""

MESSAGE = "1 model with stored baselines no longer exists, and was not tested [TRT684]"

FAIL = "--trt-missing-baseline=fail"


@pytest.fixture(autouse=True)
def _zoo(project, monkeypatch) -> None:
    """Three models with baselines, the last of which was deleted since."""
    monkeypatch.chdir(project.path)
    project.pytester.makeini("[pytest]\n")
    for number, name in enumerate("bc"):
        save_linear(project.path / "models" / f"{name}.onnx", nudge=number + 1)
    project.test_file(TEST)
    project.run().assert_outcomes(passed=6)
    (project.path / "models" / "c.onnx").unlink()


def test_it_is_reported_and_prune_removes_what_was_stored(project) -> None:
    result = project.run("--trt-report=r.json")
    assert result.ret == 0
    assert MESSAGE in result.outlines
    assert "  models/c.onnx: 2 baselines" in result.outlines
    assert "    pytest-trt baseline prune" in result.outlines
    (run,) = json.loads((project.path / "r.json").read_text())["runs"]
    (found,) = run["diagnostics"]
    assert (found["code"], found["severity"]) == ("TRT684", "warning")
    assert found["facts"]["models"] == ["models/c.onnx"]
    assert MESSAGE in run_command("report", "merge", "r.json").stdout
    dry = run_command("baseline", "prune", "--dry-run")
    assert dry.returncode == 1
    assert "6 baselines: 2 would be removed." in dry.stdout
    assert "its model models/c.onnx does not exist" in dry.stdout
    assert run_command("baseline", "prune", "--yes").returncode == 0
    assert project.run(FAIL).ret == 0


def test_what_was_stored_of_a_model_that_was_renamed_is_retained(project) -> None:
    save_linear(project.path / "models" / "d.onnx", nudge=2)  # as c.onnx
    command = "pytest-trt baseline rename models/c.onnx models/d.onnx"
    pruned = run_command("baseline", "prune", "--yes")
    assert pruned.stdout.count(f"models/c.onnx was renamed to models/d.onnx: {command}\n") == 2
    assert pruned.stdout.endswith("6 baselines: nothing to remove.\n")
    assert run_command(*command.split()[1:]).returncode == 0
    project.run(FAIL).assert_outcomes(passed=6)


@pytest.mark.parametrize(("answer", "status", "left"), [("n", 1, 6), ("y", 0, 4)])
def test_a_person_at_a_terminal_is_asked(monkeypatch, answer: str, status: int, left: int) -> None:
    terminal = io.StringIO(f"{answer}\n")
    monkeypatch.setattr(terminal, "isatty", lambda: True)
    monkeypatch.setattr("sys.stdin", terminal)
    pruned = run_command("baseline", "prune")
    assert "Remove 2 baselines? [y/N]: " in pruned.stdout
    assert pruned.returncode == status
    assert f"{left} baselines: " in run_command("baseline", "prune", "--yes").stdout


def test_it_fails_where_baselines_are_required(project, monkeypatch) -> None:
    summary = project.path / "summary.md"
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(summary))
    result = project.run(FAIL)
    result.assert_outcomes(passed=4)
    assert result.ret == 1
    assert MESSAGE in result.outlines
    assert MESSAGE in summary.read_text()
    save_linear(project.path / "models" / "c.onnx", nudge=2)
    assert project.run(FAIL).ret == 0


@pytest.mark.exhaustive
@pytest.mark.parametrize(
    ("args", "reported"),
    [
        (("-k", "b.onnx"), False),
        (("test_it.py::test_answers[models/b.onnx]",), False),
        (("-k", "answers"), True),  # all of one function
        (("test_it.py::test_answers",), True),
    ],
)
def test_tests_that_were_not_to_run_explain_it(project, args, reported) -> None:
    result = project.run(FAIL, *args)
    assert (MESSAGE in result.outlines) == reported
    assert result.ret == reported


@pytest.mark.exhaustive
def test_a_renamed_model_is_no_missing_one(project) -> None:
    folder = project.path / "models"
    (folder / "b.onnx").rename(folder / "d.onnx")
    result = project.run(FAIL)
    assert MESSAGE in result.outlines
    assert "  models/c.onnx: 2 baselines" in result.outlines
    assert not [line for line in result.outlines if "models/b.onnx: " in line]
    dry = run_command("baseline", "prune", "--dry-run").stdout
    assert dry.count("pytest-trt baseline rename models/b.onnx models/d.onnx") == 2
    assert "2 would be removed" in dry


@pytest.mark.exhaustive
def test_it_is_found_and_pruned_beside_a_model_that_cannot_be_read(project) -> None:
    broken = project.path / "models" / "b.onnx"
    broken.write_bytes(broken.read_bytes()[:90])
    assert MESSAGE in project.run(FAIL).outlines
    assert run_command("baseline", "prune", "--yes").returncode == 0
    left = run_command("baseline", "list").stdout
    assert "models/b.onnx" in left
    assert "models/c.onnx" not in left
    assert MESSAGE not in project.run(FAIL).outlines


@pytest.mark.exhaustive
def test_a_missing_model_that_a_test_names_keeps_its_baselines(project) -> None:
    source = TEST.replace('"models/**/*.onnx"', '["models/linear.onnx", "models/c.onnx"]')
    marked = source.replace("@pytest.mark.trt_model", "@of_n\n@pytest.mark.trt_model")
    source = "of_n = pytest.mark.parametrize('n', [1])\n" + marked.replace("images)", "images, n)")
    project.test_file(source)
    dry = run_command("baseline", "prune", "--dry-run")
    assert "test_answers[models/c.onnx] answers: a model of test_answers cannot be" in dry.stdout
    assert dry.returncode == 0


@pytest.mark.exhaustive
def test_it_is_found_where_workers_collect(project) -> None:
    result = project.run(FAIL, "-n1")
    assert result.ret == 1
    assert MESSAGE in result.outlines
